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
    DeploymentStore,
    Initialising,
    Inspection,
    KeyFilter,
    KeyPage,
    KeyReading,
    Reading,
    Store,
    TagFilter,
    Tombstone,
    TrailReading,
    Writing,
)
from hsmkms.core.ports.token import Custodian, DataKey, HeldMaterial, Hsm, ImportOrder, MaterialEvidence

__all__ = [
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
    "Store",
    "TagFilter",
    "Timer",
    "Tombstone",
    "TrailReading",
    "Writing",
]
