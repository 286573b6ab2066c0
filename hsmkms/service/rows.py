"""Steps on rows that several use cases take, inside the transaction of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.core.errors import InternalFault, KeyNotFound
from hsmkms.core.events import Event, EventTag

if TYPE_CHECKING:
    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import AccountName, Instant, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Reading, Writing
    from hsmkms.core.tickets import Pair, Ticket


async def existing_key(reading: Reading, account: AccountName, key_id: KeyId, now: Instant) -> Key:
    """Return the account's key.

    Raises:
        KeyNotFound: there is none of this id in this account, or its deletion is due.
    """
    key = await reading.key(account, key_id)
    if key is None or key.gone(now):
        raise KeyNotFound
    return key


async def same_ticket(reading: Reading, ticket: Ticket) -> Ticket:
    """Return a ticket as its row is now.

    Raises:
        KeyNotFound: it is gone, and goes only with its key.
    """
    found = await reading.ticket(ticket.token_digest)
    if found is None:
        raise KeyNotFound
    return found


async def pair_of(reading: Reading, ticket: Ticket) -> Pair:
    """Return the pair of a ticket.

    Raises:
        InternalFault: it is gone, which no use case does.
    """
    pair = await reading.pair(ticket.pair_id)
    if pair is None:
        raise InternalFault
    return pair


async def end_ticket(writing: Writing, ticket: Ticket, ended: Ticket, event: Event) -> None:
    """Write a ticket that stopped being ISSUED without an import, and take it from its pair."""
    await writing.replace_ticket(ticket, ended)
    pair = await pair_of(writing, ticket)
    await writing.replace_pair(pair, pair.left())
    await writing.append(event)


def event_of(caller: Caller, tag: EventTag, key_id: KeyId, now: Instant, **detail: str | int | bool | None) -> Event:
    """Return the audit event of what `caller` did to a key."""
    return Event(tag, now, caller.account.name, caller.access_id, key_id, caller.request_id, detail)


def ticket_event(caller: Caller, tag: EventTag, ticket: Ticket, now: Instant) -> Event:
    """Return the audit event of what a request of `caller` did to a ticket."""
    return event_of(caller, tag, ticket.key_id, now, ticket=ticket.ticket_id, attempts=ticket.attempts)


def expired_event(key: Key, now: Instant, actor: str) -> Event:
    """Return the audit event of the removal of a key's expired material, whoever came upon it."""
    valid_to = None if key.material is None else key.material.valid_to
    return Event(EventTag.MATERIAL_EXPIRED, now, key.account, actor, key.key_id, detail={"valid_to": valid_to})
