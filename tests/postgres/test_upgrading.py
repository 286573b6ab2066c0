"""A database on a server that an older version wrote keeps all it holds when its schema is brought up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from hsmkms.audit.chain import link
from hsmkms.core.ports import SealedCount
from hsmkms.store.database import open_store
from hsmkms.store.versions import VERSION_TABLE, upgrade
from tests.contract.store_contract import pair, put, stored
from tests.contract.store_sealing_contract import holding, ready, rotate, sealing_keys

if TYPE_CHECKING:
    from tests.postgres.server import PostgresServer

TO_0005: Final = f"""
ALTER TABLE custody_objects DROP COLUMN version, DROP COLUMN transferable, DROP COLUMN made_at;
ALTER TABLE custody_objects ADD CONSTRAINT pk_custody_objects PRIMARY KEY (role);
ALTER TABLE materials DROP COLUMN sealing_version;
ALTER TABLE pair_secrets DROP COLUMN sealing_version;
UPDATE {VERSION_TABLE} SET version_num = '0005'
"""  # noqa: S608 - our own words
"""What revision 0006 added, taken away; a column's constraints and indices go with it."""


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
