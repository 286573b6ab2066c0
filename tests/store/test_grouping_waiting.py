"""Those that wait for a transaction: they give up, or they come late, or everything ends meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnavailable
from hsmkms.core.ids import KeyId
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import SECONDS, plan, put
from tests.store.test_grouping import adding, require, together
from tests.store.writer import HeldCommit, aliases, driver_of, locked

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.store.database import SqlStore


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsmkms.store.grouping._BUSY_SECONDS", 60.0)


async def test_one_that_is_cancelled_before_it_has_begun_takes_it_back(store: SqlStore, path: Path) -> None:
    await put(store)
    with locked(path):
        kept, taken_back, late = (asyncio.create_task(store.write(adding(each))) for each in "abc")
        await asyncio.sleep(0)
        taken_back.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taken_back
        assert not kept.done()
    assert await kept == "a"
    assert await late == "c"
    await require(store, path, "a", "c")


async def test_all_may_take_it_back(store: SqlStore, path: Path) -> None:
    await put(store)
    with locked(path):
        waiting = [asyncio.create_task(store.write(adding(each))) for each in "abc"]
        await asyncio.sleep(0)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        assert all(each.cancelled() for each in waiting)
    assert await store.write(adding("d")) == "d"
    await require(store, path, "d")


async def test_one_that_is_cancelled_later_hears_of_it_when_it_is_committed(store: SqlStore, path: Path) -> None:
    await put(store)
    held = HeldCommit(await driver_of(store))
    cancelled, other = (asyncio.create_task(store.write(adding(each))) for each in "ab")
    await held.begun()
    for _ in range(5):
        cancelled.cancel()
        await asyncio.sleep(0)
    assert not cancelled.done()
    held.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await other == "b"
    await require(store, path, "a", "b")


async def test_those_that_come_during_a_commit_are_the_next_group(store: SqlStore, path: Path) -> None:
    await put(store)
    driver = await driver_of(store)
    held = HeldCommit(driver)
    first = asyncio.create_task(store.write(adding("a")))
    await held.begun()
    others = [asyncio.create_task(store.write(adding(each))) for each in "bcd"]
    await asyncio.sleep(0)
    assert aliases(path) == set()
    held.let_go.set()
    assert await first == "a"
    assert await asyncio.gather(*others) == ["b", "c", "d"]
    await require(store, path, "a", "b", "c", "d")


async def test_the_event_loop_is_free_while_another_process_has_the_lock(url: str, store: SqlStore, path: Path) -> None:
    await put(store)
    hasty = await open_store(url, link=link, busy_seconds=0.4)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with locked(path):
        started = time.monotonic()
        found = await together(hasty, adding("a"), adding("b"))
        waited = time.monotonic() - started
    ticking.cancel()
    assert [type(each) for each in found] == [StoreUnavailable] * 2
    assert waited > 0.35
    assert ticks > 3
    assert await together(hasty, adding("a"), adding("b")) == ["a", "b"]
    await hasty.close()
    await require(store, path, "a", "b")


async def test_one_that_came_later_waits_longer(url: str, store: SqlStore, path: Path) -> None:
    await put(store)
    hasty = await open_store(url, link=link, busy_seconds=1.0)
    with locked(path):
        first = asyncio.create_task(hasty.write(adding("a")))
        await asyncio.sleep(0.7)  # the time that passes is what is tested
        second = asyncio.create_task(hasty.write(adding("b")))
        with pytest.raises(StoreUnavailable):
            await first
        assert not second.done()
    assert await second == "b"
    await hasty.close()
    await require(store, path, "b")


async def test_closing_waits_for_what_is_under_way(url: str, store: SqlStore, path: Path) -> None:
    await put(store)
    closing_store = await open_store(url, link=link, busy_seconds=20)
    held = HeldCommit(await driver_of(closing_store))
    writing = [asyncio.create_task(closing_store.write(adding(each))) for each in "ab"]
    await held.begun()
    late = asyncio.create_task(closing_store.write(adding("c")))
    await asyncio.sleep(0)
    ending = asyncio.create_task(closing_store.close())
    await asyncio.sleep(0)
    assert not ending.done()
    held.let_go.set()
    await ending
    assert await asyncio.gather(*writing, late) == ["a", "b", "c"]
    await require(store, path, "a", "b", "c")


@pytest.mark.timeout(60)
def test_an_event_loop_that_ends_in_the_middle_of_a_commit_does_not_wait_for_ever(url: str, path: Path) -> None:
    """It cancels every task at once: whoever waits, and what would answer him."""

    async def leave_in_the_middle() -> tuple[SqlStore, list[asyncio.Task[object]]]:
        await upgrade(url)
        store = await open_store(url, link=link, busy_seconds=20)
        await put(store)
        held = HeldCommit(await driver_of(store))
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(store.write(adding(each))) for each in "ab"]
        await held.begun()
        tasks.append(asyncio.create_task(store.write(adding("c"))))
        await asyncio.sleep(0)
        threading.Timer(0.2, held.let_go.set).start()
        return store, tasks

    store, tasks = asyncio.run(leave_in_the_middle())
    assert all(each.cancelled() for each in tasks)
    asyncio.run(store.close())
    assert aliases(path) == {"a", "b"}


async def test_who_gives_up_waiting_for_the_exclusive_lock_does_not_keep_it(store: SqlStore, path: Path) -> None:
    await put(store)

    async def initialise() -> None:
        async with store.initialising(plan()):
            raise AssertionError

    with locked(path) as intruder:
        giving_up = asyncio.create_task(initialise())
        for _ in range(5):  # to where it waits for the lock
            await asyncio.sleep(0)
        giving_up.cancel()
        intruder.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await giving_up
        intruder.execute("BEGIN IMMEDIATE")
    assert await store.write(adding("a")) == "a"


async def test_a_change_waits_no_longer_for_its_own_process_than_for_others(url: str, store: SqlStore) -> None:
    hasty = await open_store(url, link=link, busy_seconds=0.1)
    async with hasty.initialising(plan()):
        async with asyncio.timeout(SECONDS):
            found = await together(hasty, adding("a"), adding("b"))
        assert [type(each) for each in found] == [StoreUnavailable] * 2
    await put(hasty)
    assert await hasty.write(adding("a")) == "a"
    await hasty.close()
    assert await store.find_key(KeyId("absent")) is None


@pytest.mark.parametrize("rounds", range(1, 8))
async def test_an_event_loop_that_closes_leaves_no_change_without_an_answer(
    store: SqlStore, path: Path, rounds: int
) -> None:
    """It cancels every task at once, between whichever two steps; and somebody writes as his last act."""
    await put(store)

    async def write_at_the_end() -> None:
        try:
            while True:  # noqa: ASYNC110 - it is to be ready to run, not to wait
                await asyncio.sleep(0)
        finally:
            await store.write(adding("last"))

    ending = [asyncio.create_task(write_at_the_end()), asyncio.create_task(store.write(adding("first")))]
    for _ in range(rounds):
        await asyncio.sleep(0)
    ours = asyncio.current_task()
    for each in asyncio.all_tasks() - {ours}:
        each.cancel()
    _, hanging = await asyncio.wait(ending, timeout=SECONDS)
    assert not hanging
    assert "last" in aliases(path)


@pytest.mark.parametrize("rounds", range(7))
async def test_a_change_waits_no_longer_than_it_may_whoever_takes_the_turn(store: SqlStore, rounds: int) -> None:
    await put(store)
    writer = store._backend._writer  # type: ignore[attr-defined]
    writer._busy_seconds = 0.05
    let_go = asyncio.Event()

    async def hold() -> None:
        async with writer.exclusive(20):
            await let_go.wait()

    await writer._turn.acquire()
    holding = asyncio.create_task(hold())
    await asyncio.sleep(0)
    change = asyncio.create_task(store.write(adding("a")))
    for _ in range(rounds):
        await asyncio.sleep(0)
    writer._turn.release()
    done, _ = await asyncio.wait((change,), timeout=SECONDS)
    let_go.set()
    await holding
    assert done, "it was answered while the other still held the turn"
    assert isinstance(change.exception(), StoreUnavailable)
