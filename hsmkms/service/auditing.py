"""The audit trail of what changes no state: uses of keys, what was looked at, and what was refused.

A change of state writes its event in the transaction that makes it. What is here is appended before the answer goes
out, kept in this process in the order in which it happened, and durable within a second.

Laws:

- every refusal of an authenticated caller is one event `request:refused`, whatever else it left in the trail; only
  those over a rate are counted, so that nobody can write without bounds;
- while an event waits for the disk longer than it should, no other command begins: it waits, and then is refused;
- an event holds identifiers and reasons, never what was encrypted, decrypted or imported;
- requests of unknown origin are counted by source and minute: whoever sends a million of them writes a row a minute.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import HsmkmsError, RequestRateExceeded, StoreUnavailable, TemporarilyUnavailable
from hsmkms.core.events import Event, EventTag
from hsmkms.service.sources import RefusedSources
from hsmkms.service.telling import done_event, refused_event, turned_away_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import AccountName
    from hsmkms.core.ports import Clock, Store, Timer, Writing
    from hsmkms.service.commands import Command, Outcome

_logger = logging.getLogger(__name__)
_BATCH: Final = 1000
"""Events in one transaction: few enough that no other writer waits long for its turn."""
_ACTOR: Final = "trail"
_LOOK_SECONDS: Final = 0.05
"""How often a command that waits for room looks for it."""


@dataclass(frozen=True, slots=True)
class TrailLimits:
    """How much of the trail may be in this process only."""

    every_seconds: float = 0.25
    """From one transaction to the next, while there is something to write."""
    most_events: int = 10_000
    prompt_seconds: float = 0.75
    """For the oldest of them, while commands are carried out: a transaction later it is on disk, within a second."""
    patience_seconds: float = 5.0
    """How long a command waits for room, before it is refused; and a refusal, before it is only counted."""
    last_seconds: float = 10.0
    """For writing the rest, when the process ends."""


class Trail:
    """What this process appends to the audit trail."""

    def __init__(self, store: Store, clock: Clock, timer: Timer, limits: TrailLimits | None = None) -> None:
        """Write to `store`."""
        self._store = store
        self._clock = clock
        self._timer = timer
        self._limits = limits or TrailLimits()
        self._waiting: deque[tuple[float, Event]] = deque()
        """Each with the second in which it was appended."""
        self._uncounted: Counter[tuple[AccountName, str]] = Counter()
        """Requests over a rate, or refused while there was no room, by account and access id."""
        self._strangers = RefusedSources()
        self._work = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many events are not on disk yet."""
        return len(self._waiting)

    # --- what happened ---------------------------------------------------------------------------------

    async def until_writable(self) -> None:
        """Return as soon as there is room for one more event, and none has waited for long.

        Raises:
            StoreUnavailable: it did not come to that in time.
        """
        deadline = self._timer.seconds() + self._limits.patience_seconds
        while not self._room(self._limits.prompt_seconds):
            now = self._timer.seconds()
            if now >= deadline:
                raise StoreUnavailable
            await self._timer.sleep_until(min(deadline, now + _LOOK_SECONDS))

    def _room(self, most_seconds: float) -> bool:
        """Tell whether one more event may wait: too many do not, and none has for longer than `most_seconds`."""
        waiting = self._waiting
        if len(waiting) >= self._limits.most_events:
            return False
        return not waiting or self._timer.seconds() - waiting[0][0] <= most_seconds

    def done(self, caller: Caller, command: Command, outcome: Outcome) -> None:
        """Append what `caller` did, unless its own transaction has."""
        event = done_event(caller, command, outcome, self._clock.now())
        if event is not None:
            self._append(event)

    def refused(self, caller: Caller, command: Command, error: HsmkmsError) -> None:
        """Append what `caller` was refused."""
        self._append_or_count(caller, error, refused_event(caller, command, error, self._clock.now()))

    def turned_away(self, caller: Caller, api: str | None, error: HsmkmsError) -> None:
        """Append what `caller` asked for that did not become a command."""
        self._append_or_count(caller, error, turned_away_event(caller, api, error, self._clock.now()))

    def _append_or_count(self, caller: Caller, error: HsmkmsError, event: Event) -> None:
        # Who is over his rate could otherwise write as many rows as he likes.
        if not isinstance(error, RequestRateExceeded) and self._room(self._limits.patience_seconds):
            self._append(event)
        else:
            self._uncounted[caller.account.name, caller.access_id] += 1
            self._work.set()

    def stranger(self, source: str, error: HsmkmsError) -> None:
        """Count a request of unknown origin."""
        self._extend(self._strangers.count(source, error, self._clock.now()))
        self._work.set()

    def _append(self, event: Event) -> None:
        self._waiting.append((self._timer.seconds(), event))
        self._work.set()

    def _extend(self, events: list[Event]) -> None:
        for event in events:
            self._append(event)

    # --- writing it down -------------------------------------------------------------------------------

    async def keep_writing(self) -> None:
        """Write what waits, every so often; runs until it is cancelled, and then `finish` writes the rest."""
        while True:
            await self._work.wait()
            await self._timer.sleep_until(self._timer.seconds() + self._limits.every_seconds)
            self._extend(self._strangers.over(self._clock.now()))
            if not self._strangers and not self._waiting and not self._uncounted:
                self._work.clear()
                continue
            try:
                await self.write()
            except Exception as fault:  # whatever it is: without this task no command is carried out
                level = logging.WARNING if isinstance(fault, TemporarilyUnavailable) else logging.ERROR
                facts = {"events": len(self._waiting), "fault": type(fault).__name__}
                unexpected = None if isinstance(fault, HsmkmsError) else fault
                said = "the audit trail could not be written and will be tried again"
                _logger.log(level, said, extra=facts, exc_info=unexpected)

    async def finish(self) -> None:
        """Write everything, for the process ends; what cannot be written in time is lost, and the log says so."""
        self._extend(self._strangers.rest())
        deadline = self._timer.seconds() + self._limits.last_seconds
        while self._waiting or self._uncounted:
            try:
                await self.write()
            except Exception as fault:  # noqa: BLE001 - the process ends: there is nobody else to try again
                if self._timer.seconds() >= deadline:
                    facts = {"events": len(self._waiting), "fault": type(fault).__name__}
                    _logger.critical("events were lost: the audit trail could not be written", extra=facts)
                    return
                await self._timer.sleep_until(self._timer.seconds() + self._limits.every_seconds)

    async def write(self) -> None:
        """Write what waits now, in its order.

        Raises:
            HsmkmsError: the database failed; what was not written waits on.
        """
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        # Shielded: an event is taken off the list only when its transaction has ended, whoever is cancelled meanwhile.
        await asyncio.shield(self._writing)

    async def _write(self) -> None:
        while self._waiting or self._uncounted:
            if not self._waiting:
                self._extend(self._recount())
            batch = [event for _, event in islice(self._waiting, _BATCH)]
            await self._store.write(functools.partial(_append, events=batch))
            for _ in batch:
                self._waiting.popleft()

    def _recount(self) -> list[Event]:
        """Return what tells of the requests for which there was no room: there is some now."""
        uncounted, self._uncounted = self._uncounted, Counter()
        now = self._clock.now()
        return [
            Event(EventTag.REQUEST_REFUSED, now, account, _ACTOR, detail={"access_id": access_id, "requests": requests})
            for (account, access_id), requests in uncounted.items()
        ]


def _append(writing: Writing, events: Sequence[Event]) -> None:
    writing.append(*events)
