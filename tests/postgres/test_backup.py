"""A database that was dumped and restored is the one it was, and nothing is restored over another one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import BackupUnusable, StoreUnusable
from hsmkms.store import backup
from hsmkms.store.database import open_store
from hsmkms.store.schema import METADATA
from tests.contract.store_contract import event, key, material, pair, plan, proved, put, put_tagged, ticket
from tests.postgres.conftest import BUSY_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.core.ports import Writing
    from hsmkms.store.database import SqlStore
    from tests.postgres.server import PostgresServer

OWN_STATE = "SELECT last_value, is_called FROM accounts_number_seq"


def content(postgres: PostgresServer, database: str) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table, and where the numbers of accounts have got to."""
    with postgres.connect(database) as connection:
        tables = {table.name: f"SELECT * FROM {table.name} ORDER BY 1, 2" for table in METADATA.sorted_tables}  # noqa: S608 - our own names
        asked = {**tables, "hsmkms_schema": "SELECT * FROM hsmkms_schema", "numbers": OWN_STATE}
        return {name: connection.execute(statement.encode()).fetchall() for name, statement in asked.items()}


async def fill(store: SqlStore) -> None:
    """Write a row or more into most tables."""
    held, empty = replace(key(), material=material()), key("second")
    await put_tagged(store, (held, {"team": "cards"}), (empty, None))
    await put(store, pair(), ticket(held.key_id))

    def append(writing: Writing) -> None:
        writing.append(event())

    await store.write(append)
    async with store.initialising(plan()) as initialising:
        await initialising.mark_ready(proved(initialising.deployment), event("r-2"))


async def test_a_dump_brings_back_every_row(
    postgres: PostgresServer, store: SqlStore, shared: str, tmp_path: Path
) -> None:
    await fill(store)
    before = content(postgres, shared)
    assert sum(map(bool, before.values())) >= 9
    assert await backup.copy(postgres.url(shared), tmp_path, BUSY_SECONDS) == "hsmkms.dump"
    with pytest.raises(BackupUnusable, match="is not empty"):
        await backup.restore(postgres.url(shared), tmp_path / "hsmkms.dump")
    assert content(postgres, shared) == before

    with postgres.database() as fresh:
        await backup.restore(postgres.url(fresh), tmp_path / "hsmkms.dump")
        assert content(postgres, fresh) == before
        opened = await open_store(postgres.url(fresh), link=link, busy_seconds=BUSY_SECONDS)
        await opened.close()
        with pytest.raises(BackupUnusable, match="is not empty"):
            await backup.restore(postgres.url(fresh), tmp_path / "hsmkms.dump")


async def test_what_pg_dump_says_is_shown_without_a_password(postgres: PostgresServer, tmp_path: Path) -> None:
    passfile = postgres.write_passfile(tmp_path / "pgpass", "a wrong one")
    url = postgres.tcp_url("nothing", passfile=passfile)
    with pytest.raises(StoreUnusable, match=r"pg_dump could not do it.*password authentication failed") as caught:
        await backup.copy(url, tmp_path, BUSY_SECONDS)
    assert "a wrong one" not in str(caught.value)


async def test_without_pg_dump_the_cure_is_named(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreUnusable, match="pg_dump is not installed; install"):
        await backup.copy(postgres.url("nothing"), tmp_path, BUSY_SECONDS)
