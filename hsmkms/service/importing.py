"""Use case: import wrapped material. The heart of the service.

Steps of an import, each leaving something true if the process dies right after it:

1. admit: all checks, then one more attempt counted on ticket and pair, committed before the token is called;
2. the token unwraps, proves the length, fingerprints, seals and binds; we get a record and a fingerprint;
3. commit: key, material, ticket, pair and audit event in one transaction, after the rules were asked again.

An attempt whose token call was not judged is given back. One that was judged and did not become an import is recorded
as a refusal; if the database fails then, it stays counted, and the log has the rest. A repeated request is answered in
step 1, and one that is repeated before the first is answered gets the first one's answer (`joining`).
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hsmkms.core import records
from hsmkms.core.errors import (
    CallerFault,
    CiphertextSizeWrong,
    HsmkmsError,
    ImportTokenForeign,
    ImportTokenOver,
    ImportTokenUnknown,
    InternalFault,
    MaterialLengthWrong,
    MaterialMismatch,
    MaterialUndecryptable,
    RecordBroken,
    TicketEnd,
    TokenNotAsked,
    TokenUnavailable,
)
from hsmkms.core.events import EventTag
from hsmkms.core.keys import KeyAction, Material, require_expiry
from hsmkms.core.ports import ImportOrder
from hsmkms.core.tickets import MOST_PAIR_FAILURES, Pair, Spending, Ticket, TicketState
from hsmkms.core.wrapping import WRAPPING, WRAPPING_KEY_BYTES
from hsmkms.service.commands import Done
from hsmkms.service.joining import Joinable, Request
from hsmkms.service.permissions import in_scope
from hsmkms.service.rows import (
    end_ticket,
    event_of,
    existing_key,
    expired_event,
    pair_of,
    same_ticket,
    ticket_event,
)
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import Instant, PairId
    from hsmkms.core.keys import Key
    from hsmkms.core.material import Edition, SealedMaterial
    from hsmkms.core.ports import Clock, Hsm, Store, Writing
    from hsmkms.service.answering import FailureSchedule
    from hsmkms.service.commands import ImportMaterial
    from hsmkms.service.offering import Offer


_TELLING: Final = (MaterialLengthWrong, MaterialMismatch)
"""Refusals that tell a caller that the padding was right."""


MOST_IN_FLIGHT: Final = 64
"""Imports at a time. Each counts as a failure of its pair until it succeeds: well below `MOST_PAIR_FAILURES`, or the
successes under way would exhaust a shared pair."""
PATIENCE_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False)
class _Try:
    """An import that this process has begun."""

    pair_id: PairId | None = None
    """Of which it has counted an attempt."""


@dataclass(frozen=True, slots=True)
class _Admitted:
    """An attempt that has been counted."""

    key: Key
    ticket: Ticket
    pair: Pair
    order: ImportOrder


@dataclass(frozen=True, slots=True)
class _Rows:
    """What an import changes, as it is now."""

    key: Key
    ticket: Ticket
    pair: Pair


class ImportUseCases:
    """Import key material."""

    def __init__(
        self, store: Store, hsm: Hsm, clock: Clock, edition: Edition, *, offer: Offer, failures: FailureSchedule
    ) -> None:
        """Work on `store` and `hsm`, with material of `edition`, by the algorithms of `offer`.

        Whoever calls answers what failed as `failures` says.
        """
        self._store = store
        self._hsm = hsm
        self._clock = clock
        self._edition = edition
        self._offer = offer
        self._places = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._joinable = Joinable(failures)
        self._trying: set[_Try] = set()

    async def import_material(self, caller: Caller, command: ImportMaterial) -> Done:
        """Import wrapped material, or answer again what exactly this request already did.

        Raises:
            ExpiryInvalid: the expiry is not later than now, or above the maximum.
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyNotExternal: the key's material was generated in the token.
            KeyStateForbids: its state does not allow an import.
            ImportTokenUnknown: the import token is none of ours, or of a key that the caller may not know of.
            ImportTokenForeign: it is another key's, or another account's.
            ImportTokenOver: it is expired, exhausted, void or spent.
            NotOffered: its algorithm was offered when it was issued, and is no longer.
            CiphertextSizeWrong: the ciphertext is not as long as the modulus.
            MaterialUndecryptable: the token could not unwrap it.
            MaterialLengthWrong: it is not of the edition's length.
            MaterialMismatch: the key once had other material.
            TokenUnavailable: too many imports were under way for too long, or the token did not judge this one.
            ServiceOverloaded: too many that failed are not answered yet.
        """
        require_expiry(command.valid_to, self._clock.now())
        spending = Spending(hashlib.sha256(command.ciphertext).digest(), command.valid_to)
        request = Request(
            caller.account.name,
            caller.scope,
            command.key_id,
            command.import_token.digest(),
            spending,
            tuple(command.policy.allowed[KeyAction.IMPORT_MATERIAL]),
            command.algorithm_field,
        )
        importing = self._joinable.find(request)
        if importing is not None:
            return replace(await asyncio.shield(importing), changed=False)
        importing = self._joinable.begin(request, self._in_turn(caller, command, request), caller.received)
        return await asyncio.shield(importing)

    async def _in_turn(self, caller: Caller, command: ImportMaterial, request: Request) -> Done:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._places.acquire()
        except TimeoutError as error:
            raise TokenNotAsked from error
        try:
            return await self._import(caller, command, request)
        finally:
            self._places.release()

    async def _import(self, caller: Caller, command: ImportMaterial, request: Request) -> Done:
        trying = _Try()

        def admit(writing: Writing) -> _Admitted | None:
            trying.pair_id = None  # of a run that was undone
            admitted = self._admit(writing, caller, command, request.spending)
            # Not only when it is committed: those admitted together with it see its attempt already.
            trying.pair_id = None if admitted is None else admitted.pair.pair_id
            return admitted

        self._trying.add(trying)
        try:
            admitted = await commit(self._store, admit)
            if admitted is None:
                return Done(changed=False)
            self._joinable.count(request)
            await self._try(caller, command, admitted, request.spending)
        finally:
            self._trying.remove(trying)
        return Done()

    async def _try(self, caller: Caller, command: ImportMaterial, admitted: _Admitted, spending: Spending) -> None:
        judged: SealedMaterial | HsmkmsError
        try:
            judged = await self._hsm.import_material(admitted.order)
        except TokenNotAsked:
            await self._give_back(admitted, Ticket.never_tried)
            raise
        except TokenUnavailable:
            await self._give_back(admitted, Ticket.handed_back)
            raise
        except RecordBroken as fault:  # of the pair: the ciphertext was not looked at
            await self._give_back(admitted, Ticket.never_tried)
            await self._settle(caller, command, admitted, fault, spending)
            raise
        except (CallerFault, InternalFault) as fault:
            judged = fault
        refused = await self._settle(caller, command, admitted, judged, spending)
        if WRAPPING[admitted.ticket.algorithm].merges_refusals and isinstance(refused, _TELLING):
            raise MaterialUndecryptable from refused
        if refused is not None:
            raise refused

    def _admit(self, writing: Writing, caller: Caller, command: ImportMaterial, spending: Spending) -> _Admitted | None:
        """Make all checks and count the attempt; None when the request repeats what it already did."""
        now = self._clock.now()
        key = existing_key(writing, caller, command.key_id, now)
        key.require_external()
        ticket = writing.ticket(command.import_token.digest())
        own = ticket is not None and (ticket.account, ticket.key_id) == (key.account, key.key_id)
        if ticket is not None and own and _holds_what_it_brought(key, ticket, now) and ticket.repeats(spending, now):
            return None
        command.policy.require(KeyAction.IMPORT_MATERIAL, key.state(now))
        if ticket is None or not (own or in_scope(writing, caller, ticket.key_id)):
            raise ImportTokenUnknown
        if not own:
            raise ImportTokenForeign
        ticket.require_good(now)
        pair = pair_of(writing, ticket)
        self._require_good(pair)
        self._offer.require(ticket.algorithm, command.algorithm_field)
        if len(command.ciphertext) != WRAPPING_KEY_BYTES:
            raise CiphertextSizeWrong(WRAPPING_KEY_BYTES)
        ticket = writing.replace_ticket(ticket, ticket.attempted(now))
        pair = writing.replace_pair(pair, pair.attempted())
        return _Admitted(key, ticket, pair, self._order(key, ticket, pair, command.ciphertext))

    def _require_good(self, pair: Pair) -> None:
        """As `Pair.require_good`, but imports that are under way here are not yet failures.

        Raises:
            ImportTokenOver: too many failed under the pair, or its private half is gone.
            TokenNotAsked: too many are under way to tell.
        """
        if pair.failures >= MOST_PAIR_FAILURES:
            under_way = sum(each.pair_id == pair.pair_id for each in tuple(self._trying))
            if pair.failures - under_way < MOST_PAIR_FAILURES:
                raise TokenNotAsked
        pair.require_good()

    def _order(self, key: Key, ticket: Ticket, pair: Pair, ciphertext: bytes) -> ImportOrder:
        if pair.record is None:
            raise ImportTokenOver(TicketEnd.EXHAUSTED)
        return ImportOrder(
            owner=records.of_material(key.account, key.key_id, self._edition, key.generation),
            pair=records.of_pair(pair.pair_id, self._edition),
            pair_record=pair.record,
            algorithm=ticket.algorithm,
            ciphertext=ciphertext,
        )

    async def _settle(
        self,
        caller: Caller,
        command: ImportMaterial,
        admitted: _Admitted,
        judged: SealedMaterial | HsmkmsError,
        spending: Spending,
    ) -> HsmkmsError | None:
        """Commit what the token gave, or that it was refused, which is returned: by the token, or by the rules now.

        Whatever it was refused for takes the same one transaction, so that how long that takes tells nothing.
        """

        def settle(writing: Writing) -> HsmkmsError | None:
            now = self._clock.now()
            ticket = same_ticket(writing, admitted.ticket)
            pair = pair_of(writing, ticket)
            fault = judged if isinstance(judged, HsmkmsError) else None
            try:
                key = existing_key(writing, caller, admitted.key.key_id, now)
                if not isinstance(judged, HsmkmsError):
                    self._bring(writing, caller, command, _Rows(key, ticket, pair), judged, spending)
            except CallerFault as rule:  # raised before anything was written
                fault = fault or rule
            if fault is not None:
                self._refuse(writing, caller, ticket, fault)
            return fault

        return await commit(self._store, settle)

    def _bring(
        self,
        writing: Writing,
        caller: Caller,
        command: ImportMaterial,
        rows: _Rows,
        sealed: SealedMaterial,
        spending: Spending,
    ) -> None:
        """Write what the token gave, if the rules still allow it."""
        now, key, ticket, pair = self._clock.now(), rows.key, rows.ticket, rows.pair
        if _holds_what_it_brought(key, ticket, now) and ticket.repeats(spending, now):
            writing.replace_pair(pair, pair.handed_back())
            return
        require_expiry(spending.valid_to, now)
        command.policy.require(KeyAction.IMPORT_MATERIAL, key.state(now))
        spent = ticket.spent(spending)
        holding = key.with_material(sealed, Material(sealed.record, now, spending.valid_to, ticket.ticket_id))
        if key.material is not None and not key.material.usable(now):
            writing.append(expired_event(key, now, caller.access_id))
        writing.replace_key(key, holding)
        writing.replace_ticket(ticket, spent)
        done = pair.handed_back()
        writing.replace_pair(pair, done.left() if ticket.state is TicketState.ISSUED else done)
        writing.append(
            event_of(
                caller,
                EventTag.MATERIAL_IMPORTED,
                key.key_id,
                now,
                ticket=ticket.ticket_id,
                algorithm=ticket.algorithm.value,
                valid_to=spending.valid_to,
                reimport=key.fingerprint is not None,
            )
        )

    async def _give_back(self, admitted: _Admitted, given_back: Callable[[Ticket], Ticket]) -> None:
        """Take back an attempt that the token did not judge."""

        def give_back(writing: Writing) -> None:
            ticket = same_ticket(writing, admitted.ticket)
            given = given_back(ticket)
            if given is ticket:
                return
            writing.replace_ticket(ticket, given)
            pair = pair_of(writing, ticket)
            writing.replace_pair(pair, pair.handed_back())

        await commit(self._store, give_back)

    def _refuse(self, writing: Writing, caller: Caller, ticket: Ticket, fault: HsmkmsError) -> None:
        """Record a failed attempt, and end a ticket whose attempts are used up."""
        now = self._clock.now()
        event = ticket_event(caller, EventTag.MATERIAL_REFUSED, ticket, now, reason=type(fault).__name__)
        writing.append(event)
        settled = ticket.settled(now)
        if settled is not ticket:
            end_ticket(writing, ticket, settled, ticket_event(caller, EventTag.TICKET_LAPSED, ticket, now))


def _holds_what_it_brought(key: Key, ticket: Ticket, now: Instant) -> bool:
    return key.material is not None and key.material.ticket_id == ticket.ticket_id and key.material.usable(now)
