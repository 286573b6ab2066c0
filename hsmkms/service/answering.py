"""When a failed import is answered: never as soon as it is known.

How long the token looked at a ciphertext tells something about what is in it. So every failed import, whatever it
failed of, is answered at a multiple of one period after it arrived. The work behind it is over by then: whoever waits
here holds no place, no database connection and no host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsmkms.core.ports import Timer


class FailureSchedule:
    """The moments at which failed imports are answered."""

    def __init__(self, timer: Timer, period_seconds: float) -> None:
        """Answer at multiples of `period_seconds` after a request arrived; 0: at once."""
        self._timer = timer
        self._period = period_seconds

    def seconds(self) -> float:
        """Return the present moment, on the clock of all moments here."""
        return self._timer.seconds()

    def answered_at(self, received: float) -> float:
        """Return the first multiple of the period after `received` that is still to come; without a period, now."""
        now = self._timer.seconds()
        return received + ((now - received) // self._period + 1) * self._period if self._period else now

    async def wait(self, received: float) -> None:
        """Return at the moment when a request that arrived at `received` is answered."""
        if self._period:
            await self._timer.sleep_until(self.answered_at(received))
