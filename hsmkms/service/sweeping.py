"""The background pass: what happens because time passed.

Laws:

- it only makes rows say what is already true: expired material is unusable, and an overdue ticket over, without it;
- each step stands alone, and a step that finds the token or the database away is tried again in the next pass;
- from expiry or deletion to the record's absence from the database's files: at most 60 s.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.errors import HsmkmsError
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import later
from hsmkms.service.rows import end_ticket, expired_event
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Clock, Store, Writing
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.service.credentials import CredentialUseCases

_LOG = logging.getLogger(__name__)
_BATCH: Final = 100
_ACTOR: Final = "sweeper"

Row = TypeVar("Row")


class Sweeper:
    """Expires material, lapses tickets, ends pairs, forgets secrets and erases what was deleted."""

    def __init__(
        self, store: Store, clock: Clock, credentials: CredentialUseCases, *, parameters_valid_seconds: int
    ) -> None:
        """Work on `store`; a pair takes no tickets once it is `parameters_valid_seconds` old."""
        self._store = store
        self._clock = clock
        self._credentials = credentials
        self._parameters_valid_seconds = parameters_valid_seconds

    async def keep_sweeping(self, every_seconds: float) -> None:
        """Pass every so often; runs until it is cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(every_seconds)

    async def sweep(self) -> None:
        """Make one pass."""
        self._credentials.forget_stale()
        for step in (self.expire_material, self.lapse_tickets, self.end_pairs, self._store.erase_deleted):
            await self._attempt(step)

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except HsmkmsError as fault:
            _LOG.warning(
                "a background step failed and will be tried again",
                extra={"step": step.__name__, "fault": type(fault).__name__},
            )

    @staticmethod
    async def _drain(find: Callable[[], Awaitable[Sequence[Row]]], settle: Callable[[Row], Awaitable[None]]) -> None:
        """Settle what `find` returns, batch by batch, until nothing new is found."""
        seen: Sequence[Row] = ()
        # A row that is found again unchanged would be found for ever: it is left to the next pass.
        while (rows := await find()) and rows != seen:
            for row in rows:
                await settle(row)
            seen = rows

    async def expire_material(self) -> None:
        """Remove material whose expiry has come."""
        await self._drain(lambda: self._store.expired_keys(self._clock.now(), _BATCH), self._expire)

    async def _expire(self, seen: Key) -> None:
        async def expire(writing: Writing) -> None:
            now = self._clock.now()
            key = await writing.key(seen.account, seen.key_id)
            if key is None or key.material is None or key.material.usable(now):
                return
            await writing.replace_key(key, key.without_material())
            await writing.append(expired_event(key, now, _ACTOR))

        await commit(self._store, expire)

    async def lapse_tickets(self) -> None:
        """Lapse tickets whose deadline passed or whose attempts are used up."""
        await self._drain(lambda: self._store.overdue_tickets(self._clock.now(), _BATCH), self._lapse)

    async def _lapse(self, seen: Ticket) -> None:
        async def lapse(writing: Writing) -> None:
            now = self._clock.now()
            ticket = await writing.ticket(seen.token_digest)
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
            await end_ticket(writing, ticket, settled, event)

        await commit(self._store, lapse)

    async def end_pairs(self) -> None:
        """Close pairs that are too old for another ticket, and remove the private halves of those that are over."""
        opened_before = later(self._clock.now(), seconds=-self._parameters_valid_seconds)
        await self._drain(lambda: self._store.idle_pairs(opened_before, _BATCH), self._end)

    async def _end(self, seen: Pair) -> None:
        async def end(writing: Writing) -> None:
            pair = await writing.pair(seen.pair_id)
            if pair is not None and pair.record is not None:
                await writing.replace_pair(pair, pair.shut())

        await commit(self._store, end)
