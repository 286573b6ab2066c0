"""`store.backend.Backend` over a PostgreSQL database: each transaction in a thread of its own.

Changes are not grouped, as they are on SQLite: a group would hold the locks of all its changes until the last of them
is done. The server writes the commits of several connections to disk together by itself, but not of those that append
to one node's chain, which each wait for the one before.

Where a connection is lost while a transaction is committed, the trail tells what became of it: the digest of what was
appended to a chain is nowhere else. What was committed is answered as done, and what was not is run again, so that no
event is in the trail twice. What appends nothing is answered as unavailable, committed or not.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hsmkms.core.errors import StoreUnavailable
from hsmkms.store import postgresql
from hsmkms.store.failures import TRANSLATED, is_again, is_lost_connection
from hsmkms.store.finishing import finished
from hsmkms.store.locking import LockingWriting
from hsmkms.store.reader_threads import ReaderThreads
from hsmkms.store.reading import SqlReading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection

    from hsmkms.core.ids import KeyId
    from hsmkms.store.chaining import Appended, Chain
    from hsmkms.store.key_cache import KeyCache
    from hsmkms.store.urls import PostgresDatabase
    from hsmkms.store.writing import SqlWriting

Result = TypeVar("Result")

_LOOK_SECONDS: Final = 0.1


@dataclass(slots=True)
class _Attempt:
    """How far a change has come."""

    result: Any = None
    appended: Appended | None = None
    committing: bool = False


class PostgresBackend:
    """A PostgreSQL database."""

    def __init__(self, database: PostgresDatabase, chain: Chain, keys: KeyCache, *, busy_seconds: float) -> None:
        """Use a database; see `store.database.open_store`."""
        self._readers = ReaderThreads(
            postgresql.reading_engine(database, busy_seconds), threads=postgresql.READERS, busy_seconds=busy_seconds
        )
        self._glances = ReaderThreads(
            postgresql.glancing_engine(database, busy_seconds), threads=postgresql.READERS, busy_seconds=busy_seconds
        )
        self._writers = postgresql.writing_engine(database, busy_seconds)
        self._threads = ThreadPoolExecutor(postgresql.WRITERS, "hsmkms-writer")
        self._free = asyncio.Semaphore(postgresql.WRITERS)
        self._chain = chain
        self._end_of_chain = postgresql.lock_number("audit chain", chain.node)
        self._keys = keys
        self._busy_seconds = busy_seconds

    async def read(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run `question` in a transaction of one consistent view."""
        return await self._readers.read(question)

    async def glance(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run a `question` that reads a row or two by their identity, without a transaction around it."""
        return await self._glances.read(question)

    async def write(self, change: Callable[[SqlWriting], Result]) -> Result:
        """Run `change` in a transaction and commit it durably.

        Raises:
            StoreUnavailable: the server was not there, or others had what it needs for too long; it may have been
                committed if the server was lost at that very moment, and did not come back in time to be asked.
        """
        deadline = time.monotonic() + self._busy_seconds
        try:
            async with asyncio.timeout(self._busy_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise StoreUnavailable from error
        changed: set[KeyId] = set()
        try:
            context = contextvars.copy_context()  # the log names the request
            work = functools.partial(context.run, self._write, change, changed, deadline)
            return await finished(asyncio.get_running_loop().run_in_executor(self._threads, work))
        finally:
            self._free.release()
            with self._keys.changing(changed):  # before anybody is told, which is soon enough
                pass

    def _write(self, change: Callable[[SqlWriting], Result], changed: set[KeyId], deadline: float) -> Result:
        lost = False
        while True:
            attempt = _Attempt()
            try:
                return self._attempt(attempt, change, changed)
            except StoreUnavailable as fault:
                is_lost = is_lost_connection(fault)
                if attempt.committing:
                    if not is_lost or attempt.appended is None:
                        raise
                    if self._was_committed(attempt.appended, deadline):
                        result: Result = attempt.result
                        return result
                elif is_again(fault) and time.monotonic() < deadline:
                    continue
                # Nothing of it was committed, so it may be run again, but not for ever.
                if not is_lost or lost:
                    raise
                lost = True

    def _attempt(self, attempt: _Attempt, change: Callable[[SqlWriting], Result], changed: set[KeyId]) -> Result:
        with TRANSLATED:
            connection = self._writers.connect()
        try:
            with TRANSLATED:
                connection.begin()
            writing = LockingWriting(connection)
            attempt.result = result = change(writing)
            attempt.appended = self._append(writing)
            changed |= writing.changed
            attempt.committing = True
            with TRANSLATED:
                connection.commit()
            return result
        finally:
            with TRANSLATED:
                connection.close()

    def _was_committed(self, appended: Appended, deadline: float) -> bool:
        """Tell what became of a transaction whose connection was lost while it was committed.

        Raises:
            StoreUnavailable: the server did not come back in time to say so.
        """
        while True:
            try:
                with TRANSLATED, self._writers.connect() as connection:
                    postgresql.lock(connection, self._end_of_chain)  # the server may still be at it, and have the lock
                    return self._chain.holds(SqlReading(connection), appended)
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_SECONDS)

    def _append(self, writing: SqlWriting) -> Appended | None:
        """Write the events of a transaction, with nobody else at the end of this node's chain until it is over."""
        if writing.failed:
            raise StoreUnavailable  # as if the change had not caught it
        if not writing.events:
            return None
        with TRANSLATED:
            postgresql.lock(writing.connection, self._end_of_chain)
        return self._chain.extend(writing, writing.events)

    async def erase_deleted(self) -> bool:
        """Do nothing, and say so: what was removed is overwritten by the server when it gets to it.

        A deleted row stays in its page until VACUUM, which autovacuum runs, and in the write-ahead log and its archive
        until these are recycled; no client can hasten the latter. What is there is sealed (SECURITY.md).
        """
        return False

    @asynccontextmanager
    async def exclusive(self, patience_seconds: float) -> AsyncIterator[SqlWriting]:
        """Hold the lock that initialises a deployment; other changes go on meanwhile."""
        connection = await finished(asyncio.to_thread(self._begin_exclusive, patience_seconds))
        try:
            writing = LockingWriting(connection)
            yield writing
            self._append(writing)
            with TRANSLATED:
                await finished(asyncio.to_thread(connection.commit))
        finally:
            with TRANSLATED:
                await finished(asyncio.to_thread(connection.close))

    def _begin_exclusive(self, patience_seconds: float) -> Connection:
        with TRANSLATED:
            connection = self._writers.connect()
            try:
                postgresql.be_patient(connection, patience_seconds)
                postgresql.lock(connection, postgresql.INITIALISING)
            except BaseException:
                connection.close()
                raise
            return connection

    async def close(self) -> None:
        """End all connections and threads; nothing may be under way."""
        await self._readers.close()
        await self._glances.close()
        await asyncio.to_thread(self._threads.shutdown)
        with TRANSLATED:
            self._writers.dispose()
