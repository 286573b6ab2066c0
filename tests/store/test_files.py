"""What the SQLite files look like from outside."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnavailable
from hsmkms.store.database import open_store
from tests.contract.store_contract import ALICE, NOW, SECONDS, key, material, pair, put

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.core.keys import Key
    from hsmkms.store.database import SqlStore
    from hsmkms.store.reading import SqlReading
    from hsmkms.store.writing import SqlWriting

# Not all bytes of it may lie in one page: the second is longer than any page.
NEEDLES = [b"\x01" + b"<needle of a record>" * 3, b"\x01" + b"<needle of a long record>" * 5000]


def on_disk(path: Path) -> bytes:
    """Everything that the database keeps in its folder, whatever the file is called."""
    return b"".join(each.read_bytes() for each in sorted(path.parent.iterdir()))


async def test_only_the_owner_may_read_the_files(store: SqlStore, path: Path) -> None:
    await put(store)
    files = sorted(path.parent.iterdir())
    assert [each.name for each in files] == [path.name, f"{path.name}-shm", f"{path.name}-wal"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1), ("foreign_keys", 1), ("temp_store", 2)],
)
async def test_every_connection_is_set_up(store: SqlStore, pragma: str, value: object) -> None:
    def setting(view: SqlReading) -> object:
        return view.connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()

    assert await store.read(setting) == await store.write(setting) == value


@pytest.mark.parametrize("needle", NEEDLES)
@pytest.mark.parametrize("successor", [None, b"\x01another record"])
async def test_removed_material_is_nowhere_on_disk(
    store: SqlStore, path: Path, needle: bytes, successor: bytes | None
) -> None:
    old = replace(key(), material=material(needle))
    await put(store, old, *(replace(key(f"neighbour-{at}"), material=material(b"\x01n" * 100)) for at in range(50)))
    await store.erase_deleted()
    assert needle[:40] in on_disk(path)
    new = replace(old, material=None if successor is None else material(successor))
    await store.write(lambda writing: writing.replace_key(old, new))
    assert needle[:40] in on_disk(path)
    await store.erase_deleted()
    assert needle[:40] not in on_disk(path)
    assert needle[-40:] not in on_disk(path)
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0


@pytest.mark.parametrize("needle", NEEDLES)
async def test_the_material_of_a_deleted_key_is_nowhere_on_disk(store: SqlStore, path: Path, needle: bytes) -> None:
    old = replace(key(), material=material(needle))
    await put(store, old)
    await store.erase_deleted()
    assert needle[:40] in on_disk(path)
    await store.write(lambda writing: writing.delete_key(old, NOW))
    await store.erase_deleted()
    assert needle[:40] not in on_disk(path)
    assert needle[-40:] not in on_disk(path)


@pytest.mark.parametrize("needle", NEEDLES)
async def test_the_private_half_of_an_ended_pair_is_nowhere_on_disk(store: SqlStore, path: Path, needle: bytes) -> None:
    old = replace(pair(), record=needle)
    await put(store, old)
    assert needle[:40] in on_disk(path)
    await store.write(lambda writing: writing.replace_pair(old, old.shut()))
    await store.erase_deleted()
    assert needle[:40] not in on_disk(path)


async def test_what_an_earlier_process_removed_is_erased_too(store: SqlStore, other: SqlStore, path: Path) -> None:
    await store.erase_deleted()
    old = replace(key(), material=material(NEEDLES[0]))
    await put(other, old)
    await other.write(lambda writing: writing.replace_key(old, old.without_material()))
    fresh = await open_store(f"sqlite:///{path}", link=link, busy_seconds=5)
    await fresh.erase_deleted()
    await fresh.close()
    assert NEEDLES[0] not in on_disk(path)


async def test_nothing_is_done_when_nothing_was_removed(store: SqlStore, path: Path) -> None:
    await store.erase_deleted()
    kept = replace(key(), material=material())
    await put(store, kept)
    await store.write(lambda writing: writing.replace_key(kept, kept.switched(on=False)))
    log = path.with_name(f"{path.name}-wal").stat().st_size
    await store.erase_deleted()
    assert path.with_name(f"{path.name}-wal").stat().st_size == log > 0


async def removed(store: SqlStore, thing: Key) -> None:
    await store.write(lambda writing: writing.replace_key(thing, thing.without_material()))


async def test_a_reader_in_the_way_is_reported_and_the_erasure_made_up_for(
    url: str, store: SqlStore, path: Path
) -> None:
    hasty = await open_store(url, link=link, busy_seconds=0.2)
    old = replace(key(), material=material(NEEDLES[0]))
    await put(store, old)
    opened, tried = threading.Event(), threading.Event()

    def look_for_long(reading: SqlReading) -> int:
        count = reading.count_keys(ALICE, NOW)
        opened.set()
        assert tried.wait(SECONDS)
        return count

    looking = asyncio.create_task(store.read(look_for_long))
    assert await asyncio.to_thread(opened.wait, SECONDS)
    await removed(hasty, old)
    with pytest.raises(StoreUnavailable):
        await hasty.erase_deleted()
    assert NEEDLES[0] in on_disk(path)
    tried.set()
    assert await looking == 1
    await hasty.erase_deleted()
    assert NEEDLES[0] not in on_disk(path)
    await hasty.close()


async def test_closing_leaves_no_thread_behind(url: str, store: SqlStore) -> None:
    del store
    before = set(threading.enumerate())
    opened = await open_store(url, link=link, busy_seconds=5)
    mine = key()
    await put(opened, mine)
    assert await opened.read(lambda reading: reading.count_keys(ALICE, NOW)) == 1
    assert (await opened.look_up(ALICE, mine.key_id, tagged=True)).key(ALICE, mine.key_id) == mine
    started = {each for each in set(threading.enumerate()) - before if each.name.startswith("hsmkms-")}
    assert {each.name.rpartition("_")[0] for each in started} == {"hsmkms-reader", "hsmkms-writer"}
    await opened.close()
    for each in started:
        each.join(10)
        assert not each.is_alive()


async def test_another_process_that_keeps_the_lock_makes_it_unavailable(url: str, store: SqlStore, path: Path) -> None:
    await put(store)
    hasty = await open_store(url, link=link, busy_seconds=0.1)
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await put(hasty, key())
    assert await hasty.read(lambda reading: reading.count_keys(ALICE, NOW)) == 0
    intruder.execute("ROLLBACK")
    intruder.close()
    await put(hasty, key())
    await hasty.close()


async def test_a_full_disk_is_unavailable_and_hurts_nothing(store: SqlStore) -> None:
    small, large = key("small"), replace(key("large"), material=material(b"\x01x" * 1_000_000))
    await put(store, small)
    await limit_pages(store, 100)
    with pytest.raises(StoreUnavailable):
        await put(store, large)
    assert await store.read(lambda reading: reading.keys(ALICE, [small.key_id, large.key_id])) == [small]
    await limit_pages(store, 10_000)
    await put(store, large)
    assert await store.expired_keys(NOW, 1) == []


async def test_a_transaction_that_failed_cannot_go_on(store: SqlStore) -> None:
    """SQLite ends it by itself when the disk is full: whatever followed would be committed alone."""
    large = replace(key("large"), material=material(b"\x01x" * 1_000_000))
    await put(store)
    await limit_pages(store, 100)

    def go_on(writing: SqlWriting) -> None:
        writing.add_key(key("before"))
        with pytest.raises(StoreUnavailable):
            writing.add_key(large)
        with pytest.raises(StoreUnavailable):
            writing.add_key(key("after"))

    with pytest.raises(StoreUnavailable):
        await store.write(go_on)
    assert await store.read(lambda reading: reading.count_keys(ALICE, NOW)) == 0


async def limit_pages(store: SqlStore, most: int) -> None:
    # A limit is the connection's, and there is one that writes.
    def limit(writing: SqlWriting) -> None:
        writing.connection.exec_driver_sql(f"PRAGMA max_page_count={most}")

    await store.write(limit)
