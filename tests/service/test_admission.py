"""Who gets a place, in which order, and who is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, get_args

import pytest

from hsmkms.core.errors import ServiceOverloaded
from hsmkms.core.ids import AccountName, KeyId
from hsmkms.service import admission, commands
from hsmkms.service.admission import LANES, Admission, Lane, Places
from hsmkms.service.commands import Command, DescribeService, GetImportParameters, MakeRandom
from tests.service.house import OAEP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ACME: Final = AccountName("acme")
OTHER: Final = AccountName("other")
ONE_OF_EACH: Final[dict[Lane, Command]] = {
    Lane.TOKEN: MakeRandom(1),
    Lane.PAIRS: GetImportParameters(KeyId("0d0466b0-e727-4d9c-b35d-f84bb474a37f"), OAEP, "WrappingAlgorithm"),
    Lane.STORE: DescribeService(),
}


class Yard:
    """Places, and those who hold one until the test lets go of it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.began: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def come(self, whose: str, *names: str) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._hold(whose, name))
        await settled()

    async def _hold(self, whose: str, name: str) -> None:
        async with self.places.held(whose):
            self.began.append(name)
            await self._ends[name].wait()

    async def go(self, name: str) -> None:
        self._ends[name].set()
        await settled()

    async def leave(self, name: str) -> None:
        self._tasks[name].cancel()
        await settled()

    def fate(self, name: str) -> BaseException | None:
        return self._tasks[name].exception()

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def settled() -> None:
    """Let everybody who can go on do so."""
    for _ in range(6):
        await asyncio.sleep(0)


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    made = Yard(Places(1, patience_seconds=60))
    yield made
    await made.close()


async def test_a_thousand_commands_of_one_account_delay_another_s_by_one_turn(yard: Yard) -> None:
    yard.places = Places(1, most_waiting=1000, patience_seconds=60)
    crowd = [f"a{number}" for number in range(1001)]
    await yard.come("acme", *crowd)
    await yard.come("other", "b0", "b1")
    await yard.go("a0")
    await yard.go("a1")
    await yard.go("b0")
    await yard.go("a2")
    assert yard.began == ["a0", "a1", "b0", "a2", "b1"]


async def test_in_one_line_who_came_first_is_first(yard: Yard) -> None:
    await yard.come("acme", "a0", "a1", "a2")
    await yard.go("a0")
    await yard.go("a1")
    assert yard.began == ["a0", "a1", "a2"]


async def test_no_more_than_the_places_are_held_and_all_come_back(yard: Yard) -> None:
    yard.places = Places(2, patience_seconds=60)
    for _ in range(3):
        yard.began.clear()
        await yard.come("acme", "x", "y", "z")
        assert yard.began == ["x", "y"]
        for name in ("x", "y", "z"):
            await yard.go(name)
        assert yard.began == ["x", "y", "z"]


async def test_a_full_line_refuses_at_once_and_only_its_own_account(yard: Yard) -> None:
    yard.places = Places(1, most_waiting=2, patience_seconds=60)
    await yard.come("acme", "a0", "a1", "a2", "a3")
    assert isinstance(yard.fate("a3"), ServiceOverloaded)
    await yard.come("other", "b0")
    await yard.go("a0")
    await yard.go("a1")
    assert yard.began == ["a0", "a1", "b0"]


async def test_nobody_waits_longer_than_the_patience(yard: Yard) -> None:
    yard.places = Places(1, patience_seconds=0.01)
    await yard.come("acme", "a0")
    with pytest.raises(ServiceOverloaded):
        async with yard.places.held("other"):
            pytest.fail("there was no place")
    assert not yard.places._lines, "who went is in no line"
    await yard.go("a0")
    async with yard.places.held("other"):
        pass


async def test_each_waits_for_as_long_as_he_may_whenever_he_came(yard: Yard) -> None:
    yard.places = Places(1, patience_seconds=0.2)
    loop = asyncio.get_running_loop()
    await yard.come("acme", "a0")

    async def seconds_waited(whose: str) -> float:
        came = loop.time()
        with pytest.raises(ServiceOverloaded):
            await yard.places.take(whose)
        return loop.time() - came

    first, second = asyncio.create_task(seconds_waited("acme")), asyncio.create_task(seconds_waited("acme"))
    await asyncio.wait((first,), timeout=0.1)
    others = [asyncio.create_task(seconds_waited(whose)) for whose in ("acme", "other")]
    async with asyncio.timeout(10):
        waited = await asyncio.gather(first, second, *others)
    assert min(waited) >= 0.19


