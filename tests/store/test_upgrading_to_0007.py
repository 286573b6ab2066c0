"""What revision 0006 wrote is all there in 0007, with trails of which nothing was archived yet."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.credentials import Credential, Role
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.ids import AccessId
from hsmkms.store.database import open_store
from hsmkms.store.versions import VERSION_TABLE, upgrade
from tests.contract.archive_contract import after, all_events, appended, cut, have_cut, removed, seal
from tests.contract.store_contract import ALICE, NOW, RECORD, account_of, key, material, pair, put, ticket
from tests.contract.store_sealing_contract import ready
from tests.contract.trail_contract import sealed
from tests.store import older
from tests.store.test_versions import declared

if TYPE_CHECKING:
    from pathlib import Path

Rows = dict[str, list[tuple[object, ...]]]


def rows(path: Path) -> Rows:
    """Return all rows of all tables."""
    with closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: sorted(database.execute(f"SELECT * FROM {name}"), key=repr)  # noqa: S608 - our own names
            for name in names
            if name != VERSION_TABLE
        }


def schema(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as database:
        return declared(database)


@pytest.fixture
async def of_0006(url: str, path: Path) -> Rows:
    """What is in a database of revision 0006 with a row in each table."""
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    await ready(store)
    holding = replace(key("holding"), material=material())
    await put(store, holding, replace(key("tagged")), pair(), ticket(holding.key_id))
    gone, tagged = key("gone"), key("with tags")
    signer = Credential(AccessId("ak-1"), await account_of(store, ALICE), frozenset(Role), NOW, record=RECORD)
    await put(store, gone, signer)
    await store.write(lambda writing: writing.delete_key(gone, NOW))
    await store.write(lambda writing: writing.add_key(tagged, {"env": "prod"}))
    await appended(store, "r-1", "r-2", "r-3")
    await sealed(store, seal(1), seal(2, "node-2"))
    await store.close()
    older.rewind(path, "0006")
    before = rows(path)
    assert "audit_cuts" not in before
    assert all(before.values()), "a row in each table"
    return before


async def test_a_database_of_0006_keeps_all_it_has(url: str, path: Path, of_0006: Rows) -> None:
    with pytest.raises(StoreUnusable, match="older schema"):
        await open_store(url, link=link, busy_seconds=1)
    assert rows(path) == of_0006
    assert await upgrade(url)
    assert rows(path) == {**of_0006, "audit_cuts": []}
    assert not await upgrade(url)


async def test_its_schema_is_that_of_a_new_database_afterwards(
    url: str, path: Path, tmp_path: Path, of_0006: Rows
) -> None:
    assert of_0006
    await upgrade(url)
    await upgrade(f"sqlite:///{tmp_path}/fresh.db")
    assert schema(path) == schema(tmp_path / "fresh.db")


async def test_its_trail_goes_on_and_can_be_archived(url: str, of_0006: Rows) -> None:
    assert of_0006
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    assert await store.trail().cut() is None
    assert await store.trail("node-2").cut() is None
    assert await store.nodes() == ["", "node-2"]
    trail = await all_events(store)
    await appended(store, "next")
    await have_cut(store, None, after(trail[1]))
    await have_cut(store, None, cut(9, node="node-2"))
    assert await removed(store, after(trail[1]), 10) == [2]
    assert await store.trail().cut() == after(trail[1])
    assert (await all_events(store))[:-1] == trail[2:]
    await store.close()
