"""Group commit on SQLite: the changes that wait while one transaction is committed share the next.

SQLite has one writer at a time, and a durable commit waits for the disk. So there is one connection that writes. What
waits for the disk or for another process - taking the lock, committing, cutting the WAL - runs in a thread. The changes
themselves run in the event loop's thread: their statements find their pages in memory and take some ten microseconds
each, while handing each of them to another thread, and the interpreter's lock back and forth, takes several times as
much (docs/benchmarks.md).

Laws:

- a change is answered after the commit that made it durable, and by nothing else;
- a change that fails undoes itself and nothing else. One that has written nothing has nothing to undo, and the others
  have no savepoints, which few would ever use: where one fails after it has written, the whole transaction is undone,
  and all that were in it are run again, in their order, each in a savepoint of its own;
- a group begins when the event loop has gone round `_ROUNDS` times: what has arrived by then joins it, where otherwise
  it would wait for the next commit, and a busy loop would pay for nearly as many commits as changes;
- a group holds up the event loop for `_BUSY_SECONDS` and one change at most;
- a caller that is cancelled before its change has begun takes it back; later, it hears of the cancellation when the
  change's transaction has ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.errors import HsmkmsError, InternalFault, StoreUnavailable
from hsmkms.store import sqlite
from hsmkms.store.changes import Change, WaitingChanges
from hsmkms.store.failures import TRANSLATED, meaning
from hsmkms.store.finishing import begun_in, finished
from hsmkms.store.reading import SqlReading
from hsmkms.store.remembering import RememberedRows, RememberingWriting
from hsmkms.store.writing import SqlWriting

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy import Connection, Engine

    from hsmkms.core.events import Event
    from hsmkms.store.chaining import Chain
    from hsmkms.store.key_cache import KeyCache

Result = TypeVar("Result")

_MOST_TOGETHER: Final = 64
_ROUNDS: Final = 3
"""Imports on 32 connections are committed in groups of 6 changes so, and not of 4; an idle loop is round at once."""
_BUSY_SECONDS: Final = 0.002
_RETRY_SECONDS: Final = 0.02


class GroupCommit:
    """The writer of an SQLite database."""

    def __init__(self, engine: Engine, chain: Chain, keys: KeyCache, *, busy_seconds: float) -> None:
        """Be the only writer of this process.

        Args:
            engine: what has the one connection.
            chain: what the events are appended to.
            keys: hears which keys were changed.
            busy_seconds: how long a change waits for others, in this process and in others.
        """
        self._engine = engine
        self._chain = chain
        self._keys = keys
        self._known = RememberedRows()
        self._busy_seconds = busy_seconds
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, "hsmkms-writer")
        self._waiting = WaitingChanges()
        self._work: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._removed = True  # whatever the process before us removed may still be in the files

    async def write(self, change: Callable[[SqlWriting], Result]) -> Result:
        """Run `change` in the next transaction.

        Raises:
            StoreUnavailable: others wrote all the time, or the disk is full; nothing happened.
        """
        waiting = Change(change, time.monotonic() + self._busy_seconds)
        self._waiting.add(waiting)
        self._go_on()
        try:
            result: Result = await waiting.done.wait()
        except asyncio.CancelledError:
            waiting.taken_back = not waiting.begun
            if not waiting.taken_back:
                await waiting.done.wait_undeterred()
            raise
        return result

    async def erase_deleted(self) -> None:
        """Cut the WAL, if anything was removed since it was cut last, and forget what others have removed.

        Raises:
            StoreUnavailable: a reader with an old view was in the way all the time.
        """
        deadline = time.monotonic() + self._busy_seconds
        async with self._turn:
            if self._connection is not None:
                with TRANSLATED:
                    self._known.begin(sqlite.driver_of(self._connection))
        while self._removed:
            async with self._turn:
                self._removed = False
                try:
                    with TRANSLATED:
                        cut = await self._in_thread(lambda: sqlite.truncate_wal(self._connected()))
                except BaseException:
                    self._removed = True
                    raise
                self._removed = self._removed or not cut
            if self._removed:
                if time.monotonic() > deadline:
                    raise StoreUnavailable
                await asyncio.sleep(_RETRY_SECONDS)

    @asynccontextmanager
    async def exclusive(self, patience_seconds: float) -> AsyncIterator[SqlWriting]:
        """Hold SQLite's write lock; the end of the block commits.

        Raises:
            StoreUnavailable: it was not to be had in time.
        """
        async with self._turn:
            try:
                await self._patiently(patience_seconds)
                writing = SqlWriting(self._connected())
                yield writing
                await self._committed(writing.events, lost=writing.failed)
            except BaseException:
                self._undo()
                raise

    async def close(self) -> None:
        """End the connection and the thread; nothing may be under way."""
        if self._work is not None:
            await finished(self._work)
        await asyncio.to_thread(self._thread.shutdown)
        with TRANSLATED:
            self._drop()
            self._engine.dispose()

    # --- a transaction -------------------------------------------------------------------------------------

    def _go_on(self, _ended: asyncio.Task[None] | None = None) -> None:
        """Commit what waits; again where an event loop that closes has cancelled that between two groups."""
        if self._waiting and (self._work is None or self._work.done()):
            work = self._commit_all()
            self._work = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
            self._work.add_done_callback(self._go_on)

    async def _commit_all(self) -> None:
        while self._waiting:
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
            try:
                async with asyncio.timeout(self._waiting.patience()):
                    await self._turn.acquire()
            except TimeoutError:
                self._waiting.refuse(StoreUnavailable())
                continue
            try:
                await self._commit_some()
            finally:
                self._turn.release()

    async def _commit_some(self) -> None:
        try:
            await self._begin(self._waiting.patience())
        except HsmkmsError as fault:
            self._waiting.refuse(fault)
            return
        group: list[Change] = []
        try:
            if not self._run_together(group):
                self._undo()
                if len(group) > 1:
                    self._waiting.put_back(group, guarded=True)
                    return
            kept = [each.writing for each in group if each.fault is None and each.writing is not None]
            if kept:
                self._removed = self._removed or any(each.removed for each in kept)
                with self._keys.changing(key_id for each in kept for key_id in each.changed):
                    await self._committed([event for each in kept for event in each.events])
            else:
                self._undo()
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._undo()
            self._refuse(group, error if isinstance(error, HsmkmsError) else meaning(error))
        else:
            for each in group:
                each.answer()

    def _run_together(self, group: list[Change]) -> bool:
        """Run changes that wait, and list those that have begun; False if the last of them left something to be undone.

        Raises:
            StoreUnavailable: the database ended the transaction of all.
        """
        connection = self._connected()
        driver = sqlite.driver_of(connection)
        run = self._run_guarded if self._waiting.guarded else Change.begin
        end = time.monotonic() + _BUSY_SECONDS
        while self._waiting and len(group) < _MOST_TOGETHER and not (group and time.monotonic() > end):
            change = self._waiting.take()
            if change.taken_back:
                continue
            group.append(change)
            whole = run(change, RememberingWriting(connection, self._known), driver)
            if not driver.in_transaction:
                raise StoreUnavailable
            if not whole:
                return False
            if change.alone:
                break
        return True

    def _run_guarded(self, change: Change, writing: SqlWriting, driver: sqlite3.Connection) -> bool:
        """Run a change in a savepoint, and undo it if it failed, so that nothing of it is left."""
        driver.execute("SAVEPOINT change")
        whole = change.begin(writing, driver)
        if driver.in_transaction:
            if not whole:
                driver.execute("ROLLBACK TO change")
                self._known.forget()
            driver.execute("RELEASE change")
        return True

    def _refuse(self, group: Sequence[Change], fault: HsmkmsError) -> None:
        """Answer a group that was not committed; where it may be the fault of one of them, try each alone."""
        if isinstance(fault, InternalFault) and len(group) > 1:
            self._waiting.put_back(group, alone=True)
            return
        for each in group:
            each.refuse(fault)

    # --- the connection ------------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(**{sqlite.WITHOUT_BEGIN: True})
            sqlite.wait_at_most(self._connection, 0)
        return self._connection

    async def _begin(self, seconds: float) -> None:
        """Take the write lock, which another process may have for up to `seconds`.

        Raises:
            StoreUnavailable: it had it for longer.
        """
        with TRANSLATED:
            try:
                if self._connection is None:
                    await self._in_thread(self._connected)
                driver = sqlite.driver_of(self._connected())
                try:
                    driver.execute("BEGIN IMMEDIATE")
                except Exception as error:
                    if not sqlite.is_busy(error):
                        raise
                    await self._in_thread(_begin_after, self._connected(), seconds)
                self._known.begin(driver)
            except Exception as error:
                if not sqlite.is_busy(error):
                    self._drop()
                raise

    async def _patiently(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await self._begin(min(self._busy_seconds, max(0.0, deadline - time.monotonic())))
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def _committed(self, events: Sequence[Event], *, lost: bool = False) -> None:
        """Write the events at the end of the trail, and commit, unless the transaction is `lost` already."""
        if lost:
            raise StoreUnavailable
        connection = self._connected()
        self._known.require_current()
        self._chain.extend(SqlReading(connection), events)
        self._known.told()
        with TRANSLATED:
            await self._in_thread(sqlite.driver_of(connection).execute, "COMMIT")

    def _undo(self) -> None:
        """End the transaction, if there still is one; what cannot be undone is closed."""
        self._known.forget()
        if self._connection is None:
            return
        try:
            driver = sqlite.driver_of(self._connection)
            if driver.in_transaction:
                driver.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 - a closed connection has no transaction
            meaning(error)
            self._drop()

    def _drop(self) -> None:
        self._known.let_go()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        completion = begun_in(self._thread, work, *arguments)
        try:
            return await completion.wait()
        except asyncio.CancelledError:
            await completion.wait_undeterred()
            if asyncio.current_task() is self._work:  # nobody else would answer those whose changes have begun
                return await completion.wait()
            raise


def _begin_after(connection: Connection, seconds: float) -> None:
    sqlite.wait_at_most(connection, seconds)
    try:
        sqlite.driver_of(connection).execute("BEGIN IMMEDIATE")
    finally:
        sqlite.wait_at_most(connection, 0)
