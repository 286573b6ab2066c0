"""Counting what the database holds: in the background, and as seldom as its size demands."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import HsmkmsError
from hsmkms.metrics.levels import CountsTaken

if TYPE_CHECKING:
    from hsmkms.core.metering import StoreCounts
    from hsmkms.core.ports import Clock, Inspection, Timer

_logger = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 15.0
_SHARE: Final = 0.01
"""Of the time, at most, in which it is counted: with millions of rows it is counted less often."""
_NOT_COUNTED: Final = "what the database holds was not counted"


class Counting:
    """The last known counts."""

    def __init__(self, store: Inspection, clock: Clock, timer: Timer) -> None:
        """Count what `store` holds."""
        self._store = store
        self._clock = clock
        self._timer = timer
        self._counts: StoreCounts | None = None
        self._counted_at = 0.0

    @property
    def taken(self) -> CountsTaken | None:
        """The last known counts; None before the first."""
        if self._counts is None:
            return None
        return CountsTaken(self._counts, self._timer.seconds() - self._counted_at)

    async def keep_counting(self) -> None:
        """Count every so often; runs until it is cancelled."""
        while True:
            began = self._timer.seconds()
            await self.count()
            took = self._timer.seconds() - began
            await self._timer.sleep_until(began + max(_EVERY_SECONDS, took / _SHARE))

    async def count(self) -> None:
        """Count now; what cannot be counted stays as it was, and its age tells."""
        began = self._timer.seconds()
        try:
            self._counts = await self._store.counts(self._clock.now())
        except HsmkmsError as fault:
            _logger.warning(_NOT_COUNTED, extra={"fault": type(fault).__name__})
        except Exception:  # the last resort: nobody's request fails for it
            _logger.exception(_NOT_COUNTED)
        else:
            self._counted_at = began
