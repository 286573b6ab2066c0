from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.store.database import SqlStore, open_store
from hsmkms.store.versions import upgrade
from tests.contract.archive_contract import NEIGHBOUR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BUSY_SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hsmkms.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    await upgrade(url)
    opened = await open_store(url, link=link, busy_seconds=BUSY_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str, store: SqlStore) -> AsyncIterator[SqlStore]:
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
