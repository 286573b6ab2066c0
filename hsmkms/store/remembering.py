"""Changes of a writer that remembers the rows it has just read or written, and does not ask the database for them.

An import reads the same key, ticket and pair in each of its two transactions, and get-parameters has mostly written two
of them a moment before: six statements of an import, and as many conversions of rows, that tell nothing new.

Laws:

- a remembered row is the row that the database would return at that moment, in that transaction. It is so because all
  is forgotten as soon as anything else may have been written: by another connection, which SQLite's data version tells
  (sqlite.org/pragma.html#pragma_data_version), asked for once in each transaction, after it has the write lock; or
  through this connection by other than the methods here, which the driver's count of written rows tells;
- whatever is undone - a savepoint, a transaction, a commit that failed, a connection - takes all with it, also what was
  remembered before;
- what a row was replaced with is remembered if the row replaced was the remembered one: only then is it known whole;
- that there is no such row is not remembered, nor are tickets and pairs that are over: their next reader is rare, and
  may be the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.tickets import TicketState
from hsmkms.store.sealing_keys import can_be_opened, sealing_keys_in
from hsmkms.store.writing import SqlWriting

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from hsmkms.core.custody import CustodyRole
    from hsmkms.core.events import AuditSeal
    from hsmkms.core.ids import AccountName, Instant, KeyId, PairId
    from hsmkms.core.keys import Key
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.store.sealing_keys import SealingKeys

MOST_REMEMBERED: Final = 2048
"""Of each kind: a pair takes some two kilobytes, the others less than one."""

Identity = TypeVar("Identity")
Row = TypeVar("Row")


class RememberedRows:
    """The rows that a writer knows.

    Attributes:
        keys: by id.
        tickets: ISSUED ones, by the SHA-256 of their import token.
        pairs: those that have their private half, by id.
        sealing_keys: all that there are; None: not known.
    """

    def __init__(self, *, most: int = MOST_REMEMBERED) -> None:
        """Remember `most` rows of each kind."""
        self.keys: dict[KeyId, Key] = {}
        self.tickets: dict[bytes, Ticket] = {}
        self.pairs: dict[PairId, Pair] = {}
        self.sealing_keys: SealingKeys | None = None
        self._most = most
        self._driver: sqlite3.Connection | None = None
        self._version: int | None = None
        self._written = 0

    def begin(self, driver: sqlite3.Connection) -> None:
        """Forget what another connection may have changed; this one has just begun to write, or has no transaction."""
        (version,) = driver.execute("PRAGMA data_version").fetchone()
        if driver is not self._driver or version != self._version:
            self.forget()
            self._driver, self._version = driver, version
            self._written = driver.total_changes

    def let_go(self) -> None:
        """Forget all, and the connection."""
        self.forget()
        self._driver = None

    def forget(self) -> None:
        """Forget all."""
        self.keys.clear()
        self.tickets.clear()
        self.pairs.clear()
        self.sealing_keys = None

    def require_current(self) -> None:
        """Forget all if something was written that `told` does not know of."""
        if self._driver is not None and self._driver.total_changes != self._written:
            self.forget()
            self._written = self._driver.total_changes

    def told(self) -> None:
        """Know of all that has been written so far."""
        if self._driver is not None:
            self._written = self._driver.total_changes

    def keep(self, rows: dict[Identity, Row], identity: Identity, row: Row) -> None:
        """Remember a row as it is now, in the place of the one that was kept for the longest."""
        rows.pop(identity, None)
        while len(rows) >= self._most:
            del rows[next(iter(rows))]
        rows[identity] = row


class RememberingWriting(SqlWriting):
    """`SqlWriting` of a connection that is the only one of its process to write."""

    def __init__(self, connection: Connection, known: RememberedRows) -> None:
        """Write through `connection`, which is in a transaction that `known` has heard the beginning of."""
        super().__init__(connection)
        self._known = known

    # --- reading -------------------------------------------------------------------------------------------

    def key(self, account: AccountName, key_id: KeyId) -> Key | None:
        """Return the account's key of this id."""
        self._known.require_current()
        known = self._known.keys.get(key_id)
        if known is not None and known.account == account and not self.failed:
            return known
        found = super().key(account, key_id)
        if found is not None:
            self._known.keep(self._known.keys, key_id, found)
        return found

    def ticket(self, token_digest: bytes) -> Ticket | None:
        """Return the ticket of the import token with this SHA-256."""
        self._known.require_current()
        known = self._known.tickets.get(token_digest)
        if known is not None and not self.failed:
            return known
        found = super().ticket(token_digest)
        if found is not None:
            self._keep_ticket(found)
        return found

    def pair(self, pair_id: PairId) -> Pair | None:
        """Return a pair that tickets have taken."""
        self._known.require_current()
        known = self._known.pairs.get(pair_id)
        if known is not None and not self.failed:
            return known
        found = super().pair(pair_id)
        if found is not None:
            self._keep_pair(found)
        return found

    def open_pair(self, account: AccountName, algorithm: WrappingAlgorithm, since: Instant) -> Pair | None:
        """Return an unclosed pair of the account and algorithm, opened after `since`: the oldest."""
        self._known.require_current()
        found = super().open_pair(account, algorithm, since)
        if found is not None:
            self._keep_pair(found)
        return found

    # --- writing -------------------------------------------------------------------------------------------

    def add_key(self, key: Key, tags: Mapping[str, str] | None = None) -> None:
        """Insert a key with its tags."""
        self._known.require_current()
        super().add_key(key, tags)
        self._known.told()

    def replace_key(self, old: Key, new: Key) -> Key:
        """Replace a key; material that `new` does not hold any more is removed from the database."""
        self._known.require_current()
        written = super().replace_key(old, new)
        self._replaced(self._known.keys, old.key_id, old, written)
        return written

    def lease_uses(self, key_id: KeyId, uses: int, most: int) -> bool:
        """Count `uses` more uses of a key, in a column that no `Key` shows."""
        self._known.require_current()
        leased = super().lease_uses(key_id, uses, most)
        self._known.told()
        return leased

    def add_ticket(self, ticket: Ticket) -> None:
        """Insert a ticket."""
        self._known.require_current()
        super().add_ticket(ticket)
        self._known.told()
        self._keep_ticket(ticket)

    def replace_ticket(self, old: Ticket, new: Ticket) -> Ticket:
        """Replace a ticket."""
        self._known.require_current()
        written = super().replace_ticket(old, new)
        ended = written.state is not TicketState.ISSUED
        self._replaced(self._known.tickets, old.token_digest, old, None if ended else written)
        return written

    def add_pair(self, pair: Pair) -> None:
        """Insert a pair."""
        self._known.require_current()
        super().add_pair(pair)
        self._known.told()
        self._keep_pair(pair)

    def replace_pair(self, old: Pair, new: Pair) -> Pair:
        """Replace a pair; a private half that `new` does not hold any more is removed from the database."""
        self._known.require_current()
        written = super().replace_pair(old, new)
        self._replaced(self._known.pairs, old.pair_id, old, None if written.record is None else written)
        return written

    def seal(self, seal: AuditSeal) -> None:
        """Keep a seal of the trail, as happens every second."""
        self._known.require_current()
        super().seal(seal)
        self._known.told()

    def has_sealing_key(self, role: CustodyRole, version: int) -> bool:
        """Tell whether what is under this sealing key can be opened, after `require_current`."""
        if self._known.sealing_keys is None:
            self._known.sealing_keys = sealing_keys_in(self)
        return can_be_opened(role, version, self._known.sealing_keys)

    def _replaced(self, rows: dict[Identity, Row], identity: Identity, old: Row, written: Row | None) -> None:
        self._known.told()
        if rows.pop(identity, None) is old and written is not None:
            self._known.keep(rows, identity, written)

    def _keep_ticket(self, ticket: Ticket) -> None:
        if ticket.state is TicketState.ISSUED:
            self._known.keep(self._known.tickets, ticket.token_digest, ticket)

    def _keep_pair(self, pair: Pair) -> None:
        if pair.record is not None:
            self._known.keep(self._known.pairs, pair.pair_id, pair)
