"""`core.ports.Writing` over one connection."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.errors import ChangedMeanwhile, InternalFault
from hsmkms.core.events import DIGEST_BYTES, AuditHead
from hsmkms.core.ids import Account
from hsmkms.core.ports import Tombstone
from hsmkms.store import queries
from hsmkms.store.reading import SqlReading
from hsmkms.store.rows import (
    credential_life_values,
    credential_values,
    key_values,
    material_values,
    pair_values,
    tag_values,
    ticket_values,
    tombstone_values,
)
from hsmkms.store.trail import event_values, seal_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hsmkms.core.credentials import Credential
    from hsmkms.core.events import AuditSeal, Event
    from hsmkms.core.ids import AccountName, Instant, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.tickets import Pair, Ticket

    Chain = Callable[[bytes, Event], bytes]

Revised = TypeVar("Revised", "Key", "Ticket", "Pair")

_logger = logging.getLogger(__name__)

_NOTHING_BEFORE: Final = b""
UNKNOWN_BEFORE: Final = hashlib.sha256(b"hsmkms audit: the digest before is not one").digest()
"""In the place of a last digest that is none, which somebody wrote there: what happens then must be recorded all the
same. Whoever verifies the trail finds the break at the event that was spoilt, or at the first one after it."""


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

    async def replace_credential(self, credential: Credential) -> None:
        """Write `switched_on`, `valid_to` and `replaced_by` of the credential of this access id."""
        values = {"this": credential.access_id, **credential_life_values(credential)}
        if not (await self.run(queries.REPLACE_CREDENTIAL, values)).rowcount:
            raise ChangedMeanwhile

    async def append(self, *events: Event) -> None:
        """Append to the audit trail, in this order."""
        if not events:
            return
        if self._last_digest is None:
            self._last_digest = await self._digest_before()
        rows, digest = [], self._last_digest
        for event in events:
            digest = self._chain(digest, event)
            rows.append(event_values(event, digest))
        added = await self.run(queries.ADD_EVENT, rows)
        if added.rowcount != len(rows):
            # A trigger can do so: what asked for the event must not happen without it.
            _logger.error("the database did not keep what was appended to the audit trail")
            self.failed = True
            raise InternalFault
        self._last_digest = digest

    async def _digest_before(self) -> bytes:
        head = await self.head()
        if head is None:
            return _NOTHING_BEFORE
        if type(head.digest) is bytes and len(head.digest) == DIGEST_BYTES:
            return head.digest
        _logger.error("the audit trail is broken: its last digest is none", extra={"sequence": head.sequence})
        return UNKNOWN_BEFORE

    async def head(self) -> AuditHead | None:
        """Return the newest event's place and digest; None in an empty trail."""
        row = (await self.run(queries.HEAD)).first()
        return None if row is None else AuditHead(row.sequence, row.digest)

    async def seal(self, seal: AuditSeal) -> None:
        """Keep a seal of the trail, in the place of an older one of the same block."""
        await self.run(queries.REMOVE_SEAL, {"this": seal.head.block})
        await self.run(queries.ADD_SEAL, seal_values(seal))

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
