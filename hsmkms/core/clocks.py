"""The machine's own time beside the wall clock: what tells whether the wall clock may be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class BootClock(Protocol):
    """Time since the machine started, asleep or awake; nobody can set it."""

    @property
    def boot(self) -> str:
        """Return what tells this start of the machine from every other."""

    def elapsed(self) -> int:
        """Return milliseconds since the machine started."""


@dataclass(frozen=True, slots=True)
class ClockWitness:
    """How the wall clock stood to the machine's own time when it was last found right."""

    boot: str
    """The start of the machine for which all this is so."""
    offset: int
    """Wall clock minus time since the machine started, in milliseconds."""
    seen_at: int
    """When that was, in milliseconds since the machine started."""
    trusted_from: int
    """When the wall clock may be trusted again, in milliseconds since the machine started."""


class ClockMemory(Protocol):
    """Where the witness outlives the process; the one port that neither fails nor blocks for long."""

    def recall(self) -> ClockWitness | None:
        """Return what was kept last; None if nothing readable was."""

    def keep(self, witness: ClockWitness) -> None:
        """Keep it, if that can be done."""
