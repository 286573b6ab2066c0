"""A deployment for each test, on a database file of its own."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.service.house import House, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from hsmkms.store.database import SqlStore


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "empty.db"
    asyncio.run(upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture
async def opened(empty_database: Path, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[SqlStore]]]:
    """Open the test's database, each time with connections of its own."""
    path = tmp_path / "hsmkms.db"
    shutil.copy(empty_database, path)
    async with AsyncExitStack() as stack:

        async def open_one() -> SqlStore:
            store = await open_store(f"sqlite:///{path}", link=link, busy_seconds=30)
            stack.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def housed(opened: Callable[[], Awaitable[SqlStore]]) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Make a deployment with settings of the test's choice."""
    fillers: list[asyncio.Task[None]] = []

    async def make(settings: Settings | None = None) -> House:
        house = House(await opened(), settings or Settings())
        await house.open()
        fillers.append(asyncio.create_task(house.pool.keep_filled()))
        return house

    yield make
    for filler in fillers:
        filler.cancel()
        with suppress(asyncio.CancelledError):
            await filler


@pytest.fixture
async def house(housed: Callable[..., Awaitable[House]]) -> House:
    return await housed()
