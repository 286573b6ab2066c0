"""`core.ports.Writing` over one connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from hsmkms.core.custody import CustodyRole
from hsmkms.core.errors import ChangedMeanwhile, StoreUnavailable
from hsmkms.core.ids import Account
from hsmkms.core.ports import Tombstone
from hsmkms.core.replacing import replaced
from hsmkms.store import queries, trail
from hsmkms.store.reading import SqlReading
from hsmkms.store.rows import (
    credential_life_values,
    credential_values,
    key_values,
    material_values,
    pair_secret_values,
    pair_values,
    sealing_version_of,
    tag_values,
    ticket_values,
    tombstone_values,
)
from hsmkms.store.sealing_keys import HOLD_KEY, sealing_keys_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Executable

    from hsmkms.core.credentials import Credential
    from hsmkms.core.events import AuditCut, AuditSeal, Event
    from hsmkms.core.ids import AccountName, Instant, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.tickets import Pair, Ticket

Revised = TypeVar("Revised", "Key", "Ticket", "Pair")

_logger = logging.getLogger(__name__)


class SqlWriting(SqlReading):
    """One change of a transaction.

    Attributes:
        removed: whether bytes that must not be readable any more were removed.
        changed: the keys whose rows it changed.
        events: what it appends to the audit trail.
    """

    def __init__(self, connection: Connection) -> None:
        """Write through `connection`, which is in a transaction."""
        super().__init__(connection)
        self.removed = False
        self.changed: set[KeyId] = set()
        self.events: list[Event] = []

    def add_key(self, key: Key, tags: Mapping[str, str] | None = None) -> None:
        """Insert a key with its tags.

        Raises:
            AliasTaken: another key of the account has its alias.
            StoreUnavailable: its material is under sealing keys that were retired meanwhile.
        """
        if key.material is not None:
            self._require_openable(CustodyRole.MATERIAL_SEALING, key.material.record)
        self.quick(queries.ADD_KEY, key_values(key))
        self.changed.add(key.key_id)
        if key.material is not None:
            self.quick(queries.ADD_MATERIAL, {"key_id": key.key_id, **material_values(key.material)})
        if tags:
            self.quick(queries.ADD_TAGS, tag_values(key.key_id, tags))

    def replace_key(self, old: Key, new: Key) -> Key:
        """Replace a key; material that `new` does not hold any more is removed from the database.

        Raises:
            StoreUnavailable: its new material is under sealing keys that were retired meanwhile.
        """
        before, after = old.material, new.material
        if after is not None and (before is None or before.record != after.record):
            self._require_openable(CustodyRole.MATERIAL_SEALING, after.record)
        written = self._swap(queries.REPLACE_KEY, old.key_id, key_values, old, new)
        self.changed.add(old.key_id)
        if before is not None and (after is None or before.record != after.record):
            self.removed = True
        if after is None:
            if before is not None:
                self.quick(queries.REMOVE_MATERIAL, {"this": old.key_id})
        elif before is None:
            self.quick(queries.ADD_MATERIAL, {"key_id": old.key_id, **material_values(after)})
        elif before != after:
            self.quick(queries.REPLACE_MATERIAL, {"this": old.key_id, **material_values(after)})
        return written

    def lease_uses(self, key_id: KeyId, uses: int, most: int) -> bool:
        """Count `uses` more uses of a key; False, and none counted, if it would have more than `most` or is gone."""
        counted = self.run(queries.LEASE_USES, {"this": key_id, "uses": uses, "most": most})
        return counted.rowcount == 1

    def remove_tickets(self, key_id: KeyId, most: int) -> int:
        """Remove at most `most` tickets of a key, of which none is ISSUED any more, and return how many it were."""
        return self.run(queries.REMOVE_SOME_TICKETS, {"this": key_id, "most": most}).rowcount

    def delete_key(self, key: Key, deleted_at: Instant) -> None:
        """Remove a key with its material, tags and tickets, of which none is ISSUED any more, and leave a tombstone."""
        # The row goes last, because the others refer to it; its swap tells first whether any of them may go.
        self._swap(queries.REPLACE_KEY, key.key_id, key_values, key, key)
        self.changed.add(key.key_id)
        self.removed = self.removed or key.material is not None
        for statement in (queries.REMOVE_MATERIAL, queries.REMOVE_TAGS, queries.REMOVE_TICKETS, queries.REMOVE_KEY):
            self.run(statement, {"this": key.key_id})
        tombstone = Tombstone(key.key_id, key.account, key.origin, key.created_at, deleted_at)
        self.run(queries.ADD_TOMBSTONE, tombstone_values(tombstone))

    def add_ticket(self, ticket: Ticket) -> None:
        """Insert a ticket."""
        self.quick(queries.ADD_TICKET, ticket_values(ticket))

    def replace_ticket(self, old: Ticket, new: Ticket) -> Ticket:
        """Replace a ticket."""
        return self._swap(queries.REPLACE_TICKET, old.ticket_id, ticket_values, old, new)

    def add_pair(self, pair: Pair) -> None:
        """Insert a pair.

        Raises:
            StoreUnavailable: its private half is under sealing keys that were retired meanwhile.
        """
        if pair.record is not None:
            self._require_openable(CustodyRole.PAIR_SEALING, pair.record)
        self.quick(queries.ADD_PAIR, pair_values(pair))
        if pair.record is not None:
            self.quick(queries.ADD_PAIR_SECRET, {"pair_id": pair.pair_id, **pair_secret_values(pair.record)})

    def replace_pair(self, old: Pair, new: Pair) -> Pair:
        """Replace a pair; a private half that `new` does not hold any more is removed from the database."""
        before, after = old.record, new.record
        if after is not None and before != after:
            self._require_openable(CustodyRole.PAIR_SEALING, after)
        written = self._swap(queries.REPLACE_PAIR, old.pair_id, pair_values, old, new)
        if before is not None and before != after:
            self.removed = True
        if after is None:
            if before is not None:
                self.quick(queries.REMOVE_PAIR_SECRET, {"this": old.pair_id})
        elif before is None:
            self.quick(queries.ADD_PAIR_SECRET, {"pair_id": old.pair_id, **pair_secret_values(after)})
        elif before != after:
            self.quick(queries.REPLACE_PAIR_SECRET, {"this": old.pair_id, **pair_secret_values(after)})
        return written

    def ensure_account(self, name: AccountName) -> Account:
        """Return the account of this name, made if there is none."""
        account = self.account(name)
        if account is not None:
            return account
        return Account(self.run(queries.ADD_ACCOUNT, {"name": name}).scalar_one(), name)

    def add_credential(self, credential: Credential) -> None:
        """Insert a credential."""
        self.run(queries.ADD_CREDENTIAL, credential_values(credential))

    def replace_credential(self, credential: Credential) -> None:
        """Write `switched_on`, `valid_to` and `replaced_by` of the credential of this access id."""
        values = {"this": credential.access_id, **credential_life_values(credential)}
        if not self.run(queries.REPLACE_CREDENTIAL, values).rowcount:
            raise ChangedMeanwhile

    def append(self, *events: Event) -> None:
        """Append to the audit trail, in this order; `chaining` writes it, at the end of the transaction."""
        self.events += events

    def seal(self, seal: AuditSeal) -> None:
        """Keep a seal of the trail, in the place of an older one of the same block."""
        self.run(queries.REMOVE_SEAL, {"of": seal.head.node, "this": seal.head.block})
        self.run(queries.ADD_SEAL, trail.seal_values(seal))

    def cut(self, old: AuditCut | None, new: AuditCut) -> None:
        """Have a node's trail begin after the cut `new`; until now it begins after `old`.

        Raises:
            ChangedMeanwhile: it does not.
        """
        if trail.cut(self, new.head.node) != old:
            raise ChangedMeanwhile
        if old is not None:
            seen = {"of": old.head.node, "seen": old.head.sequence}
            if not self.run(queries.REMOVE_CUT, seen).rowcount:
                raise ChangedMeanwhile
        self.run(queries.ADD_CUT, trail.cut_values(new))

    def remove_archived(self, cut: AuditCut, most: int) -> int:
        """Remove at most `most` events up to a cut that the trail has, with their seals; return how many it were."""
        up_to = {"of": cut.head.node, "last": cut.head.sequence}
        self.run(queries.REMOVE_ARCHIVED_SEALS, up_to)
        return self.run(queries.REMOVE_ARCHIVED, {**up_to, "limit": most}).rowcount

    def has_sealing_key(self, role: CustodyRole, version: int) -> bool:
        """Tell whether what is under this sealing key can be opened when this change is committed."""
        held = self.quick(HOLD_KEY, {"role": role.value, "version": version})
        return bool(held.rows) or not sealing_keys_in(self)

    def _require_openable(self, role: CustodyRole, record: bytes) -> None:
        version = sealing_version_of(record)
        if not self.has_sealing_key(role, version):
            facts = {"role": role.value, "version": version}
            _logger.warning("nothing is written under sealing keys that are retired", extra=facts)
            raise StoreUnavailable

    def _swap(
        self,
        statement: Executable,
        identity: str,
        values: Callable[[Revised], Mapping[str, object]],
        old: Revised,
        new: Revised,
    ) -> Revised:
        written = replaced(new, revision=old.revision + 1)
        before, after = values(old), values(written)
        # Only what differs, so that the indices on all the rest are left alone.
        changes = {column: value for column, value in after.items() if value != before[column]}
        result = self.quick(statement, {**changes, "this": identity, "seen": old.revision})
        if result.rowcount == 0:
            raise ChangedMeanwhile
        return written
