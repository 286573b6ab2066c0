"""The database as a whole: its transactions, its background queries, its end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hsmkms.core.errors import StoreUnusable
from hsmkms.core.metering import UNMETERED
from hsmkms.core.ports import PATIENCE_SECONDS
from hsmkms.store import counting, queries
from hsmkms.store.chaining import Chain
from hsmkms.store.initialising import SqlInitialising, deployment_in, plan_into
from hsmkms.store.key_cache import KeyCache, KnownKey
from hsmkms.store.metering import MeteredBackend
from hsmkms.store.node_trail import NodeTrail
from hsmkms.store.rows import credential_of, key_of, pair_of, ticket_of, tombstone_of
from hsmkms.store.sqlite_backend import SqliteBackend
from hsmkms.store.urls import SqliteFile, database_of
from hsmkms.store.versions import require_current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from sqlalchemy import Executable, Row

    from hsmkms.core.credentials import Credential
    from hsmkms.core.custody import Deployment
    from hsmkms.core.ids import AccountName, Instant, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.metering import Meter, StoreCounts
    from hsmkms.core.ports import SealedCount, Tombstone
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.store.backend import Backend
    from hsmkms.store.chaining import Link
    from hsmkms.store.reading import SqlReading
    from hsmkms.store.urls import Database
    from hsmkms.store.writing import SqlWriting

Result = TypeVar("Result")


async def open_store(
    url: str, *, link: Link, busy_seconds: float, node: str = "", meter: Meter = UNMETERED
) -> SqlStore:
    """Open the database that `store.url` names; `close` it in the end.

    Args:
        url: where it is; see `urls`.
        link: returns the digest of an event after the digest before it (empty: it is the first).
        busy_seconds: how long a transaction waits for others before it gives up.
        node: this node's name, among several that share a database.
        meter: is told of transactions.

    Raises:
        StoreUnusable: there is none, or its schema is not this program's; the message has the cure.
        StoreUnavailable: another process kept it locked, or its server does not answer.
    """
    database = database_of(url)
    await require_current(database, busy_seconds)
    keys = KeyCache()
    backend = _backend(database, Chain(link, node), keys, busy_seconds)
    return SqlStore(backend if meter is UNMETERED else MeteredBackend(backend, meter), keys, node)


def _backend(database: Database, chain: Chain, keys: KeyCache, busy_seconds: float) -> Backend:
    if isinstance(database, SqliteFile):
        return SqliteBackend(database.path, chain, keys, busy_seconds=busy_seconds)
    from hsmkms.store.postgresql_backend import PostgresBackend  # noqa: PLC0415 - needed by few

    return PostgresBackend(database, chain, keys, busy_seconds=busy_seconds)


class SqlStore:
    """`core.ports.Store`, `DeploymentStore` and `Inspection` over a database."""

    def __init__(self, backend: Backend, keys: KeyCache, node: str = "") -> None:
        """Use a database; its `backend` tells `keys` what it changes. See `open_store`."""
        self._backend = backend
        self._keys = keys
        self._node = node

    async def close(self) -> None:
        """End all connections and their threads; nothing may be under way."""
        await self._backend.close()

    # --- transactions ------------------------------------------------------------------------------------

    async def read(self, question: Callable[[SqlReading], Result]) -> Result:
        """Return what `question` finds in a consistent view.

        Raises:
            StoreUnavailable: the database did not answer in time.
        """
        return await self._backend.read(question)

    async def write(self, change: Callable[[SqlWriting], Result]) -> Result:
        """Run `change` in a transaction, commit it durably, and return what it returned.

        Raises:
            StoreUnavailable: others wrote all the time, or the disk is full; nothing happened.
        """
        return await self._backend.write(change)

    async def look_up(self, account: AccountName, key_id: KeyId, *, tagged: bool) -> KnownKey:
        """Return a view of one key, with its tags if `tagged`.

        Raises:
            StoreUnavailable: the database did not answer in time.
        """
        known = self._keys.find(account, key_id, tagged=tagged)
        if known is not None:
            return known

        def look(reading: SqlReading) -> KnownKey:
            tags = reading.tags(account, key_id) if tagged else None
            return KnownKey(account, key_id, reading.key(account, key_id), tags)

        with self._keys.asking(key_id) as question:
            known = await self._backend.glance(look)
            question.remember(known)
        return known

    # --- background passes -------------------------------------------------------------------------------

    async def expired_keys(self, now: Instant, limit: int) -> Sequence[Key]:
        """Return keys that still hold material whose `valid_to` is not after `now`."""
        return [key_of(row) for row in await self._read(queries.EXPIRED_KEYS, {"now": now, "limit": limit})]

    async def due_deletions(self, now: Instant, limit: int) -> Sequence[Key]:
        """Return keys whose deletion is due."""
        return [key_of(row) for row in await self._read(queries.DUE_DELETIONS, {"now": now, "limit": limit})]

    async def overdue_tickets(self, now: Instant, limit: int) -> Sequence[Ticket]:
        """Return ISSUED tickets whose deadline is not after `now`, or whose attempts are used up."""
        return [ticket_of(row) for row in await self._read(queries.OVERDUE_TICKETS, {"now": now, "limit": limit})]

    async def idle_pairs(self, opened_before: Instant, limit: int) -> Sequence[Pair]:
        """Return pairs that still have their private half and no ISSUED ticket, and are closed or opened before."""
        parameters = {"opened_before": opened_before, "limit": limit}
        return [pair_of(row) for row in await self._read(queries.IDLE_PAIRS, parameters)]

    async def sealed_below(self, version: int, after: KeyId | None, limit: int) -> Sequence[Key]:
        """Return at most `limit` keys, by their id above `after`, whose material is sealed under an older version."""
        parameters = {"version": version, "after": after or "", "limit": limit}
        return [key_of(row) for row in await self._read(queries.SEALED_BELOW, parameters)]

    async def erase_deleted(self) -> bool:
        """Make sure that nothing removed so far can be read from the database's files; cheap if nothing was removed.

        Returns:
            Whether it is sure now; False where the database's server overwrites in its own time.

        Raises:
            StoreUnavailable: a reader with an old view was in the way all the time.
        """
        return await self._backend.erase_deleted()

    # --- the deployment ----------------------------------------------------------------------------------

    async def deployment(self) -> Deployment | None:
        """Return the deployment, or None in a database that was never initialised."""
        return await self.read(deployment_in)

    @asynccontextmanager
    async def initialising(
        self, plan: Deployment, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> AsyncIterator[SqlInitialising]:
        """Commit `plan` if the database has no deployment yet, then hold the exclusive lock.

        Raises:
            StoreUnavailable: the lock was not to be had in time.
        """
        if await self.deployment() is None:
            async with self._backend.exclusive(patience_seconds) as writing:
                plan_into(writing, plan)
        async with self._backend.exclusive(patience_seconds) as writing:
            found = deployment_in(writing)
            if found is None:
                raise StoreUnusable("The deployment was removed from the database meanwhile; run 'hsmkms init' again.")
            yield SqlInitialising(writing, found)

    # --- inspection --------------------------------------------------------------------------------------

    async def find_key(self, key_id: KeyId) -> Key | None:
        """Return the key of this id, whatever its account."""
        found = await self._read(queries.KEY_OF_ANY_ACCOUNT, {"key_id": key_id})
        return key_of(found[0]) if found else None

    async def find_tombstone(self, key_id: KeyId) -> Tombstone | None:
        """Return what is left of a deleted key."""
        found = await self._read(queries.TOMBSTONE, {"key_id": key_id})
        return tombstone_of(found[0]) if found else None

    async def credentials(self) -> Sequence[Credential]:
        """Return every credential, by account and creation time."""
        return [credential_of(row) for row in await self._read(queries.CREDENTIALS_LISTED, {})]

    async def nodes(self) -> Sequence[str]:
        """Return the nodes that have a trail, by name."""
        return await self.read(lambda reading: [row.node for row in reading.rows(queries.NODES)])

    def trail(self, node: str | None = None) -> NodeTrail:
        """Return the trail of a node; of this one, if none is named."""
        return NodeTrail(self._backend, self._node if node is None else node)

    async def sealed_counts(self) -> Mapping[int, SealedCount]:
        """Return how much is sealed under each version, of those that there is anything under."""
        return await self.read(counting.sealed_counts)

    async def counts(self, now: Instant) -> StoreCounts:
        """Return how much of what there is at `now`."""
        return await self.read(lambda reading: counting.counts(reading, now))

    async def _read(self, statement: Executable, parameters: Mapping[str, object]) -> Sequence[Row[Any]]:
        return await self.read(lambda reading: reading.rows(statement, parameters))
