"""The present, and time that passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hsmkms.core.ids import Instant


class Clock(Protocol):
    """The present."""

    def now(self) -> Instant:
        """Return the present instant."""


class Timer(Protocol):
    """Seconds that only go forward, as the event loop counts them."""

    def seconds(self) -> float:
        """Return the seconds since some moment in the past."""

    async def sleep_until(self, seconds: float) -> None:
        """Return when `seconds` has come."""
