"""The database as a whole: its transactions, its background queries, its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from hsmkms.core.errors import StoreUnavailable, StoreUnusable
from hsmkms.store import queries, sqlite, trail
from hsmkms.store.failures import TRANSLATED
from hsmkms.store.finishing import finished
from hsmkms.store.initialising import SqlInitialising, deployment_in, plan_into
from hsmkms.store.reading import SqlReading
from hsmkms.store.rows import credential_of, key_of, pair_of, ticket_of, tombstone_of
from hsmkms.store.urls import file_of
from hsmkms.store.versions import require_current
from hsmkms.store.writing import SqlWriting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Executable, Row
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from hsmkms.core.credentials import Credential
    from hsmkms.core.custody import Deployment
    from hsmkms.core.events import AuditSeal, ChainedEvent
    from hsmkms.core.ids import Instant, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Tombstone
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.store.writing import Chain

_RETRY_SECONDS: Final = 0.02
_INITIALISING_SECONDS: Final = 120.0


async def open_store(url: str, *, chain: Chain, busy_seconds: float) -> SqlStore:
    """Open the database that `store.url` names; `close` it in the end.

    Args:
        url: `sqlite:///FILE`.
        chain: returns the digest of an event after the digest before it (empty: it is the first).
        busy_seconds: how long a transaction waits for others before it gives up.

    Raises:
        StoreUnusable: there is none, or its schema is not this program's; the message has the cure.
        StoreUnavailable: another process kept it locked.
    """
    path = file_of(url)
    await require_current(path, busy_seconds)
    return SqlStore(path, chain=chain, busy_seconds=busy_seconds)


class SqlStore:
    """`core.ports.Store`, `DeploymentStore` and `Inspection` over an SQLite file."""

    def __init__(self, path: Path, *, chain: Chain, busy_seconds: float) -> None:
        """Use the database file `path`; see `open_store`."""
        self._chain = chain
        self._busy_seconds = busy_seconds
        self._readers = sqlite.reading_engine(path, busy_seconds)
        self._writer = sqlite.writing_engine(path, busy_seconds)
        self._turn = asyncio.Lock()
        self._removed = True  # whatever the process before us removed may still be in the files

    async def close(self) -> None:
        """End all connections and their threads; nothing may be under way."""
        with TRANSLATED:
            await finished(self._readers.dispose())
            await finished(self._writer.dispose())

    # --- transactions ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlReading]:
        """Open a consistent view."""
        async with self._transaction(self._readers) as connection:
            yield SqlReading(connection)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[SqlWriting]:
        """Open a transaction; leaving the block without an exception commits it durably.

        Raises:
            StoreUnavailable: others wrote all the time, or the disk is full; nothing happened.
        """
        async with self._exclusive() as connection:
            writing = SqlWriting(connection, self._chain)
            try:
                yield writing
            finally:
                self._removed = self._removed or writing.removed
            await _commit(writing)

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[AsyncConnection]:
        async with self._my_turn(), self._transaction(self._writer) as connection:
            yield connection

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        # SQLite has one writer at a time. Waiting here is fair and costs nothing; its own lock is polled.
        try:
            async with asyncio.timeout(self._busy_seconds):
                await self._turn.acquire()
        except TimeoutError as error:
            raise StoreUnavailable from error
        try:
            yield
        finally:
            self._turn.release()

    @staticmethod
    @asynccontextmanager
    async def _transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        connection = engine.connect()
        try:
            with TRANSLATED:
                await finished(_begin(connection))
            yield connection
        finally:
            with TRANSLATED:
                await finished(_end(connection))

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

    async def erase_deleted(self) -> None:
        """Make sure that nothing removed so far can be read from the database's files; cheap if nothing was removed.

        Raises:
            StoreUnavailable: a reader with an old view was in the way all the time.
        """
        deadline = time.monotonic() + self._busy_seconds
        while self._removed:
            async with self._my_turn():
                self._removed = not await finished(self._truncate_wal())
            if self._removed:
                if time.monotonic() > deadline:
                    raise StoreUnavailable
                await asyncio.sleep(_RETRY_SECONDS)

    async def _truncate_wal(self) -> bool:
        with TRANSLATED:
            async with self._writer.connect() as connection:
                return await sqlite.truncate_wal(connection, busy_seconds=self._busy_seconds)

    # --- the deployment ----------------------------------------------------------------------------------

    async def deployment(self) -> Deployment | None:
        """Return the deployment, or None in a database that was never initialised."""
        async with self.reading() as reading:
            return await deployment_in(reading)

    @asynccontextmanager
    async def initialising(self, plan: Deployment) -> AsyncIterator[SqlInitialising]:
        """Commit `plan` if the database has no deployment yet, then hold the exclusive lock.

        Raises:
            StoreUnavailable: the lock was not to be had in time.
        """
        async with AsyncExitStack() as stack:
            writing = await self._patiently(stack)
            await plan_into(writing, plan)
            await _commit(writing)
        async with AsyncExitStack() as stack:
            writing = await self._patiently(stack)
            found = await deployment_in(writing)
            if found is None:
                raise StoreUnusable("The deployment was removed from the database meanwhile; run 'hsmkms init' again.")
            yield SqlInitialising(writing, found)
            await _commit(writing)

    async def _patiently(self, stack: AsyncExitStack) -> SqlWriting:
        # In WAL mode the write lock, with which every writing transaction begins, is SQLite's exclusive lock.
        deadline = time.monotonic() + _INITIALISING_SECONDS
        while True:
            try:
                return SqlWriting(await stack.enter_async_context(self._exclusive()), self._chain)
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

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

    async def events(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        """Return at most `limit` events of a sequence above `after`, in the order of the trail."""
        async with self.reading() as reading:
            return await trail.events(reading, after, limit)

    async def last_seal(self) -> AuditSeal | None:
        """Return the newest seal of the trail."""
        async with self.reading() as reading:
            return await trail.last_seal(reading)

    async def seals(self, after: int, limit: int) -> Sequence[AuditSeal]:
        """Return at most `limit` seals of events above the sequence `after`, in the order of the trail."""
        async with self.reading() as reading:
            return await trail.seals(reading, after, limit)

    async def _read(self, statement: Executable, parameters: Mapping[str, object]) -> Sequence[Row[Any]]:
        async with self.reading() as reading:
            return await reading.rows(statement, parameters)


async def _begin(connection: AsyncConnection) -> None:
    await connection.start()
    await connection.begin()


async def _end(connection: AsyncConnection) -> None:
    if connection.sync_connection is not None:  # or it never started
        await connection.close()  # rolls back what was not committed


async def _commit(writing: SqlWriting) -> None:
    if writing.failed:
        raise StoreUnavailable
    with TRANSLATED:
        await finished(writing.connection.commit())
