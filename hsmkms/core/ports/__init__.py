"""What the service needs of the world, spoken in core types only.

Laws for every implementation:

- it raises `HsmkmsError` leaves and nothing else;
- what may wait for a disk, a network or another process blocks no event loop, and gives up at a deadline of its own
  with a `TemporarilyUnavailable`;
- the contract suites in `tests/contract/` pass on it.
"""

from __future__ import annotations

from hsmkms.core.ports.clock import Clock, Timer
from hsmkms.core.ports.store import (
    PATIENCE_SECONDS,
    DeploymentStore,
    Initialising,
    Inspection,
    KeyFilter,
    KeyPage,
    KeyReading,
    Reading,
    SealedCount,
    Store,
    TagFilter,
    Tombstone,
    TrailReading,
    Writing,
)
from hsmkms.core.ports.token import (
    Adopter,
    Custodian,
    DataKey,
    HeldMaterial,
    Hsm,
    ImportOrder,
    MaterialEvidence,
    Transferer,
)

__all__ = [
    "PATIENCE_SECONDS",
    "Adopter",
    "Clock",
    "Custodian",
    "DataKey",
    "DeploymentStore",
    "HeldMaterial",
    "Hsm",
    "ImportOrder",
    "Initialising",
    "Inspection",
    "KeyFilter",
    "KeyPage",
    "KeyReading",
    "MaterialEvidence",
    "Reading",
    "SealedCount",
    "Store",
    "TagFilter",
    "Timer",
    "Tombstone",
    "TrailReading",
    "Transferer",
    "Writing",
]
