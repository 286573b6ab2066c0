"""Transactions that read, each in a thread of its own from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from hsmkms.core.errors import StoreUnavailable
from hsmkms.store.failures import TRANSLATED, is_lost_connection
from hsmkms.store.finishing import finished
from hsmkms.store.reading import SqlReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

Result = TypeVar("Result")


class ReaderThreads:
    """Threads that read through the connections of an engine."""

    def __init__(self, engine: Engine, *, threads: int, busy_seconds: float) -> None:
        """Use `threads` connections of `engine`; a question waits `busy_seconds` at most for one."""
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, "hsmkms-reader")
        self._free = asyncio.Semaphore(threads)
        self._busy_seconds = busy_seconds

    async def read(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run `question` in a transaction.

        Raises:
            StoreUnavailable: all connections were busy for too long, or the database failed.
        """
        try:
            async with asyncio.timeout(self._busy_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise StoreUnavailable from error
        try:
            context = contextvars.copy_context()  # the log names the request
            loop = asyncio.get_running_loop()
            return await finished(loop.run_in_executor(self._threads, context.run, self._ask, question))
        finally:
            self._free.release()

    def _ask(self, question: Callable[[SqlReading], Result]) -> Result:
        try:
            return self._ask_once(question)
        except StoreUnavailable as fault:
            if not is_lost_connection(fault):
                raise
            return self._ask_once(question)  # with a new one: a server that was started anew is there again

    def _ask_once(self, question: Callable[[SqlReading], Result]) -> Result:
        with TRANSLATED:
            connection = self._engine.connect()
        try:
            with TRANSLATED:
                connection.begin()
            return question(SqlReading(connection))
        except StopIteration as error:
            raise RuntimeError(error) from error  # a future does not take it, and would never be done
        finally:
            with TRANSLATED:
                connection.close()  # rolls back

    async def close(self) -> None:
        """End all connections and threads; nothing may be under way."""
        await asyncio.to_thread(self._threads.shutdown)
        with TRANSLATED:
            self._engine.dispose()
