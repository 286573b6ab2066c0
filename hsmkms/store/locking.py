"""Changes in a database that lets several run at once: what a change has read, nobody else changes before it is over.

A row is locked first and read afterwards, by a statement of its own. In one statement, PostgreSQL would wait for the
lock, look the row up again, and join it to rows of before the wait (postgresql.org/docs/current/transaction-iso.html,
13.2.1): a key of now, with the material of then.

Laws:

- a key is locked before its tickets, and a ticket before its pair, so that two changes do not wait for each other;
  where they do after all, PostgreSQL undoes one, and it is run again;
- locks are FOR NO KEY UPDATE: rows that refer to the locked one may be added meanwhile;
- compare-and-swap decides all the same: a row that was read before it was locked is refused by its revision.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from hsmkms.core.errors import InternalFault
from hsmkms.store import postgresql
from hsmkms.store.schema import ACCOUNTS, CREDENTIALS, KEYS, PAIRS, TICKETS
from hsmkms.store.writing import SqlWriting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, Executable, Select

    from hsmkms.core.credentials import Credential
    from hsmkms.core.events import AuditCut
    from hsmkms.core.ids import AccessId, Account, AccountName, Instant, KeyId, PairId
    from hsmkms.core.keys import Key
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.core.wrapping import WrappingAlgorithm


def _locked(statement: Select[Any]) -> Select[Any]:
    return statement.with_for_update(key_share=True)


LOCK_KEY: Final = _locked(
    select(KEYS.c.key_id).where(KEYS.c.account == bindparam("account"), KEYS.c.key_id == bindparam("key_id"))
)
LOCK_KEY_OF_TICKET: Final = _locked(
    select(KEYS.c.account, KEYS.c.key_id).where(
        KEYS.c.key_id
        == select(TICKETS.c.key_id).where(TICKETS.c.token_digest == bindparam("token_digest")).scalar_subquery()
    )
)
LOCK_TICKET: Final = _locked(select(TICKETS.c.ticket_id).where(TICKETS.c.token_digest == bindparam("token_digest")))
LOCK_PAIR: Final = _locked(select(PAIRS.c.pair_id).where(PAIRS.c.pair_id == bindparam("pair_id")))
LOCK_ACCOUNT: Final = _locked(select(ACCOUNTS.c.number).where(ACCOUNTS.c.name == bindparam("name")))
LOCK_CREDENTIAL: Final = _locked(
    select(CREDENTIALS.c.access_id).where(CREDENTIALS.c.access_id == bindparam("access_id"))
)
ENSURE_ACCOUNT: Final = insert(ACCOUNTS).on_conflict_do_nothing(index_elements=[ACCOUNTS.c.name])


class LockingWriting(SqlWriting):
    """`SqlWriting` that locks what it reads."""

    def __init__(self, connection: Connection) -> None:
        """Write through `connection`, which is in a transaction of the isolation level READ COMMITTED."""
        super().__init__(connection)
        self._held: set[object] = set()

    def key(self, account: AccountName, key_id: KeyId) -> Key | None:
        """Return the account's key of this id, locked; nobody waits for who asks for a key of another account."""
        self._lock(LOCK_KEY, {"account": account, "key_id": key_id}, (account, key_id))
        return super().key(account, key_id)

    def ticket(self, token_digest: bytes) -> Ticket | None:
        """Return the ticket of the import token with this SHA-256, locked, and its key before it."""
        asked = {"token_digest": token_digest}
        if not self._held:
            self._held.update(map(tuple, self.run(LOCK_KEY_OF_TICKET, asked)))
        self._lock(LOCK_TICKET, asked, token_digest)
        return super().ticket(token_digest)

    def pair(self, pair_id: PairId) -> Pair | None:
        """Return a pair that tickets have taken, locked."""
        self._lock(LOCK_PAIR, {"pair_id": pair_id}, pair_id)
        return super().pair(pair_id)

    def open_pair(self, account: AccountName, algorithm: WrappingAlgorithm, since: Instant) -> Pair | None:
        """Return an unclosed pair of the account and algorithm, opened after `since`, locked."""
        while (seen := super().open_pair(account, algorithm, since)) is not None:
            pair = self.pair(seen.pair_id)
            if pair is not None and not pair.closed:
                return pair
        return None

    def count_keys(self, account: AccountName, now: Instant) -> int:
        """Return how many keys the account has; nobody else counts them before this change is over."""
        self._lock(LOCK_ACCOUNT, {"name": account}, account)
        return super().count_keys(account, now)

    def credential(self, access_id: AccessId) -> Credential | None:
        """Return the credential of this access id, locked: its row has no revision."""
        self._lock(LOCK_CREDENTIAL, {"access_id": access_id}, access_id)
        return super().credential(access_id)

    def ensure_account(self, name: AccountName) -> Account:
        """Return the account of this name, made if there is none, whoever makes it at the same time."""
        account = self.account(name)
        if account is None:
            self.run(ENSURE_ACCOUNT, {"name": name})
            account = self.account(name)
        if account is None:
            raise InternalFault
        return account

    def cut(self, old: AuditCut | None, new: AuditCut) -> None:
        """Have a node's trail begin after the cut `new`; nobody else cuts it before this change is over."""
        with self._judged():
            postgresql.lock(self.connection, postgresql.lock_number("audit cut", new.head.node))
        super().cut(old, new)

    def add_key(self, key: Key, tags: Mapping[str, str] | None = None) -> None:
        """Insert a key with its tags; nothing else is undone if its alias is taken."""
        with self._undone_alone():
            super().add_key(key, tags)

    def replace_key(self, old: Key, new: Key) -> Key:
        """Replace a key; nothing else is undone if its alias is taken."""
        if old.alias == new.alias:
            return super().replace_key(old, new)
        with self._undone_alone():
            return super().replace_key(old, new)

    @contextmanager
    def _undone_alone(self) -> Iterator[None]:
        """Undo only what is done in the block if that fails: PostgreSQL would take no other statement after it."""
        with self._judged():
            savepoint = self.connection.begin_nested()
        try:
            yield
        except BaseException:
            if not self.failed:
                with self._judged():
                    savepoint.rollback()
            raise
        with self._judged():
            savepoint.commit()

    def _lock(self, statement: Executable, asked: Mapping[str, object], identity: object) -> None:
        if identity not in self._held:
            self.run(statement, asked)
            self._held.add(identity)
