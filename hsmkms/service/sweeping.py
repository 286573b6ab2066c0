"""The background pass: what happens because time passed.

Laws:

- it only makes rows say what is already true: expired material is unusable, and an overdue ticket over, without it;
- each step stands alone, and a step that finds the token or the database away is tried again in the next pass;
- what cannot be undone, the end of a key or of its material, also needs a wall clock that went along with the time
  that passed (`due_time`); keys that wait for it are named in the log;
- from expiry or deletion to the record's absence from the database's files: at most 60 s after that.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.errors import HsmkmsError
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import later
from hsmkms.service.rows import end_ticket, expired_event
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hsmkms.core.ids import Instant, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Clock, Store, Writing
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.service.credentials import CredentialUseCases
    from hsmkms.service.due_time import DueTime

_logger = logging.getLogger(__name__)
_BATCH: Final = 20
"""Rows settled in one transaction: few enough that no request waits long for its turn to write."""
_MOST_TICKETS: Final = 500
"""Tickets of keys that end, removed in one transaction: a key has any number, and each takes some 20 microseconds."""
_ACTOR: Final = "sweeper"

Row = TypeVar("Row")


class Sweeper:
    """Expires material, deletes keys, lapses tickets, ends pairs, forgets secrets and erases what was deleted."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        due: DueTime,
        credentials: CredentialUseCases,
        *,
        parameters_valid_seconds: int,
    ) -> None:
        """Work on `store`; a pair takes no tickets once it is `parameters_valid_seconds` old."""
        self._store = store
        self._clock = clock
        self._due = due
        self._credentials = credentials
        self._parameters_valid_seconds = parameters_valid_seconds
        self._named: frozenset[KeyId] = frozenset()
        """Keys whose deletion waits for the clock, as the log knows."""

    async def keep_sweeping(self, every_seconds: float) -> None:
        """Take each step every so often; runs until it is cancelled.

        Each step has a timer of its own: a backlog in one must not keep another from its 60 s.
        """
        async with asyncio.TaskGroup() as group:
            for step in self._steps:
                group.create_task(self._keep_taking(step, every_seconds))

    async def sweep(self) -> None:
        """Take each step once."""
        for step in self._steps:
            await self._attempt(step)

    @property
    def _steps(self) -> tuple[Callable[[], Awaitable[object]], ...]:
        return (
            self._forget_secrets,
            self.expire_material,
            self.delete_keys,
            self.lapse_tickets,
            self.end_pairs,
            self._store.erase_deleted,
        )

    async def _keep_taking(self, step: Callable[[], Awaitable[object]], every_seconds: float) -> None:
        while True:
            await self._attempt(step)
            await asyncio.sleep(every_seconds)

    async def _attempt(self, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except HsmkmsError as fault:
            _logger.warning(
                "a background step failed and will be tried again",
                extra={"step": step.__name__, "fault": type(fault).__name__},
            )
        except Exception:  # a defect of ours in one step, or a row that somebody spoilt, must not end the others
            _logger.exception("a background step failed and will be tried again", extra={"step": step.__name__})

    async def _drain(
        self,
        present: Callable[[], Instant | None],
        find: Callable[[Instant, int], Awaitable[Sequence[Row]]],
        settle: Callable[[Writing, Row, Instant], None],
    ) -> None:
        """Settle what `find` returns, a transaction for each batch, until nothing new is found or time is unknown."""
        seen: Sequence[Row] = ()
        while (now := present()) is not None:
            rows = await find(now, _BATCH)
            # A row that is found again unchanged would be found for ever: it is left to the next pass.
            if not rows or rows == seen:
                return
            if (now := present()) is None:  # the clock leapt meanwhile
                return
            await commit(self._store, functools.partial(_settle_all, settle=settle, rows=rows, now=now))
            seen = rows

    async def _forget_secrets(self) -> None:
        self._credentials.forget_stale()

    async def expire_material(self) -> None:
        """Remove material whose expiry has come."""
        await self._drain(self._due.now, self._store.expired_keys, self._expire)

    @staticmethod
    def _expire(writing: Writing, seen: Key, now: Instant) -> None:
        key = writing.key(seen.account, seen.key_id)
        if key is None or key.material is None or key.material.usable(now):
            return
        writing.replace_key(key, key.without_material())
        writing.append(expired_event(key, now, _ACTOR))

    async def delete_keys(self) -> None:
        """Delete the keys whose deletion is due, and leave a tombstone of each."""
        await self._name_waiting()
        await self._drain(self._due.now, self._bare_due_deletions, self._delete)

    async def _bare_due_deletions(self, now: Instant, limit: int) -> Sequence[Key]:
        """Return keys whose deletion is due, when most of their tickets are gone."""
        keys = await self._store.due_deletions(now, limit)
        while keys and not await commit(self._store, functools.partial(_remove_tickets, keys=keys, now=now)):
            pass
        return keys

    async def _name_waiting(self) -> None:
        """Name the keys that end when the clock is trusted again, each once for as long as it waits; a batch at most.

        Where the clock was behind when they were scheduled, and is right now, they end before their time.
        """
        waiting = self._due.now() is None
        due = await self._store.due_deletions(self._clock.now(), _BATCH) if waiting else ()
        found = frozenset(key.key_id for key in due)
        if fresh := found - self._named:
            _logger.error("keys are deleted once the wall clock is trusted", extra={"key_ids": sorted(fresh)})
        self._named = found

    @staticmethod
    def _delete(writing: Writing, seen: Key, now: Instant) -> None:
        key = writing.key(seen.account, seen.key_id)
        if key is None or not key.gone(now):
            return
        writing.delete_key(key, now)
        detail = {"due": key.deletion_due, "had_material": key.material is not None}
        writing.append(Event(EventTag.KEY_DELETED, now, key.account, _ACTOR, key.key_id, detail=detail))

    async def lapse_tickets(self) -> None:
        """Lapse tickets whose deadline passed or whose attempts are used up."""
        await self._drain(self._clock.now, self._store.overdue_tickets, self._lapse)

    @staticmethod
    def _lapse(writing: Writing, seen: Ticket, now: Instant) -> None:
        ticket = writing.ticket(seen.token_digest)
        if ticket is None:
            return
        settled = ticket.settled(now)
        if settled is ticket:
            return
        event = Event(
            EventTag.TICKET_LAPSED,
            now,
            ticket.account,
            _ACTOR,
            ticket.key_id,
            detail={"ticket": ticket.ticket_id, "attempts": ticket.attempts},
        )
        end_ticket(writing, ticket, settled, event)

    async def end_pairs(self) -> None:
        """Close pairs that are too old for another ticket, and remove the private halves of those that are over."""
        await self._drain(self._clock.now, self._idle_pairs, self._end)

    async def _idle_pairs(self, now: Instant, limit: int) -> Sequence[Pair]:
        return await self._store.idle_pairs(later(now, seconds=-self._parameters_valid_seconds), limit)

    @staticmethod
    def _end(writing: Writing, seen: Pair, _now: Instant) -> None:
        pair = writing.pair(seen.pair_id)
        if pair is not None and pair.record is not None:
            writing.replace_pair(pair, pair.shut())


def _settle_all(
    writing: Writing, *, settle: Callable[[Writing, Row, Instant], None], rows: Sequence[Row], now: Instant
) -> None:
    for row in rows:
        settle(writing, row, now)


def _remove_tickets(writing: Writing, *, keys: Sequence[Key], now: Instant) -> bool:
    """Remove tickets of keys that are gone; tell whether these were all, or about all."""
    left = _MOST_TICKETS
    for seen in keys:
        key = writing.key(seen.account, seen.key_id)
        if key is not None and key.gone(now):
            left -= writing.remove_tickets(key.key_id, left)
        if not left:
            return False
    return True
