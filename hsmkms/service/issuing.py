"""Use case: issue a ticket, the first step of the ceremony.

Laws:

- every ticket has a pair of its own, unless the configuration lets tickets of one account and algorithm share one;
- a key has at most `MOST_LIVE_TICKETS` live tickets: one more voids the oldest;
- a pair is taken from the pool outside of any transaction, and goes back if it is certain that no ticket took it.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsmkms.core.errors import CallerFault
from hsmkms.core.events import EventTag
from hsmkms.core.ids import TicketId, later
from hsmkms.core.keys import KeyAction
from hsmkms.core.secrets import ImportToken
from hsmkms.core.tickets import IMPORT_TOKEN_BYTES, MOST_LIVE_TICKETS, Pair, Ticket
from hsmkms.core.wrapping import WRAPPING
from hsmkms.service.commands import ImportParameters
from hsmkms.service.rows import answered, end_ticket, event_of, existing_key, ticket_event
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import Instant
    from hsmkms.core.ports import Clock, KeyReading, Store, Writing
    from hsmkms.core.tickets import FreshPair
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.service.commands import GetImportParameters
    from hsmkms.service.limits import RateLimits
    from hsmkms.service.offering import Offer
    from hsmkms.service.pairs import PairPool


@dataclass(frozen=True, slots=True)
class IssuingSettings:
    """What the operator decides about tickets."""

    parameters_valid_seconds: int
    tickets_per_pair: int
    max_attempts: int


class IssuingUseCases:
    """Get import parameters."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        offer: Offer,
        *,
        pool: PairPool,
        limits: RateLimits,
        settings: IssuingSettings,
    ) -> None:
        """Work on `store`, with pairs from `pool`, as often as `limits` lets an account."""
        self._store = store
        self._clock = clock
        self._offer = offer
        self._pool = pool
        self._limits = limits
        self._settings = settings

    async def get_parameters(self, caller: Caller, command: GetImportParameters) -> ImportParameters:
        """Issue a ticket on a pair of its own, or on one that the configuration lets tickets share.

        Raises:
            NotOffered: neither token nor configuration offers the algorithm.
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyNotExternal: its material was generated in the token.
            KeyStateForbids: its state does not allow an import.
            RequestRateExceeded: the account got too many lately.
        """
        self._offer.require(command.algorithm, command.algorithm_field)
        await self._require_likely(caller, command)
        self._limits.admit_parameters(caller.account.name)
        token = ImportToken(base64.b64encode(secrets.token_bytes(IMPORT_TOKEN_BYTES)))
        fresh = None if self._tickets_per_pair(command.algorithm) > 1 else await self._pool.take()
        while True:
            issued = await self._issued(caller, command, token, fresh)
            if issued is not None:
                return issued
            fresh = await self._pool.take()

    def _tickets_per_pair(self, algorithm: WrappingAlgorithm) -> int:
        return self._settings.tickets_per_pair if WRAPPING[algorithm].shares_pairs else 1

    async def _require_likely(self, caller: Caller, command: GetImportParameters) -> None:
        """Refuse what will be refused, before it takes a pair."""
        key_id = command.key_id
        await answered(self._store, caller, key_id, lambda reading: self._require_ready(reading, caller, command))

    def _require_ready(self, reading: KeyReading, caller: Caller, command: GetImportParameters) -> None:
        now = self._clock.now()
        key = existing_key(reading, caller, command.key_id, now)
        key.require_external()
        command.policy.require(KeyAction.GET_PARAMETERS, key.state(now))

    async def _issued(
        self, caller: Caller, command: GetImportParameters, token: ImportToken, fresh: FreshPair | None
    ) -> ImportParameters | None:
        """Issue the ticket; None when no pair is open to it and none was brought."""
        took_fresh = False

        def issue(writing: Writing) -> ImportParameters | None:
            nonlocal took_fresh
            self._require_ready(writing, caller, command)
            pair = self._taken_pair(writing, caller, command.algorithm, fresh)
            took_fresh = pair is not None and fresh is not None and pair.pair_id == fresh.pair_id
            return None if pair is None else self._issue(writing, caller, command, token, pair)

        try:
            return await commit(self._store, issue)
        except CallerFault:
            took_fresh = False  # a rule refused, so nothing was committed
            raise
        finally:
            # After any other fault the commit may have happened, and a pair that two rows claim would serve nobody.
            if fresh is not None and not took_fresh:
                self._pool.put_back(fresh)

    def _issue(
        self, writing: Writing, caller: Caller, command: GetImportParameters, token: ImportToken, pair: Pair
    ) -> ImportParameters:
        now = self._clock.now()
        ticket = self._new_ticket(caller, command, token, pair, now)
        self._make_room(writing, caller, ticket)
        writing.add_ticket(ticket)
        facts = {"ticket": ticket.ticket_id, "algorithm": ticket.algorithm.value}
        writing.append(event_of(caller, EventTag.PARAMETERS_ISSUED, ticket.key_id, now, **facts))
        return ImportParameters(ticket.key_id, token, pair.public_key, ticket.deadline)

    def _taken_pair(
        self, writing: Writing, caller: Caller, algorithm: WrappingAlgorithm, fresh: FreshPair | None
    ) -> Pair | None:
        """Return a pair with one more ticket on it: an open one, or the fresh one; None if there is neither."""
        now, most_tickets = self._clock.now(), self._tickets_per_pair(algorithm)
        if most_tickets > 1:
            since = later(now, seconds=-self._settings.parameters_valid_seconds)
            pair = writing.open_pair(caller.account.name, algorithm, since)
            if pair is not None:
                return writing.replace_pair(pair, pair.taken(most_tickets=most_tickets))
        if fresh is None:
            return None
        new = Pair(fresh.pair_id, caller.account.name, algorithm, fresh.public_key, now, fresh.record)
        taken = new.taken(most_tickets=most_tickets)
        writing.add_pair(taken)
        return taken

    def _new_ticket(
        self, caller: Caller, command: GetImportParameters, token: ImportToken, pair: Pair, now: Instant
    ) -> Ticket:
        return Ticket(
            ticket_id=TicketId(str(uuid.uuid4())),
            token_digest=token.digest(),
            account=caller.account.name,
            key_id=command.key_id,
            pair_id=pair.pair_id,
            algorithm=command.algorithm,
            issued_at=now,
            deadline=later(now, seconds=self._settings.parameters_valid_seconds),
            most_attempts=self._settings.max_attempts,
        )

    @staticmethod
    def _make_room(writing: Writing, caller: Caller, newcomer: Ticket) -> None:
        """Void the oldest live tickets of the key until the newcomer fits; those that are over anyway lapse."""
        now = newcomer.issued_at
        live = []
        for ticket in writing.live_tickets(newcomer.key_id):
            settled = ticket.settled(now)
            if settled is ticket:
                live.append(ticket)
            else:
                end_ticket(writing, ticket, settled, ticket_event(caller, EventTag.TICKET_LAPSED, ticket, now))
        for ticket in live[: max(0, len(live) - MOST_LIVE_TICKETS + 1)]:
            voided = ticket_event(caller, EventTag.TICKET_VOIDED, ticket, now)
            end_ticket(writing, ticket, ticket.voided(), voided)
