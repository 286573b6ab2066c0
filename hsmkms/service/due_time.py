"""The time by which what cannot be undone is done: the wall clock, while it goes along with the time that passes.

A wall clock that is set a year ahead, by mistake or by a time server that lies, makes every scheduled deletion due at
once. Access is decided by the wall clock all the same: what is expired is refused, and is usable again when the clock
is right again. Only destroying waits.

Laws:

- time as it passes is what the machine counts since it started, asleep or awake; nobody can set that;
- if the two part by more than a minute within an hour, nothing is destroyed for an hour, which is said once;
- so, too, if there is nothing to compare with: the machine was started anew, or the database came from elsewhere;
- what is known of the clock outlives the process: a restart neither hides a leap nor ends the hour;
- what cannot be true of it counts for nothing: no file holds destruction up for more than an hour.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hsmkms.core.clocks import ClockWitness
from hsmkms.core.ids import MILLISECONDS_PER_SECOND, Instant

if TYPE_CHECKING:
    from hsmkms.core.clocks import BootClock, ClockMemory
    from hsmkms.core.ports import Clock

_logger = logging.getLogger(__name__)
_LEAP: Final = 60 * MILLISECONDS_PER_SECOND
"""More than a time server corrects in an hour, or a leap second."""
_HOUR: Final = 3600 * MILLISECONDS_PER_SECOND
"""Long enough for an operator who is woken by the log line."""


def begin(clock: Clock, boot_clock: BootClock, memory: ClockMemory) -> None:
    """Take the wall clock as right, for a deployment that has nothing to lose yet."""
    elapsed = boot_clock.elapsed()
    memory.keep(ClockWitness(boot_clock.boot, clock.now() - elapsed, elapsed, elapsed))


class DueTime:
    """The wall clock, where it can be trusted."""

    def __init__(self, clock: Clock, boot_clock: BootClock, memory: ClockMemory) -> None:
        """Compare `clock` with `boot_clock`, and with what `memory` knows of them."""
        self._clock = clock
        self._boot_clock = boot_clock
        self._memory = memory
        self._witness: ClockWitness | None = None
        self._said_at: int | None = None
        """When the log last heard that nothing is destroyed, in milliseconds since the machine started."""

    def now(self) -> Instant | None:
        """Return the present instant; None while nothing may be destroyed by it."""
        wall = self._clock.now()
        elapsed = self._boot_clock.elapsed()
        witness = self._witness or self._recalled(wall, elapsed)
        leap = wall - elapsed - witness.offset
        if abs(leap) > _LEAP:
            witness = ClockWitness(witness.boot, wall - elapsed, elapsed, elapsed + _HOUR)
            # To the nearest second: the two clocks are read one after the other.
            seconds = (leap + MILLISECONDS_PER_SECOND // 2) // MILLISECONDS_PER_SECOND
            facts = {"seconds": seconds, "until": _in_words(Instant(wall + _HOUR))}
            _logger.error("the wall clock leapt; no key and no material is destroyed for an hour", extra=facts)
            self._said_at = elapsed
        elif elapsed - witness.seen_at >= _HOUR:
            witness = replace(witness, offset=wall - elapsed, seen_at=elapsed)
        if witness is not self._witness:
            self._witness = witness
            self._memory.keep(witness)
        if elapsed >= witness.trusted_from:
            return wall
        if self._said_at is None or elapsed - self._said_at >= _HOUR:
            self._said_at = elapsed
            facts = {"until": _in_words(Instant(wall + witness.trusted_from - elapsed))}
            _logger.warning("the wall clock is not trusted yet; no key and no material is destroyed", extra=facts)
        return None

    def _recalled(self, wall: Instant, elapsed: int) -> ClockWitness:
        found = self._memory.recall()
        if found is not None and found.boot == self._boot_clock.boot and _can_be_true(found, elapsed):
            return found
        self._said_at = elapsed
        until = _in_words(Instant(wall + _HOUR))
        _logger.warning(
            "the wall clock cannot be checked yet; no key and no material is destroyed for an hour",
            extra={"until": until},
        )
        return ClockWitness(self._boot_clock.boot, wall - elapsed, elapsed, elapsed + _HOUR)


def _can_be_true(witness: ClockWitness, elapsed: int) -> bool:
    return 0 <= witness.seen_at <= elapsed and witness.trusted_from <= elapsed + _HOUR


def _in_words(instant: Instant) -> str:
    moment = dt.datetime.fromtimestamp(instant // MILLISECONDS_PER_SECOND, dt.UTC)
    return moment.isoformat()
