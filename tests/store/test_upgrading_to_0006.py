"""What revision 0005 wrote is of the first version of the sealing keys in 0006, and can be sealed anew from then on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.ports import SealedCount
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import pair, put, stored
from tests.contract.store_sealing_contract import holding, ready, rotate, sealing_keys
from tests.store import older

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_there_was_is_of_the_first_version_afterwards(url: str, path: Path) -> None:
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    deployment, old, taken = await ready(store), holding("old", 1), pair()
    await put(store, old, taken)
    await store.close()
    older.rewind(path, "0005")
    with pytest.raises(StoreUnusable, match="older schema"):
        await open_store(url, link=link, busy_seconds=1)
    assert await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    assert await store.deployment() == deployment
    assert await stored(store, old) == old
    assert await store.sealed_counts() == {1: SealedCount(1, 1)}
    assert await rotate(store, deployment, *sealing_keys(2)) == await store.deployment()
    assert await store.sealed_below(2, None, 10) == [old]
    sealed_anew = holding("old", 2).material
    written = await store.write(lambda writing: writing.replace_key(old, replace(old, material=sealed_anew)))
    assert await stored(store, old) == written
    assert await store.sealed_counts() == {1: SealedCount(0, 1), 2: SealedCount(1, 0)}
    await store.close()
