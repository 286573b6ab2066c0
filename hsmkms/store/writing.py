"""`core.ports.Writing` over one connection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from hsmkms.core.errors import ChangedMeanwhile
from hsmkms.core.ids import Account
from hsmkms.core.ports import Tombstone
from hsmkms.store import queries
from hsmkms.store.reading import SqlReading
from hsmkms.store.rows import (
    credential_values,
    event_values,
    key_values,
    material_values,
    pair_values,
    tag_values,
    ticket_values,
    tombstone_values,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hsmkms.core.credentials import Credential
    from hsmkms.core.events import Event
    from hsmkms.core.ids import AccountName, Instant, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.tickets import Pair, Ticket

    Chain = Callable[[bytes, Event], bytes]

Revised = TypeVar("Revised", "Key", "Ticket", "Pair")

_NOTHING_BEFORE = b""


class SqlWriting(SqlReading):
    """One transaction.

    Attributes:
        removed: whether bytes that must not be readable any more were removed; a transaction that is rolled back may
            say so in vain.
    """

    def __init__(self, connection: AsyncConnection, chain: Chain) -> None:
        """Write through `connection`, which is in a transaction; `chain` links each event to those before."""
        super().__init__(connection)
        self._chain = chain
        self._last_digest: bytes | None = None
        self.removed = False

    async def add_key(self, key: Key, tags: Mapping[str, str] | None = None) -> None:
        """Insert a key with its tags.

        Raises:
            AliasTaken: another key of the account has its alias.
        """
        await self.run(queries.ADD_KEY, key_values(key))
        if key.material is not None:
            await self.run(queries.ADD_MATERIAL, {"key_id": key.key_id, **material_values(key.material)})
        if tags:
            await self.run(queries.ADD_TAGS, tag_values(key.key_id, tags))

    async def replace_key(self, old: Key, new: Key) -> Key:
        """Replace a key; material that `new` does not hold any more is removed from the database."""
        written = await self._swap(queries.REPLACE_KEY, old.key_id, key_values, old, new)
        before, after = old.material, new.material
        if before is not None and (after is None or before.record != after.record):
            self.removed = True
        if after is None:
            if before is not None:
                await self.run(queries.REMOVE_MATERIAL, {"this": old.key_id})
        elif before is None:
            await self.run(queries.ADD_MATERIAL, {"key_id": old.key_id, **material_values(after)})
        elif before != after:
            await self.run(queries.REPLACE_MATERIAL, {"this": old.key_id, **material_values(after)})
        return written

    async def lease_uses(self, key_id: KeyId, uses: int, most: int) -> bool:
        """Count `uses` more uses of a key; False, and none counted, if it would have more than `most` or is gone."""
        counted = await self.run(queries.LEASE_USES, {"this": key_id, "uses": uses, "most": most})
        return counted.rowcount == 1

    async def delete_key(self, key: Key, deleted_at: Instant) -> None:
        """Remove a key with its material, tags and tickets, of which none is ISSUED any more, and leave a tombstone."""
        # The row goes last, because the others refer to it; its swap tells first whether any of them may go.
        await self._swap(queries.REPLACE_KEY, key.key_id, key_values, key, key)
        self.removed = self.removed or key.material is not None
        for statement in (queries.REMOVE_MATERIAL, queries.REMOVE_TAGS, queries.REMOVE_TICKETS, queries.REMOVE_KEY):
            await self.run(statement, {"this": key.key_id})
        tombstone = Tombstone(key.key_id, key.account, key.origin, key.created_at, deleted_at)
        await self.run(queries.ADD_TOMBSTONE, tombstone_values(tombstone))

    async def add_ticket(self, ticket: Ticket) -> None:
        """Insert a ticket."""
        await self.run(queries.ADD_TICKET, ticket_values(ticket))

    async def replace_ticket(self, old: Ticket, new: Ticket) -> Ticket:
        """Replace a ticket."""
        return await self._swap(queries.REPLACE_TICKET, old.ticket_id, ticket_values, old, new)

    async def add_pair(self, pair: Pair) -> None:
        """Insert a pair."""
        await self.run(queries.ADD_PAIR, pair_values(pair))
        if pair.record is not None:
            await self.run(queries.ADD_PAIR_SECRET, {"pair_id": pair.pair_id, "record": pair.record})

    async def replace_pair(self, old: Pair, new: Pair) -> Pair:
        """Replace a pair; a private half that `new` does not hold any more is removed from the database."""
        written = await self._swap(queries.REPLACE_PAIR, old.pair_id, pair_values, old, new)
        before, after = old.record, new.record
        if before is not None and before != after:
            self.removed = True
        if after is None:
            if before is not None:
                await self.run(queries.REMOVE_PAIR_SECRET, {"this": old.pair_id})
        elif before is None:
            await self.run(queries.ADD_PAIR_SECRET, {"pair_id": old.pair_id, "record": after})
        elif before != after:
            await self.run(queries.REPLACE_PAIR_SECRET, {"this": old.pair_id, "record": after})
        return written

    async def ensure_account(self, name: AccountName) -> Account:
        """Return the account of this name, made if there is none."""
        account = await self.account(name)
        if account is not None:
            return account
        return Account((await self.run(queries.ADD_ACCOUNT, {"name": name})).scalar_one(), name)

    async def add_credential(self, credential: Credential) -> None:
        """Insert a credential."""
        await self.run(queries.ADD_CREDENTIAL, credential_values(credential))

    async def append(self, event: Event) -> None:
        """Append to the audit trail."""
        if self._last_digest is None:
            last: bytes | None = (await self.run(queries.LAST_DIGEST)).scalar_one_or_none()
            self._last_digest = _NOTHING_BEFORE if last is None else last
        digest = self._chain(self._last_digest, event)
        await self.run(queries.ADD_EVENT, event_values(event, digest))
        self._last_digest = digest

    async def _swap(
        self,
        statement: Executable,
        identity: str,
        values: Callable[[Revised], Mapping[str, object]],
        old: Revised,
        new: Revised,
    ) -> Revised:
        written = replace(new, revision=old.revision + 1)
        before, after = values(old), values(written)
        # Only what differs, so that the indices on all the rest are left alone.
        changes = {column: value for column, value in after.items() if value != before[column]}
        result = await self.run(statement, {**changes, "this": identity, "seen": old.revision})
        if result.rowcount == 0:
            raise ChangedMeanwhile
        return written
