"""What the store asks of a kind of database, so that the rest of the room need not know which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from hsmkms.store.reading import SqlReading
    from hsmkms.store.writing import SqlWriting

Result = TypeVar("Result")


class Backend(Protocol):
    """How a kind of database runs transactions; every method raises only `HsmkmsError` and what the function raises."""

    async def read(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run `question` in a transaction of one consistent view."""

    async def glance(self, question: Callable[[SqlReading], Result]) -> Result:
        """Run a `question` that reads a row or two by their identity; each statement sees what is committed by then."""

    async def write(self, change: Callable[[SqlWriting], Result]) -> Result:
        """Run `change` in a transaction and commit it durably, or undo it; it may be run more than once."""

    async def erase_deleted(self) -> bool:
        """Make sure that nothing removed so far can be read from the database's files; False: its server does, later.

        Raises:
            StoreUnavailable: it was not possible in time.
        """

    def exclusive(self, patience_seconds: float) -> AbstractAsyncContextManager[SqlWriting]:
        """Hold the lock that initialises a deployment; what is written meanwhile is committed at the end of the block.

        Raises:
            StoreUnavailable: the lock was not to be had in time.
        """

    async def close(self) -> None:
        """End all connections and threads; nothing may be under way."""