async def test_whoever_leaves_the_line_takes_no_place_along(yard: Yard) -> None:
    await yard.come("acme", "a0", "a1", "a2")
    await yard.leave("a1")
    await yard.go("a0")
    assert yard.began == ["a0", "a2"]
    await yard.go("a2")
    await yard.come("acme", "a3")
    assert yard.began[-1] == "a3"


async def test_a_place_that_comes_at_the_moment_of_leaving_goes_to_the_next(yard: Yard) -> None:
    await yard.come("acme", "a0", "a1", "a2")
    yard._ends["a0"].set()
    await asyncio.sleep(0)  # a0 lets go: the place is a1's, who has not run yet
    assert yard._tasks["a0"].done()
    await yard.leave("a1")
    assert yard.began == ["a0", "a2"]


def test_every_command_that_may_ask_the_token_waits_where_the_token_is_waited_for() -> None:
    asks_the_database_only = {
        *(commands.DescribeKey, commands.DescribeKeys, commands.ListKeys, commands.DescribeService),
        *(commands.SwitchKey, commands.SwitchKeys, commands.RelabelKey, commands.ArchiveKey, commands.DeleteMaterial),
        *(commands.ScheduleDeletion, commands.CancelDeletion, commands.EnableRotation),
    }
    assert set(get_args(Command)) - LANES.keys() == asks_the_database_only


@pytest.mark.parametrize("full", list(Lane))
async def test_a_full_lane_holds_up_no_other(full: Lane) -> None:
    """A token that hangs, or a pool without pairs, delays nothing that needs neither."""
    admitted = Admission(token_sessions=2)
    let_go = asyncio.Event()
    held = 0

    async def hold() -> None:
        nonlocal held
        async with admitted.place(ACME, ONE_OF_EACH[full]):
            held += 1
            await let_go.wait()

    crowd = [asyncio.create_task(hold()) for _ in range(100)]
    await settled()
    assert 0 < held < len(crowd), "the control: it is full"
    for lane in set(Lane) - {full}:
        async with admitted.place(OTHER, ONE_OF_EACH[lane]):
            pass
    let_go.set()
    await asyncio.gather(*crowd)
    assert held == len(crowd)


async def held_by_a_crowd(places: Places) -> int:
    """Return how many of 200 get a place at once."""
    async with asyncio.TaskGroup() as group:
        let_go, held = asyncio.Event(), 0

        async def hold() -> None:
            nonlocal held
            async with places.held("acme"):
                held += 1
                await let_go.wait()

        for _ in range(200):
            group.create_task(hold())
        await settled()
        found = held
        let_go.set()
    return found


async def test_the_token_has_work_for_all_of_its_sessions_and_for_what_it_is_given_ahead() -> None:
    few, many = Admission(token_sessions=1), Admission(64, lambda: 7)
    held = [await held_by_a_crowd(each._lanes[Lane.TOKEN]) for each in (few, many)]
    assert held == [1 + admission.IN_PROCESS, 64 + admission.IN_PROCESS + 7]


async def test_places_come_and_go_with_the_token_s_pace_and_nobody_is_passed_over() -> None:
    more, turns, let_go = 0, list[str](), dict[str, asyncio.Event]()
    places = Places(1, lambda: more, patience_seconds=60)

    async def hold(whose: str) -> None:
        let_go[whose] = asyncio.Event()
        async with places.held(whose):
            turns.append(whose)
            await let_go[whose].wait()

    async with asyncio.TaskGroup() as group:
        for whose in ("first", "second", "third"):
            group.create_task(hold(whose))
            await settled()
        assert turns == ["first"]
        more = 1  # free at once, but for those who wait already
        group.create_task(hold("last"))
        await settled()
        assert turns == ["first"], "whoever comes later goes before nobody"
        let_go["first"].set()
        await settled()
        assert turns == ["first", "second", "third"]
        more = 0  # one holds more than there is now
        let_go["second"].set()
        await settled()
        assert (turns[-1], places.line.in_flight) == ("third", 1)
        let_go["third"].set()
        await settled()
        assert turns[-1] == "last"
        let_go["last"].set()
    assert places.line.in_flight == 0
