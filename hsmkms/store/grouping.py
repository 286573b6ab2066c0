"""Group commit on SQLite: the changes that wait while one transaction is committed share the next.

SQLite has one writer at a time, and a durable commit waits for the disk. So there is one connection that writes. What
waits for the disk or for another process - taking the lock, committing, cutting the WAL - runs in a thread. The changes
themselves run in the event loop's thread: their statements find their pages in memory and take some ten microseconds
each, while handing each of them to another thread, and the interpreter's lock back and forth, takes several times as
much (docs/benchmarks.md).

Laws:

- a change is answered after the commit that made it durable, and by nothing else;
- each change has a savepoint of its own: one that fails undoes nothing of its neighbours;
- a group holds up the event loop for `_BUSY_SECONDS` and one change at most;
- a caller that is cancelled before its change has begun takes it back; later, it hears of the cancellation when the
  change's transaction has ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hsmkms.core.errors import HsmkmsError, InternalFault, StoreUnavailable
from hsmkms.store import sqlite
from hsmkms.store.failures import TRANSLATED, meaning
from hsmkms.store.finishing import finished, undeterred
from hsmkms.store.reading import SqlReading
from hsmkms.store.writing import SqlWriting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy import Connection, Engine

    from hsmkms.core.events import Event
    from hsmkms.store.chaining import Chain
    from hsmkms.store.key_cache import KeyCache

Result = TypeVar("Result")

_MOST_TOGETHER: Final = 64
_BUSY_SECONDS: Final = 0.002
_RETRY_SECONDS: Final = 0.02
_EXCLUSIVE_SECONDS: Final = 120.0


@dataclass(slots=True, eq=False)
class _Change:
    """A change that somebody waits for."""

    run: Callable[[SqlWriting], Any]
    done: asyncio.Future[Any]
    deadline: float
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    """Of its caller: the log names his request."""
    begun: bool = False
    alone: bool = False
    writing: SqlWriting | None = None
    outcome: Any = None
    fault: BaseException | None = None

    def answer(self) -> None:
        """Tell whoever waits."""
        if self.done.done():
            return
        if self.fault is None:
            self.done.set_result(self.outcome)
        elif isinstance(self.fault, StopIteration):  # a future does not take it
            self.done.set_exception(RuntimeError(self.fault))
        else:
            self.done.set_exception(self.fault)

    def refuse(self, fault: HsmkmsError) -> None:
        """Tell whoever waits that it was not committed.

        Not what it raised itself: that may be because of what a neighbour did, which was not committed either.
        """
        self.fault = fault
        self.answer()


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
        self._busy_seconds = busy_seconds
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, "hsmkms-writer")
        self._waiting: deque[_Change] = deque()
        self._work: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._removed = True  # whatever the process before us removed may still be in the files

    async def write(self, change: Callable[[SqlWriting], Result]) -> Result:
        """Run `change` in the next transaction.

        Raises:
            StoreUnavailable: others wrote all the time, or the disk is full; nothing happened.
        """
        loop = asyncio.get_running_loop()
        waiting = _Change(change, loop.create_future(), time.monotonic() + self._busy_seconds)
        self._waiting.append(waiting)
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._commit_all(), context=contextvars.Context())
        try:
            result: Result = await asyncio.shield(waiting.done)
        except asyncio.CancelledError:
            if not waiting.begun and waiting.done.cancel():
                raise
            with suppress(Exception):
                await finished(waiting.done)
            raise
        return result

    async def erase_deleted(self) -> None:
        """Cut the WAL, if anything was removed since it was cut last.

        Raises:
            StoreUnavailable: a reader with an old view was in the way all the time.
        """
        deadline = time.monotonic() + self._busy_seconds
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
    async def exclusive(self) -> AsyncIterator[SqlWriting]:
        """Hold SQLite's write lock; the end of the block commits.

        Raises:
            StoreUnavailable: it was not to be had in time.
        """
        async with self._turn:
            try:
                await self._patiently()
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

    async def _commit_all(self) -> None:
        while self._waiting:
            try:
                async with asyncio.timeout(self._patience()):
                    await self._turn.acquire()
            except TimeoutError:
                self._refuse_waiting(StoreUnavailable())
                continue
            try:
                await self._commit_some()
            finally:
                self._turn.release()

    def _patience(self) -> float:
        """Return for how many seconds the first one that waits may wait."""
        return max(0.0, self._waiting[0].deadline - time.monotonic())

    async def _commit_some(self) -> None:
        try:
            await self._begin(self._patience())
        except HsmkmsError as fault:
            self._refuse_waiting(fault)
            return
        group: list[_Change] = []
        try:
            self._run_together(group)
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

    def _run_together(self, group: list[_Change]) -> None:
        """Run changes that wait, each in a savepoint, and list those that have begun.

        Raises:
            StoreUnavailable: the database ended the transaction of all.
        """
        connection = self._connected()
        driver = sqlite.driver_of(connection)
        end = time.monotonic() + _BUSY_SECONDS
        while self._waiting and len(group) < _MOST_TOGETHER and not (group and time.monotonic() > end):
            change = self._waiting.popleft()
            if change.done.cancelled():
                continue
            change.begun = True
            group.append(change)
            driver.execute("SAVEPOINT change")
            change.writing = SqlWriting(connection)
            try:
                change.outcome = change.context.run(change.run, change.writing)
                if change.writing.failed:
                    raise StoreUnavailable  # noqa: TRY301 - as if the change had not caught it
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked for the change
                change.fault = error
                if driver.in_transaction:
                    driver.execute("ROLLBACK TO change")
            if not driver.in_transaction:
                raise StoreUnavailable
            driver.execute("RELEASE change")
            if change.alone:
                return

    def _refuse(self, group: Sequence[_Change], fault: HsmkmsError) -> None:
        """Answer a group that was not committed; where it may be the fault of one of them, try each alone."""
        if isinstance(fault, InternalFault) and len(group) > 1:
            for each in reversed(group):
                each.begun, each.alone, each.fault = False, True, None
                self._waiting.appendleft(each)
            return
        for each in group:
            each.refuse(fault)

    def _refuse_waiting(self, fault: HsmkmsError) -> None:
        """Answer those whose time is over, and the first in any case: its time was waited for."""
        now = time.monotonic()
        self._waiting.popleft().refuse(fault)
        for each in [each for each in self._waiting if each.deadline <= now]:
            self._waiting.remove(each)
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
            except Exception as error:
                if not sqlite.is_busy(error):
                    self._drop()
                raise

    async def _patiently(self) -> None:
        deadline = time.monotonic() + _EXCLUSIVE_SECONDS
        while True:
            try:
                return await self._begin(self._busy_seconds)
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def _committed(self, events: Sequence[Event], *, lost: bool = False) -> None:
        """Write the events at the end of the trail, and commit, unless the transaction is `lost` already."""
        if lost:
            raise StoreUnavailable
        connection = self._connected()
        self._chain.extend(SqlReading(connection), events)
        with TRANSLATED:
            await self._in_thread(sqlite.driver_of(connection).execute, "COMMIT")

    def _undo(self) -> None:
        """End the transaction, if there still is one; what cannot be undone is closed."""
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
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        future = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        if asyncio.current_task() is self._work:
            return await undeterred(future)  # or nobody would answer those whose changes have begun
        return await finished(future)


def _begin_after(connection: Connection, seconds: float) -> None:
    sqlite.wait_at_most(connection, seconds)
    try:
        sqlite.driver_of(connection).execute("BEGIN IMMEDIATE")
    finally:
        sqlite.wait_at_most(connection, 0)
