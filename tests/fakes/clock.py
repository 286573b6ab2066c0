"""Clocks that a test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.core.ids import MILLISECONDS_PER_SECOND, Instant, from_seconds, later

if TYPE_CHECKING:
    from hsmkms.core.clocks import ClockWitness


class StoppedClock:
    """`core.ports.Clock` and `clocks.BootClock` that stand still until the test moves them; only `leap` parts them."""

    def __init__(self, seconds: int = 1_700_000_000) -> None:
        self._now = from_seconds(seconds)
        self._started = from_seconds(seconds - 1000)
        self.boot = "this boot"

    def now(self) -> Instant:
        return self._now

    def advance(self, seconds: int) -> Instant:
        """Move by whole seconds, also backwards."""
        self._now = later(self._now, seconds=seconds)
        return self._now

    def set(self, instant: Instant) -> None:
        """Move to `instant`."""
        self._now = instant

    def elapsed(self) -> int:
        return self._now - self._started

    def leap(self, seconds: float) -> Instant:
        """Set the wall clock, also backwards, while no time passes."""
        milliseconds = round(seconds * MILLISECONDS_PER_SECOND)
        self._started = Instant(self._started + milliseconds)
        self._now = Instant(self._now + milliseconds)
        return self._now


class RememberedWitness:
    """`core.clocks.ClockMemory` that lives as long as the test."""

    def __init__(self) -> None:
        self.witness: ClockWitness | None = None

    def recall(self) -> ClockWitness | None:
        return self.witness

    def keep(self, witness: ClockWitness) -> None:
        self.witness = witness


class SteppedTimer:
    """`core.ports.Timer` that a test moves; whoever sleeps moves it, too."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self._seconds = seconds
        self.slept_until: list[float] = []

    def seconds(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> float:
        """Move it forward."""
        self._seconds += seconds
        return self._seconds

    async def sleep_until(self, seconds: float) -> None:
        self.slept_until.append(seconds)
        self._seconds = max(self._seconds, seconds)
