"""What is there at the moment: looked at when somebody asks, in the event loop, without waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.metering import Line, SealLevel, StoreCounts


@dataclass(frozen=True, slots=True)
class CountsTaken:
    """What the database held, and when."""

    counts: StoreCounts
    seconds: float
    """Since it was counted."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The state of a service at one moment."""

    commands: Mapping[str, Line]
    """By lane."""
    hosts: Mapping[str, int]
    """In use, by duty."""
    pairs_ready: int
    pairs_wanted: int
    events_waiting: int
    """For the database, of the audit trail."""
    seals: SealLevel
    counted: CountsTaken | None
    """None: the database was not counted yet."""
