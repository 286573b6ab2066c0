"""The one connection that writes, watched and held up by tests."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from hsmkms.store import sqlite
from tests.contract.store_contract import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hsmkms.store.database import SqlStore


async def driver_of(store: SqlStore) -> sqlite3.Connection:
    return await store.write(lambda writing: sqlite.driver_of(writing.connection))


@contextmanager
def counted(driver: sqlite3.Connection) -> Iterator[Counter[str]]:
    """Count the statements that the connection runs within the block."""
    seen: Counter[str] = Counter()
    driver.set_trace_callback(lambda statement: seen.update([statement]))
    try:
        yield seen
    finally:
        driver.set_trace_callback(None)


class HeldCommit:
    """The next COMMIT of a connection waits until it is let go."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._begun, self.let_go = threading.Event(), threading.Event()
        driver.set_trace_callback(self._hold)

    def _hold(self, statement: str) -> None:
        if statement == "COMMIT":
            self._begun.set()
            self.let_go.wait(SECONDS)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, SECONDS)


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Have the write lock, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        yield intruder


def aliases(path: Path) -> set[str]:
    """Return the aliases that whoever opens the file finds committed."""
    with closing(sqlite3.connect(path)) as outsider:
        return {alias for (alias,) in outsider.execute("SELECT alias FROM keys")}
