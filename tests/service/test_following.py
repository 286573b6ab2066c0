"""A service that runs goes along when its deployment's sealing keys change."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core import records
from hsmkms.core.errors import StoreUnavailable, TokenGaveNoAnswer, TokenUnusable
from hsmkms.core.material import Edition
from hsmkms.service.following import Follower
from hsmkms.service.pairs import PairPool
from hsmkms.service.rotating import GRACE_SECONDS
from tests.fakes.clock import SteppedTimer
from tests.service.sealed import SealedHouse
from tests.service.test_pairs import filling, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hsmkms.core.custody import Deployment
    from hsmkms.store.database import SqlStore


ALL_HAVE_THEM: Final = "the sealing keys changed, and all hosts have them"


class Hosts:
    """`core.ports.Adopter` that notes what it adopted, and fails on demand."""

    def __init__(self) -> None:
        self.adopted: list[Deployment] = []
        self.failing: BaseException | None = None

    async def adopt(self, deployment: Deployment) -> None:
        if self.failing is not None:
            raise self.failing
        self.adopted.append(deployment)


class Followed:
    """A service with one follower, and an operator who does without it."""

    def __init__(self, house: SealedHouse, deployment: Deployment) -> None:
        self.house = house
        self.hosts = Hosts()
        self.timer = SteppedTimer()
        self.pairs = PairPool(house.hsm, Edition.FIPS, ready_pairs=1, patience_seconds=10)
        self.follower = Follower(house.store, self.hosts, self.pairs, self.timer, deployment)


@pytest.fixture
async def followed(opened: Callable[[], Awaitable[SqlStore]]) -> AsyncIterator[Followed]:
    house = SealedHouse(await opened())
    await house.initialise()
    deployment = await house.store.deployment()
    assert deployment is not None
    made = Followed(house, deployment)
    async with filling(made.pairs):
        yield made


async def test_what_changed_is_adopted_once(followed: Followed) -> None:
    await followed.follower.follow()
    assert followed.hosts.adopted == []
    second = await followed.house.rotate()
    await followed.follower.follow()
    await followed.follower.follow()
    assert followed.hosts.adopted == [second]
    followed.house.clock.advance(GRACE_SECONDS)
    await followed.house.retire(1)
    await followed.follower.follow()
    assert [each.sealing_versions for each in followed.hosts.adopted] == [(1, 2), (2,)]


async def test_it_is_looked_at_once_a_second(followed: Followed) -> None:
    following = asyncio.create_task(followed.follower.keep_following())
    await until(lambda: len(followed.timer.slept_until) >= 3)
    following.cancel()
    assert followed.timer.slept_until[:3] == [1001.0, 1002.0, 1003.0]


async def test_ready_pairs_of_before_are_thrown_away_when_all_hosts_have_the_new_keys(followed: Followed) -> None:
    await until(lambda: followed.pairs.level == 1)
    await followed.house.rotate()
    followed.hosts.failing = TokenGaveNoAnswer()
    await followed.follower.follow()
    assert followed.pairs.level == 1
    followed.hosts.failing = None
    await followed.follower.follow()
    assert followed.pairs.level == 0
    assert records.split_head((await followed.pairs.take()).record)[0] == 2


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        (TokenGaveNoAnswer(), logging.WARNING),
        (TokenUnusable("It is not."), logging.ERROR),
        (ZeroDivisionError(), logging.ERROR),
    ],
)
async def test_what_fails_is_said_once_a_minute_and_tried_again(
    followed: Followed, fault: BaseException, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    second = await followed.house.rotate()
    followed.hosts.failing = fault
    for _ in range(61):
        await followed.follower.follow()
        followed.timer.advance(1)
    said = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert [(each.levelno, each.message.partition(";")[0]) for each in said] == [
        (level, "the sealing keys could not be looked at or adopted")
    ] * 2
    assert ALL_HAVE_THEM not in caplog.messages
    followed.hosts.failing = None
    await followed.follower.follow()
    assert followed.hosts.adopted == [second]
    assert caplog.messages.count(ALL_HAVE_THEM) == 1


async def test_a_database_that_does_not_answer_ends_nothing(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = await followed.house.rotate()

    async def fail() -> None:
        raise StoreUnavailable

    with monkeypatch.context() as away:
        away.setattr(followed.house.store, "deployment", fail)
        await followed.follower.follow()
    assert followed.hosts.adopted == []
    await followed.follower.follow()
    assert followed.hosts.adopted == [second]
