"""A database on a server that an older version wrote keeps all it holds when its schema is brought up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.ports import SealedCount
from hsmkms.store.database import open_store
from hsmkms.store.schema import AUDIT_CUTS, METADATA
from hsmkms.store.versions import VERSION_TABLE, upgrade
from tests.contract.archive_contract import after, all_events, appended, have_cut, removed, seal
from tests.contract.store_contract import pair, put, stored
from tests.contract.store_sealing_contract import holding, ready, rotate, sealing_keys
from tests.contract.trail_contract import sealed

if TYPE_CHECKING:
    from tests.postgres.server import PostgresServer

TO_0006: Final = f"""
DROP TABLE audit_cuts;
UPDATE {VERSION_TABLE} SET version_num = '0006'
"""  # noqa: S608 - our own words
"""What revision 0007 added, taken away."""
TO_0005: Final = f"""
{TO_0006};
ALTER TABLE custody_objects DROP COLUMN version, DROP COLUMN transferable, DROP COLUMN made_at;
ALTER TABLE custody_objects ADD CONSTRAINT pk_custody_objects PRIMARY KEY (role);
ALTER TABLE materials DROP COLUMN sealing_version;
ALTER TABLE pair_secrets DROP COLUMN sealing_version;
UPDATE {VERSION_TABLE} SET version_num = '0005'
"""  # noqa: S608 - our own words
"""What revision 0006 added, taken away as well; a column's constraints and indices go with it."""
SHAPES: Final = (
    (
        "SELECT table_name, ordinal_position, column_name, data_type, collation_name, column_default, is_nullable"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    ),
    (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace"
    ),
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
)


def shape(postgres: PostgresServer, name: str) -> list[list[str]]:
    """Return what the server says of the columns, constraints and indices of a database."""
    with postgres.connect(name) as connection:
        return [sorted(map(repr, connection.execute(each))) for each in SHAPES]


def rows(postgres: PostgresServer, name: str) -> dict[str, list[str]]:
    """Return all rows of all tables that 0006 has."""
    with postgres.connect(name) as connection:
        return {
            table.name: sorted(map(repr, connection.execute(f"SELECT * FROM {table.name}")))  # noqa: S608 - as above
            for table in METADATA.sorted_tables
            if table is not AUDIT_CUTS
        }


async def test_a_database_of_0006_keeps_all_it_has_and_is_as_a_new_one(
    postgres: PostgresServer, own: str, template: str
) -> None:
    url = postgres.url(own)
    store = await open_store(url, link=link, busy_seconds=5)
    await ready(store)
    await put(store, holding("old", 1), pair())
    await appended(store, "r-1", "r-2", "r-3")
    await sealed(store, seal(1), seal(2, "node-2"))
    trail = await all_events(store)
    await store.close()
    before = rows(postgres, own)
    with postgres.connect(own) as connection:
        connection.execute(TO_0006)
    assert shape(postgres, own) != shape(postgres, template)
    with pytest.raises(StoreUnusable, match="older schema"):
        await open_store(url, link=link, busy_seconds=5)
    assert sorted(await asyncio.gather(*(upgrade(url) for _ in range(3)))) == [False, False, True]
    assert shape(postgres, own) == shape(postgres, template)
    assert rows(postgres, own) == before
    store = await open_store(url, link=link, busy_seconds=5)
    assert await store.trail().cut() is None
    assert await store.nodes() == ["", "node-2"]
    await have_cut(store, None, after(trail[1]))
    assert await removed(store, after(trail[1]), 10) == [2]
    assert await all_events(store) == trail[2:]
    await store.close()


async def test_a_database_of_0005_is_of_the_first_version_afterwards(postgres: PostgresServer, own: str) -> None:
    url = postgres.url(own)
    store = await open_store(url, link=link, busy_seconds=5)
    deployment, old = await ready(store), holding("old", 1)
    await put(store, old, pair())
    await store.close()
    with postgres.connect(own) as connection:
        connection.execute(TO_0005)
    assert sorted(await asyncio.gather(*(upgrade(url) for _ in range(3)))) == [False, False, True]
    store = await open_store(url, link=link, busy_seconds=5)
    assert await store.deployment() == deployment
    assert await stored(store, old) == old
    assert await store.sealed_counts() == {1: SealedCount(1, 1)}
    assert await rotate(store, deployment, *sealing_keys(2)) == await store.deployment()
    assert await store.sealed_below(2, None, 10) == [old]
    await store.close()
