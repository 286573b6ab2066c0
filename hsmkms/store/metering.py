"""A database of which each transaction is told to a meter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from hsmkms.core.metering import TransactionKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from hsmkms.core.metering import Meter
    from hsmkms.store.backend import Backend
    from hsmkms.store.reading import SqlReading
    from hsmkms.store.writing import SqlWriting

Result = TypeVar("Result")


class MeteredBackend:
    """`store.backend.Backend` around another one."""

    def __init__(self, backend: Backend, meter: Meter) -> None:
        """Tell `meter` what `backend` does."""
        self._backend = backend
        self._meter = meter

    async def read(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run `question` in a transaction of one consistent view."""
        return await self._told(TransactionKind.READ, self._backend.read(question))

    async def glance(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run a `question` that reads a row or two by their identity."""
        return await self._told(TransactionKind.READ, self._backend.glance(question))

    async def write(self, change: Callable[[SqlWriting], Result]) -> Result:
        """Run `change` in a transaction and commit it durably."""
        return await self._told(TransactionKind.WRITE, self._backend.write(change))

    async def erase_deleted(self) -> bool:
        """Make sure that nothing removed so far can be read from the database's files."""
        return await self._backend.erase_deleted()

    def exclusive(self, patience_seconds: float) -> AbstractAsyncContextManager[SqlWriting]:
        """Hold the lock that initialises a deployment."""
        return self._backend.exclusive(patience_seconds)

    async def close(self) -> None:
        """End all connections and threads."""
        await self._backend.close()

    async def _told(self, kind: TransactionKind, transaction: Awaitable[Result]) -> Result:
        started, fault = time.monotonic(), None
        try:
            return await transaction
        except Exception as error:
            fault = type(error).__name__
            raise
        finally:
            self._meter.transaction(kind, fault, time.monotonic() - started)
