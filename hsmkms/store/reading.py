"""`core.ports.Reading` over one connection."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hsmkms.core.errors import AliasTaken, StoreUnavailable
from hsmkms.core.ports import KeyPage
from hsmkms.store import prepared, queries
from hsmkms.store.failures import TRANSLATED
from hsmkms.store.rows import account_of, credential_of, key_of, pair_of, ticket_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Executable, Row

    from hsmkms.core.credentials import Credential
    from hsmkms.core.ids import AccessId, Account, AccountName, Instant, KeyId, PairId
    from hsmkms.core.keys import Key
    from hsmkms.core.ports import KeyFilter
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.store.prepared import Answer, Parameters


class SqlReading:
    """One consistent view, as long as its connection's transaction lasts.

    Attributes:
        connection: the connection read through.
        failed: whether a statement failed in a way after which the database may have ended the transaction by itself;
            nothing more is sent then, because it would be committed at once and alone.
    """

    def __init__(self, connection: Connection) -> None:
        """Read through `connection`, which is in a transaction."""
        self.connection = connection
        self.failed = False
        self._driver = prepared.driver_of(connection)

    def key(self, account: AccountName, key_id: KeyId) -> Key | None:
        """Return the account's key of this id."""
        row = self._first(queries.KEY, {"account": account, "key_id": key_id})
        return None if row is None else key_of(row)

    def keys(self, account: AccountName, key_ids: Sequence[KeyId]) -> Sequence[Key]:
        """Return those of `key_ids` that are keys of the account, in the order asked for."""
        rows = self.rows(queries.KEYS_NAMED, {"account": account, "key_ids": list(key_ids)})
        found = {row.key_id: key_of(row) for row in rows}
        return [found[each] for each in key_ids if each in found]

    def tags(self, account: AccountName, key_id: KeyId) -> Mapping[str, str]:
        """Return the tags of the account's key; none if there is no such key."""
        rows = self.rows(queries.TAGS, {"account": account, "key_id": key_id})
        return {row.name: row.value for row in rows}

    def list_keys(self, wanted: KeyFilter, now: Instant, *, offset: int, limit: int) -> KeyPage:
        """Return keys by creation time (then id), judged by their state at `now`."""
        rows = self.rows(queries.keys_listed(wanted, now, offset=offset, limit=limit))
        if len(rows) < limit and (rows or offset == 0):  # the last page: what went before it is known
            total = offset + len(rows)
        else:
            total = self.run(queries.keys_counted(wanted, now)).scalar_one()
        return KeyPage(total, [key_of(row) for row in rows])

    def count_keys(self, account: AccountName, now: Instant) -> int:
        """Return how many keys the account has, without those whose deletion is due at `now`."""
        count: int = self.run(queries.COUNT_KEYS, {"account": account, "now": now}).scalar_one()
        return count

    def ticket(self, token_digest: bytes) -> Ticket | None:
        """Return the ticket of the import token with this SHA-256."""
        row = self._first(queries.TICKET, {"token_digest": token_digest})
        return None if row is None else ticket_of(row)

    def live_tickets(self, key_id: KeyId) -> Sequence[Ticket]:
        """Return the key's ISSUED tickets, oldest first."""
        return [ticket_of(row) for row in self.quick(queries.LIVE_TICKETS, {"key_id": key_id}).rows]

    def uses_leased(self, key_id: KeyId) -> int | None:
        """Return how many uses of a key were ever counted; None for one that there is not."""
        leased: int | None = self.run(queries.USES_LEASED, {"key_id": key_id}).scalar_one_or_none()
        return leased

    def pair(self, pair_id: PairId) -> Pair | None:
        """Return a pair that tickets have taken."""
        row = self._first(queries.PAIR, {"pair_id": pair_id})
        return None if row is None else pair_of(row)

    def open_pair(self, account: AccountName, algorithm: WrappingAlgorithm, since: Instant) -> Pair | None:
        """Return an unclosed pair of the account and algorithm, opened after `since`: the oldest, so that it fills."""
        parameters = {"account": account, "algorithm": algorithm.value, "since": since}
        row = self._first(queries.OPEN_PAIR_OF, parameters)
        return None if row is None else pair_of(row)

    def account(self, name: AccountName) -> Account | None:
        """Return the account of this name."""
        row = self._first(queries.ACCOUNT, {"name": name})
        return None if row is None else account_of(row)

    def credential(self, access_id: AccessId) -> Credential | None:
        """Return the credential of this access id."""
        row = self._first(queries.CREDENTIAL, {"access_id": access_id})
        return None if row is None else credential_of(row)

    def credential_of_token(self, token_digest: bytes) -> Credential | None:
        """Return the credential of the auth token with this SHA-256."""
        row = self._first(queries.CREDENTIAL_OF_TOKEN, {"token_digest": token_digest})
        return None if row is None else credential_of(row)

    def rows(self, statement: Executable, parameters: Mapping[str, object] | None = None) -> Sequence[Row[Any]]:
        """Return all rows of a statement.

        Raises:
            StoreUnavailable, InternalFault: as `run`, or a row cannot be read.
        """
        with self._judged():
            return self.connection.execute(statement, parameters).all()

    def run(
        self, statement: Executable, parameters: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement; the one place where an error of the database becomes one of ours.

        Raises:
            AliasTaken: it would give two keys of an account one alias; the statement alone is undone.
            StoreUnavailable: the database failed, now or before in this transaction.
            InternalFault: the statement is wrong.
        """
        with self._judged():
            return self.connection.execute(statement, parameters)

    def quick(self, statement: Executable, parameters: Parameters) -> Answer:
        """Run a statement that is built once, as `run` does, on the shortest way there is.

        Raises:
            AliasTaken, StoreUnavailable, InternalFault: as `run`.
        """
        if self.failed:
            raise StoreUnavailable
        try:
            return prepared.run(self.connection, self._driver, statement, parameters)
        except BaseException:
            with self._judged():
                raise

    @contextmanager
    def _judged(self) -> Iterator[None]:
        if self.failed:
            raise StoreUnavailable
        try:
            with TRANSLATED:
                yield
        except AliasTaken:
            raise
        except BaseException:
            self.failed = True
            raise

    def _first(self, statement: Executable, parameters: Mapping[str, object]) -> Any:  # noqa: ANN401 - a row
        return self.quick(statement, parameters).first()
