"""`store.backend.Backend` over an SQLite file: readers in threads, and one writer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from hsmkms.core.errors import StoreUnavailable
from hsmkms.store import sqlite
from hsmkms.store.failures import TRANSLATED
from hsmkms.store.grouping import GroupCommit
from hsmkms.store.reader_threads import ReaderThreads
from hsmkms.store.reading import SqlReading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from hsmkms.store.chaining import Chain
    from hsmkms.store.key_cache import KeyCache
    from hsmkms.store.writing import SqlWriting

Result = TypeVar("Result")


class SqliteBackend:
    """An SQLite file."""

    def __init__(self, path: Path, chain: Chain, keys: KeyCache, *, busy_seconds: float) -> None:
        """Use the database file `path`; see `store.database.open_store`."""
        self._readers = ReaderThreads(
            sqlite.reading_engine(path, busy_seconds), threads=sqlite.READERS, busy_seconds=busy_seconds
        )
        self._writer = GroupCommit(sqlite.writing_engine(path, busy_seconds), chain, keys, busy_seconds=busy_seconds)
        self._glances = sqlite.glancing_engine(path)
        self._glancing: Connection | None = None

    async def read(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run `question` in a transaction of one consistent view."""
        return await self._readers.read(question)

    async def glance(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run a `question` that reads a row or two by their identity.

        It runs in the caller's thread, as changes do in `grouping`: there is nothing to wait for but a page of the
        file, and a hop to another thread takes longer than that.
        """
        try:
            with TRANSLATED:
                if self._glancing is None:
                    self._glancing = self._glances.connect().execution_options(**{sqlite.WITHOUT_BEGIN: True})
                return question(SqlReading(self._glancing))
        except StoreUnavailable:  # a lock that another process has for a moment: not to be waited for here
            return await self.read(question)

    async def write(self, change: Callable[[SqlWriting], Result]) -> Result:
        """Run `change` in a transaction, with others, and commit it durably."""
        return await self._writer.write(change)

    async def erase_deleted(self) -> bool:
        """Cut the WAL, if anything was removed since it was cut last."""
        await self._writer.erase_deleted()
        return True

    @asynccontextmanager
    async def exclusive(self, patience_seconds: float) -> AsyncIterator[SqlWriting]:
        """Hold the write lock, with which every writing transaction begins: in WAL mode it is the exclusive one."""
        async with self._writer.exclusive(patience_seconds) as writing:
            yield writing

    async def close(self) -> None:
        """End all connections and threads; nothing may be under way."""
        await self._readers.close()
        await self._writer.close()
        with TRANSLATED:
            if self._glancing is not None:
                self._glancing.close()
            self._glances.dispose()
