"""A clock that a test moves."""

from __future__ import annotations

from hsmkms.core.ids import Instant, from_seconds, later


class StoppedClock:
    """`core.ports.Clock` that stands still until the test moves it."""

    def __init__(self, seconds: int = 1_700_000_000) -> None:
        self._now = from_seconds(seconds)

    def now(self) -> Instant:
        return self._now

    def advance(self, seconds: int) -> Instant:
        """Move by whole seconds, also backwards."""
        self._now = later(self._now, seconds=seconds)
        return self._now

    def set(self, instant: Instant) -> None:
        """Move to `instant`."""
        self._now = instant
