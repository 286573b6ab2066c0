"""Steps on rows that several use cases take, inside the transaction of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.errors import CallerFault, FieldInvalid, InternalFault, KeyNotFound, KeyOutOfScope
from hsmkms.core.events import Event, EventTag
from hsmkms.service.permissions import require_in_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.credentials import Caller, Credential
    from hsmkms.core.ids import AccessId, Instant, KeyId
    from hsmkms.core.keys import Key, KeyAction, StatePolicy
    from hsmkms.core.ports import KeyReading, Reading, Store, Writing
    from hsmkms.core.tickets import Pair, Ticket


ACCESS_ID: Final = "ACCESS_ID"
"""What the commands call a credential's name."""
_OPERATOR: Final = "operator"

Answer = TypeVar("Answer")


async def looked_up(store: Store, caller: Caller, key_id: KeyId) -> KeyReading:
    """Return a view of one key, which may be remembered.

    Raises:
        KeyOutOfScope: the caller's credential is limited to others; whether there is this one is not looked up.
    """
    tagged = bool(caller.scope.tags)
    if not tagged and not caller.scope.holds(key_id, {}):
        raise KeyOutOfScope
    return await store.look_up(caller.account.name, key_id, tagged=tagged)


async def answered(store: Store, caller: Caller, key_id: KeyId, question: Callable[[KeyReading], Answer]) -> Answer:
    """Return what `question` finds in a view of one key; what is remembered of the key refuses nothing.

    Another node may have changed it a moment ago, and its caller knows: a refusal is asked again of the database.

    Raises:
        KeyOutOfScope: as `looked_up`.
        CallerFault: as `question`.
    """
    known = await looked_up(store, caller, key_id)
    try:
        return question(known)
    except CallerFault:
        return await store.read(question)


def existing_key(reading: KeyReading, caller: Caller, key_id: KeyId, now: Instant) -> Key:
    """Return a key that the caller may have to do with.

    Raises:
        KeyOutOfScope: the caller's credential is limited to others; whether there is this one is not looked up.
        KeyNotFound: there is none of this id in this account, or its deletion is due.
    """
    require_in_scope(reading, caller, key_id)
    key = reading.key(caller.account.name, key_id)
    if key is None or key.gone(now):
        raise KeyNotFound
    return key


def permitted_key(
    reading: KeyReading, caller: Caller, key_id: KeyId, action: KeyAction, policy: StatePolicy, now: Instant
) -> Key:
    """Return a key that the caller may have to do with, and whose state allows the action.

    Raises:
        KeyOutOfScope, KeyNotFound: as `existing_key`.
        KeyStateForbids: its state does not allow it.
    """
    key = existing_key(reading, caller, key_id, now)
    policy.require(action, key.state(now))
    return key


def same_ticket(reading: Reading, ticket: Ticket) -> Ticket:
    """Return a ticket as its row is now.

    Raises:
        KeyNotFound: it is gone, and goes only with its key.
    """
    found = reading.ticket(ticket.token_digest)
    if found is None:
        raise KeyNotFound
    return found


def pair_of(reading: Reading, ticket: Ticket) -> Pair:
    """Return the pair of a ticket.

    Raises:
        InternalFault: it is gone, which no use case does.
    """
    pair = reading.pair(ticket.pair_id)
    if pair is None:
        raise InternalFault
    return pair


def end_ticket(writing: Writing, ticket: Ticket, ended: Ticket, event: Event) -> None:
    """Write a ticket that stopped being ISSUED without an import, and take it from its pair."""
    writing.replace_ticket(ticket, ended)
    pair = pair_of(writing, ticket)
    writing.replace_pair(pair, pair.left())
    writing.append(event)


def existing_credential(reading: Reading, access_id: AccessId) -> Credential:
    """Return the credential of this access id.

    Raises:
        FieldInvalid: there is none.
    """
    found = reading.credential(access_id)
    if found is None:
        raise FieldInvalid(ACCESS_ID, "there is no such credential; 'hsmkms credential list' shows those there are.")
    return found


def credential_event(tag: EventTag, credential: Credential, now: Instant, **detail: str | int | bool | None) -> Event:
    """Return the audit event of what the operator did to a credential."""
    named = {"access_id": credential.access_id, **detail}
    return Event(tag, now, credential.account.name, _OPERATOR, detail=named)


def event_of(caller: Caller, tag: EventTag, key_id: KeyId, now: Instant, **detail: str | int | bool | None) -> Event:
    """Return the audit event of what `caller` did to a key."""
    return Event(tag, now, caller.account.name, caller.access_id, key_id, caller.request_id, detail)


def ticket_event(caller: Caller, tag: EventTag, ticket: Ticket, now: Instant, **detail: str) -> Event:
    """Return the audit event of what a request of `caller` did to a ticket."""
    return event_of(caller, tag, ticket.key_id, now, ticket=ticket.ticket_id, attempts=ticket.attempts, **detail)


def expired_event(key: Key, now: Instant, actor: str) -> Event:
    """Return the audit event of the removal of a key's expired material, whoever came upon it."""
    valid_to = None if key.material is None else key.material.valid_to
    return Event(EventTag.MATERIAL_EXPIRED, now, key.account, actor, key.key_id, detail={"valid_to": valid_to})
