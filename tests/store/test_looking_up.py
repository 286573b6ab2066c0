"""Looking up a key that is being changed, in this process and in another one."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnavailable
from hsmkms.store.chaining import Chain
from hsmkms.store.database import SqlStore, open_store
from hsmkms.store.key_cache import KeyCache
from hsmkms.store.sqlite_backend import SqliteBackend
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import ALICE, key, material, put
from tests.contract.store_lookup_contract import looked_up
from tests.store.writer import HeldCommit, driver_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hsmkms.core.keys import Key
    from hsmkms.store.reading import SqlReading
    from hsmkms.store.writing import SqlWriting

Result = TypeVar("Result")


class InThreads(SqliteBackend):
    """One that answers late: between question and answer, others do what they like."""

    async def glance(self, question: Callable[[SqlReading], Result]) -> Result:
        return await self.read(question)


@pytest.fixture(params=[SqliteBackend, InThreads])
async def remembering(request: pytest.FixtureRequest, store: SqlStore, path: Path) -> AsyncIterator[SqlStore]:
    """A handle that trusts for long what it remembers."""
    await put(store)
    keys = KeyCache(seconds=3600)
    opened = SqlStore(request.param(path, Chain(link), keys, busy_seconds=20), keys)
    yield opened
    await opened.close()


def switch(wanted: Key) -> Callable[[SqlWriting], int]:
    def change(writing: SqlWriting) -> int:
        seen = writing.key(ALICE, wanted.key_id)
        assert seen is not None
        return writing.replace_key(seen, seen.switched(on=not seen.switched_on)).revision

    return change


async def test_a_key_is_read_once_and_then_remembered(remembering: SqlStore, store: SqlStore) -> None:
    mine = key()
    assert await looked_up(remembering, mine) is None
    await put(store, mine)
    assert await looked_up(remembering, mine) == mine, "that there was none is not remembered"
    await store.write(switch(mine))
    assert await looked_up(remembering, mine) == mine
    await remembering.write(switch(mine))
    found = await looked_up(remembering, mine)
    assert found is not None
    assert found.revision == 2


async def test_whoever_asks_after_a_change_was_answered_sees_it(remembering: SqlStore) -> None:
    wanted = [key("one"), key("two"), key("three")]
    await put(remembering, *wanted)
    answered = dict.fromkeys((each.key_id for each in wanted), 0)
    looked = dict.fromkeys(answered, 0)
    changing = 6

    async def change(mine: Key) -> None:
        nonlocal changing
        for _ in range(10):
            await seen_anew()
            revision = await remembering.write(switch(mine))
            answered[mine.key_id] = max(answered[mine.key_id], revision)
        changing -= 1

    async def seen_anew() -> None:
        """Let the watchers look in between: on a busy machine all changes may be over before one does."""
        looks = dict(looked)
        while any(looked[each] == count for each, count in looks.items()):  # noqa: ASYNC110 - they share the loop
            await asyncio.sleep(0)

    async def watch(mine: Key) -> int:
        views = set()
        while changing:
            least = answered[mine.key_id]
            found = await looked_up(remembering, mine)
            assert found is not None
            assert found.revision >= least
            views.add(found.revision)
            looked[mine.key_id] += 1
            await asyncio.sleep(0)
        return len(views)

    watching = [asyncio.create_task(watch(mine)) for mine in wanted for _ in range(3)]
    await asyncio.gather(*(change(mine) for mine in wanted for _ in range(2)))
    assert min(await asyncio.gather(*watching)) > 1
    for mine in wanted:
        assert await looked_up(remembering, mine) == await remembering.find_key(mine.key_id)


async def test_what_was_asked_before_a_commit_is_not_remembered_after_it(remembering: SqlStore) -> None:
    mine = key()
    await put(remembering, mine)
    held = HeldCommit(await driver_of(remembering))
    changing = asyncio.create_task(remembering.write(switch(mine)))
    await held.begun()
    before = [await looked_up(remembering, mine) for _ in range(3)]
    assert before == [mine] * 3
    held.let_go.set()
    assert await changing == 1
    found = await looked_up(remembering, mine)
    assert found is not None
    assert found.revision == 1


async def test_what_is_deleted_is_forgotten(remembering: SqlStore) -> None:
    mine = replace(key(), material=material())
    await put(remembering, mine)
    assert await looked_up(remembering, mine) == mine
    await remembering.write(lambda writing: writing.delete_key(mine, mine.created_at))
    assert await looked_up(remembering, mine) is None


async def test_looking_up_leaves_no_view_open(url: str, remembering: SqlStore) -> None:
    """It would be in the way of every erasure."""
    mine = replace(key(), material=material())
    await put(remembering, mine)
    assert await looked_up(remembering, mine) == mine
    hasty = await open_store(url, link=link, busy_seconds=0.2)
    await hasty.write(lambda writing: writing.replace_key(mine, mine.without_material()))
    await hasty.erase_deleted()
    await hasty.close()


async def test_a_file_that_is_locked_for_readers_is_waited_for(url: str, path: Path) -> None:
    await upgrade(url)
    hasty = await open_store(url, link=link, busy_seconds=0.2)
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute("PRAGMA locking_mode=EXCLUSIVE")
        owner.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable):
            await looked_up(hasty, key())
        with pytest.raises(StoreUnavailable):
            await put(hasty)
    mine = key()
    await put(hasty, mine)
    assert await looked_up(hasty, mine) == mine
    await hasty.close()


async def test_a_lock_of_a_moment_is_waited_out_and_not_by_the_event_loop(url: str, path: Path) -> None:
    await upgrade(url)
    patient = await open_store(url, link=link, busy_seconds=20)
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute("PRAGMA locking_mode=EXCLUSIVE")
        owner.execute("BEGIN EXCLUSIVE")
        looking = asyncio.create_task(looked_up(patient, key()))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not looking.done()
    assert await looking is None
    await patient.close()
