"""Uses are counted in leased blocks, and no key is ever used more often than it may be."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core.ciphertexts import MOST_USES
from hsmkms.core.errors import KeyNotFound, KeyUsedUp, StoreUnavailable
from hsmkms.core.ids import KeyId
from hsmkms.service.uses import BLOCK, UseCounter
from tests.service.house import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.ports import Store
    from tests.service.house import House

Result = TypeVar("Result")

KEY = KeyId("one")


class Ledger:
    """What `UseCounter` needs of a store; that the real one counts like this is the contract suite's matter."""

    def __init__(self) -> None:
        self.leased = 0
        self.leases = 0

    def as_store(self) -> Store:
        return cast("Store", self)

    async def write(self, change: Callable[[Ledger], Result]) -> Result:
        await asyncio.sleep(0)
        try:
            return change(self)
        finally:
            await asyncio.sleep(0)

    def lease_uses(self, key_id: KeyId, uses: int, most: int) -> bool:
        assert key_id == KEY
        if self.leased + uses > most:
            return False
        self.leased += uses
        self.leases += 1
        return True

    def uses_leased(self, key_id: KeyId) -> int:
        assert key_id == KEY
        return self.leased


async def _taken(counter: UseCounter, times: int = 1) -> int:
    """Take uses at once, and return how many were granted."""
    results = await asyncio.gather(*(counter.take(KEY) for _ in range(times)), return_exceptions=True)
    assert all(each is None or isinstance(each, KeyUsedUp) for each in results)
    return sum(each is None for each in results)


PROCESSES = st.integers(0, 2)
STEPS = st.lists(st.tuples(PROCESSES, st.sampled_from([0, 1, 1, 1, 2, 5])), max_size=25)


@given(block=st.integers(1, 4), most=st.integers(0, 12), steps=STEPS)
def test_no_key_is_used_more_often_than_it_may_be_in_any_process_and_over_any_restart(
    block: int, most: int, steps: list[tuple[int, int]]
) -> None:
    """Each step is a process, and how many uses it takes at once; none: it is restarted."""

    async def run() -> int:
        ledger = Ledger()

        def start() -> UseCounter:
            return UseCounter(ledger.as_store(), block=block, most=most)

        processes = [start() for _ in range(3)]
        granted = 0
        for process, times in steps:
            if times:
                granted += await _taken(processes[process], times)
            else:
                processes[process] = start()
            assert granted <= ledger.leased <= most
        return granted

    asyncio.run(run())


@given(block=st.integers(1, 5), most=st.integers(0, 20))
def test_one_process_that_never_ends_gets_every_whole_block(block: int, most: int) -> None:
    counter = UseCounter(Ledger().as_store(), block=block, most=most)

    async def run() -> list[int]:
        return [await _taken(counter) for _ in range(most + 3)]

    whole = most // block * block
    assert asyncio.run(run()) == [1] * whole + [0] * (most + 3 - whole)


async def test_those_who_wait_share_a_lease() -> None:
    ledger = Ledger()
    counter = UseCounter(ledger.as_store(), block=10, most=100)
    assert await _taken(counter, 10) == 10
    assert ledger.leases == 1
    assert await _taken(counter, 11) == 11
    assert ledger.leases == 3


async def test_the_bound_divides_into_blocks_without_a_rest() -> None:
    assert MOST_USES % BLOCK == 0


async def test_whoever_is_cancelled_does_not_take_the_lease_from_the_others() -> None:
    ledger = Ledger()
    counter = UseCounter(ledger.as_store(), block=10, most=10)
    first, second = [asyncio.create_task(counter.take(KEY)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await second
    assert ledger.leases == 1
    assert await _taken(counter, 20) == 9, "one was taken, and none was lost with the one who left"


async def test_the_lease_of_the_key_longest_unused_is_the_first_to_be_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsmkms.service.uses.MOST_KEPT", 2)
    first, second, third = [await house.key() for _ in range(3)]
    counter = house.use_counter()
    for key_id in (first, second, first, third, first):
        await counter.take(key_id)
    assert [await house.uses(each) for each in (first, second, third)] == [10, 10, 10]
    await counter.take(second)
    assert await house.uses(second) == 20


# --- on the real store --------------------------------------------------------------------------------------


async def test_several_processes_on_one_database_never_use_a_key_more_often_than_it_may_be(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(uses_leased_at_once=3, most_uses=20))
    key_id = await house.key()
    counters = [house.use_counter() for _ in range(3)]
    takes = [counter.take(key_id) for _ in range(20) for counter in counters]
    results = await asyncio.gather(*takes, return_exceptions=True)
    assert {type(each) for each in results} == {type(None), KeyUsedUp}
    assert sum(each is None for each in results) == await house.uses(key_id) == 18


async def test_a_key_that_vanished_is_not_one_that_is_used_up(housed: Callable[..., Awaitable[House]]) -> None:
    house = await housed(Settings(uses_leased_at_once=2, most_uses=2))
    key_id = await house.key()
    counter = house.use_counter()
    await counter.take(key_id)
    house.clock.set(await house.schedule(key_id))
    await house.sweeper.sweep()
    await counter.take(key_id)
    for each in (counter, house.use_counter()):
        with pytest.raises(KeyNotFound):
            await each.take(key_id)


async def test_a_key_of_which_less_than_a_block_may_be_used_is_there_all_the_same(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(uses_leased_at_once=2, most_uses=1))
    key_id = await house.key()
    with pytest.raises(KeyUsedUp):
        await house.use_counter().take(key_id)


async def test_what_was_not_used_of_a_block_is_lost_with_its_process_and_never_used_twice(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(uses_leased_at_once=4, most_uses=10))
    key_id = await house.key()
    for _ in range(2):
        await house.use_counter().take(key_id)
    with pytest.raises(KeyUsedUp):
        await house.use_counter().take(key_id)
    assert await house.uses(key_id) == 8


async def test_a_lease_that_failed_fails_those_who_waited_and_nobody_after_them(house: House) -> None:
    key_id = await house.key()
    counter = house.use_counter()
    house.store.break_commit = StoreUnavailable()
    results = await asyncio.gather(*(counter.take(key_id) for _ in range(5)), return_exceptions=True)
    assert {type(each) for each in results} == {StoreUnavailable}
    assert await house.uses(key_id) == 0
    house.store.break_commit = None
    await counter.take(key_id)
    assert await house.uses(key_id) == 10


async def test_a_lease_of_which_nobody_knows_whether_it_was_committed_is_not_used(house: House) -> None:
    key_id = await house.key()
    counter = house.use_counter()
    house.store.break_after_commit = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await counter.take(key_id)
    house.store.break_after_commit = None
    await counter.take(key_id)
    assert await house.uses(key_id) == 20


async def test_a_lease_is_taken_once_for_many_uses(house: House) -> None:
    key_id = await house.key()
    counter = house.use_counter()
    before = house.store.commits
    await asyncio.gather(*(counter.take(key_id) for _ in range(10)))
    assert house.store.commits == before + 1
