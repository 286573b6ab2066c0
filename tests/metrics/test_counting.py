"""The database is counted in the background; what it does not say stays as it was said last."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from hsmkms.core.errors import StoreUnavailable
from hsmkms.metrics.counting import Counting
from tests.fakes.clock import SteppedTimer, StoppedClock
from tests.metrics.examples import COUNTS

if TYPE_CHECKING:
    from hsmkms.core.ids import Instant
    from hsmkms.core.metering import StoreCounts
    from hsmkms.core.ports import Inspection


class Stock:
    """A database that takes as long to count as a test wants, or fails."""

    def __init__(self, timer: SteppedTimer) -> None:
        self.timer = timer
        self.counts_now = COUNTS
        self.takes_seconds = 0.05
        self.fault: Exception | None = None
        self.asked: list[float] = []
        self.asked_thrice = asyncio.Event()

    async def counts(self, _now: Instant) -> StoreCounts:
        self.asked.append(self.timer.seconds())
        if len(self.asked) > 2:
            self.asked_thrice.set()
        self.timer.advance(self.takes_seconds)
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return self.counts_now


@pytest.fixture
def stock() -> Stock:
    return Stock(SteppedTimer())


@pytest.fixture
def counting(stock: Stock) -> Counting:
    return Counting(cast("Inspection", stock), StoppedClock(), stock.timer)


async def test_nothing_is_known_before_it_was_counted(counting: Counting) -> None:
    assert counting.taken is None


@pytest.mark.parametrize("fault", [StoreUnavailable(), RuntimeError("a defect")])
async def test_what_cannot_be_counted_stays_as_it_was_and_grows_old(
    stock: Stock, counting: Counting, fault: Exception
) -> None:
    await counting.count()
    stock.fault, stock.counts_now = fault, replace(COUNTS, keys={})
    stock.timer.advance(100)
    await counting.count()
    assert counting.taken is not None
    assert counting.taken.counts == COUNTS
    assert counting.taken.seconds == pytest.approx(100.1)
    stock.fault = None
    await counting.count()
    assert counting.taken.counts.keys == {}
    assert counting.taken.seconds == pytest.approx(0.05)


@pytest.mark.parametrize(("takes_seconds", "every_seconds"), [(0.05, 15), (0.15, 15), (2.0, 200)])
async def test_it_takes_a_hundredth_of_the_time_at_most(
    stock: Stock, counting: Counting, takes_seconds: float, every_seconds: float
) -> None:
    stock.takes_seconds = takes_seconds
    counted = asyncio.create_task(counting.keep_counting())
    await stock.asked_thrice.wait()
    counted.cancel()
    one, two, three = stock.asked[:3]
    assert two - one == pytest.approx(every_seconds)
    assert three - two == pytest.approx(every_seconds)
