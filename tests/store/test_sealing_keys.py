"""What a writer of an SQLite database knows of the sealing keys: asked once, and again when others may have written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import StoreUnavailable, StoreUnusable
from hsmkms.core.records import head_of
from tests.contract.store_contract import material, pair, put
from tests.contract.store_sealing_contract import holding, ready, retire, rotate, sealing_keys
from tests.store.test_remembering import by_another
from tests.store.writer import counted, driver_of

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.core.custody import Deployment
    from hsmkms.store.database import SqlStore

KEY = holding("first", 2)
PAIR = replace(pair(), record=head_of(2) + b"private")


@pytest.fixture
async def rotated(store: SqlStore) -> Deployment:
    deployment = await rotate(store, await ready(store), *sealing_keys(2))
    await put(store, KEY, PAIR)
    return deployment


async def asked(store: SqlStore) -> int:
    """Return how often a change asks for the sealing keys that writes as many records as there can be."""
    other = material(head_of(2) + b"other")
    with counted(await driver_of(store)) as statements:
        key = await store.write(lambda writing: writing.replace_key(KEY, replace(KEY, material=other)))
        await store.write(lambda writing: writing.replace_key(key, replace(KEY, revision=key.revision)))
        await put(store, holding("second", 2), replace(pair("second"), record=head_of(2) + b"private"))
    return sum("FROM custody_objects" in each for each in statements)


@pytest.mark.usefixtures("rotated")
async def test_an_import_does_not_ask_for_what_is_known(store: SqlStore) -> None:
    assert await asked(store) == 0


@pytest.mark.usefixtures("rotated")
async def test_where_another_process_has_written_it_is_asked_once(store: SqlStore, path: Path) -> None:
    by_another(path, "UPDATE pairs SET failures = 7")
    assert await asked(store) == 1


@pytest.mark.usefixtures("rotated")
async def test_what_another_process_removed_is_not_written_under(store: SqlStore, path: Path) -> None:
    by_another(path, "DELETE FROM custody_objects WHERE version = 1 AND role = 'material-sealing'")
    with pytest.raises(StoreUnavailable):
        await put(store, holding("late", 1))
    await put(store, replace(pair("late"), record=head_of(1) + b"private"))  # whose key is there still


async def test_a_record_that_is_no_bytes_keeps_every_version(store: SqlStore, path: Path, rotated: Deployment) -> None:
    by_another(path, "UPDATE materials SET record = CAST(record AS TEXT)")
    with pytest.raises(StoreUnusable, match=f"the material of key {KEY.key_id} is not under version 2"):
        await retire(store, rotated, 1)
