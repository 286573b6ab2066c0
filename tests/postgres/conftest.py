from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.chain import link
from hsmkms.store.database import SqlStore, open_store
from hsmkms.store.schema import METADATA
from hsmkms.store.versions import upgrade
from tests.contract.archive_contract import NEIGHBOUR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.postgres.server import PostgresServer

BUSY_SECONDS = 20.0
EMPTY: Final = ";".join(
    [
        *(f"DELETE FROM {table.name}" for table in reversed(METADATA.sorted_tables)),  # noqa: S608 - our own names
        "SELECT setval('accounts_number_seq', 1, false)",
    ]
)


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> str:
    """The name of a database with the newest schema and nothing in it, to be copied."""
    name = postgres.create_database()
    asyncio.run(upgrade(postgres.url(name)))
    return name


@pytest.fixture(scope="session")
def shared(postgres: PostgresServer, template: str) -> str:
    """The name of a database that the tests share, one after the other."""
    return postgres.create_database(template)


@pytest.fixture
def url(postgres: PostgresServer, shared: str) -> str:
    """Where an initialised database is that holds nothing: emptied in place, which takes a fiftieth of making one."""
    with postgres.connect(shared) as connection:
        connection.execute(EMPTY)
    return postgres.url(shared)


@pytest.fixture
def own(postgres: PostgresServer, template: str) -> Iterator[str]:
    """The name of a database of this test's own, to do with as it likes."""
    with postgres.database(template) as name:
        yield name


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    opened = await open_store(url, link=link, busy_seconds=BUSY_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[SqlStore]:
    """A second handle on the database of `store`, as another process would have."""
    opened = await open_store(url, link=link, busy_seconds=BUSY_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
async def neighbour(url: str, store: SqlStore) -> AsyncIterator[SqlStore]:
    """A handle of another node on the database of `store`."""
    opened = await open_store(url, link=link, busy_seconds=BUSY_SECONDS, node=NEIGHBOUR)
    yield opened
    await opened.close()
