"""The pool of wrapping pairs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import TokenUnavailable
from hsmkms.core.material import Edition
from hsmkms.core.records import split_head
from hsmkms.service.pairs import PairPool
from tests.service.counted_hsm import CountedHsm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hsmkms.core.records import RecordIdentity
    from hsmkms.core.tickets import FreshPair


@asynccontextmanager
async def filling(pool: PairPool) -> AsyncIterator[None]:
    task = asyncio.create_task(pool.keep_filled())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the pool tells nobody when it is full
            await asyncio.sleep(0)


def a_pool(hsm: CountedHsm, *, ready_pairs: int = 3, patience_seconds: float = 10.0) -> PairPool:
    return PairPool(hsm, Edition.FIPS, ready_pairs=ready_pairs, patience_seconds=patience_seconds)


async def test_the_pool_fills_up_and_refills_what_was_taken() -> None:
    hsm = CountedHsm(Edition.FIPS)
    pool = a_pool(hsm)
    async with filling(pool):
        await until(lambda: pool.level == 3)
        assert len(hsm.pairs_made) == 3
        await pool.take()
        await until(lambda: len(hsm.pairs_made) == 4)
        await until(lambda: pool.level == 3)


async def test_without_a_stock_each_pair_is_made_when_it_is_asked_for() -> None:
    hsm = CountedHsm(Edition.FIPS)
    pool = a_pool(hsm, ready_pairs=0, patience_seconds=2.0)
    async with filling(pool):
        for number in range(3):
            await until(lambda: not pool._wanted.is_set())  # the pool has gone to sleep
            assert len(hsm.pairs_made) == number
            assert (await pool.take()).pair_id == hsm.pairs_made[number]


async def test_no_two_callers_get_the_same_pair() -> None:
    hsm = CountedHsm(Edition.FIPS)
    pool = a_pool(hsm)
    async with filling(pool):
        taken = await asyncio.gather(*(pool.take() for _ in range(20)))
    assert len({pair.pair_id for pair in taken}) == 20
    assert len({pair.public_key for pair in taken}) == 20


async def test_a_caller_waits_no_longer_than_the_patience() -> None:
    hsm = CountedHsm(Edition.FIPS)
    hsm.sick = True
    pool = a_pool(hsm, patience_seconds=0.05)
    async with filling(pool):
        with pytest.raises(TokenUnavailable):
            await pool.take()
    assert pool.level == 0


async def test_a_pair_that_comes_after_patience_ran_out_is_kept_for_the_next() -> None:
    hsm = CountedHsm(Edition.FIPS)
    released = asyncio.Event()

    async def slow() -> None:
        await released.wait()

    hsm.before_pair = slow
    pool = a_pool(hsm, ready_pairs=0, patience_seconds=0.05)
    async with filling(pool):
        with pytest.raises(TokenUnavailable):
            await pool.take()
        released.set()
        await until(lambda: pool.level == 1)
        assert (await pool.take()).pair_id == hsm.pairs_made[0]
    assert len(hsm.pairs_made) == 1


async def test_a_caller_that_gives_up_takes_no_pair_with_it() -> None:
    hsm = CountedHsm(Edition.FIPS)
    pool = a_pool(hsm, ready_pairs=1)
    asked = [asyncio.create_task(pool.take()) for _ in range(3)]
    await asyncio.sleep(0)
    asked[0].cancel()
    async with filling(pool):
        taken = await asyncio.gather(*asked[1:])
        await until(lambda: pool.level == 1)
    assert asked[0].cancelled()
    assert len({pair.pair_id for pair in taken}) == 2
    assert len(hsm.pairs_made) == 3


async def test_after_an_outage_the_pool_fills_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    hsm = CountedHsm(Edition.FIPS)
    hsm.sick = True
    pool = a_pool(hsm, ready_pairs=1)
    async with filling(pool):
        await until(lambda: bool(caplog.records))
        hsm.sick = False
        await pool.take()
    assert caplog.records[0].getMessage() == "no wrapping pair could be made"


async def test_a_pair_put_back_is_handed_out_again_once() -> None:
    hsm = CountedHsm(Edition.FIPS)
    pool = a_pool(hsm, ready_pairs=0)
    async with filling(pool):
        pair = await pool.take()
        pool.put_back(pair)
        assert await pool.take() is pair
        assert (await pool.take()).pair_id != pair.pair_id


class SlowHsm(CountedHsm):
    """A token whose pairs are sealed at once, and given out when the test lets them."""

    def __init__(self, edition: Edition) -> None:
        super().__init__(edition)
        self.let = asyncio.Event()
        self.let.set()

    async def make_pair(self, identity: RecordIdentity, bits: int) -> FreshPair:
        pair = await super().make_pair(identity, bits)
        await self.let.wait()
        return pair


async def test_no_pair_that_an_older_version_sealed_is_given_out() -> None:
    """Neither one that was ready, nor one that was being made, nor one that is put back later."""
    hsm = SlowHsm(Edition.FIPS)
    pool = a_pool(hsm, ready_pairs=2)
    async with filling(pool):
        await until(lambda: pool.level == 2)
        hsm.let.clear()
        taken = await pool.take()
        await until(lambda: len(hsm.pairs_made) == 3)
        hsm.sealing_version = 2
        pool.require_version(2)
        pool.put_back(taken)
        assert pool.level == 0
        hsm.let.set()
        await until(lambda: pool.level == 2)
        assert len(hsm.pairs_made) == 5
        pool.require_version(2)
        assert pool.level == 2
        assert [split_head((await pool.take()).record)[0] for _ in range(2)] == [2, 2]
