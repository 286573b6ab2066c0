"""A service as it may stand at a moment."""

from __future__ import annotations

from dataclasses import replace

from hsmkms.core.keys import KeyState
from hsmkms.core.metering import Line, SealLevel, StoreCounts
from hsmkms.core.tickets import TicketState
from hsmkms.metrics.levels import CountsTaken, Levels

COUNTS = StoreCounts(
    keys={KeyState.ENABLED: 7, KeyState.PENDING_IMPORT: 2},
    tickets={TicketState.ISSUED: 3},
    materials_expiring={0: 0, 3600: 1, 86_400: 1, 604_800: 4, 2_592_000: 5},
    deletions_due={0: 0, 3600: 0, 86_400: 2, 604_800: 2, 2_592_000: 2},
)
LEVELS = Levels(
    commands={"token": Line(18, 5), "pairs": Line(0, 0)},
    hosts={"operations": 2, "pairs": 1},
    pairs_ready=3,
    pairs_wanted=4,
    events_waiting=12,
    seals=SealLevel(sequence=1234, last_seal_seconds=0.5, all_sealed_seconds=0.25, broken=False),
    counted=CountsTaken(COUNTS, 9.5),
)
AT_FIRST = replace(LEVELS, seals=SealLevel(None, None, None, broken=False), counted=None)
"""Before the token was probed and the database counted."""
