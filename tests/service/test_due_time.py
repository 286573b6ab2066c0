"""A wall clock that leaps deletes nothing: what cannot be undone waits an hour, through restarts as well."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hsmkms.core.errors import HsmkmsError
from hsmkms.core.events import EventTag
from hsmkms.core.ids import later
from hsmkms.core.keys import KeyState
from hsmkms.service.due_time import DueTime, begin
from tests.fakes.clock import RememberedWitness, StoppedClock
from tests.service.house import DAY

if TYPE_CHECKING:
    from tests.service.house import House

HOUR = 3600
YEAR = 365 * DAY


class Watched:
    """A clock, what is remembered of it, and a process that looks at both."""

    def __init__(self) -> None:
        self.clock = StoppedClock()
        self.memory = RememberedWitness()
        begin(self.clock, self.clock, self.memory)
        self.restart()

    def restart(self) -> None:
        self.due = DueTime(self.clock, self.clock, self.memory)

    def trusted(self) -> bool:
        now = self.due.now()
        assert now in {None, self.clock.now()}
        return now is not None


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    caplog.set_level(logging.WARNING, "hsmkms.service.due_time")
    return Watched()


@pytest.mark.parametrize("seconds", [0, 1, 60, -60])
def test_what_a_time_server_corrects_is_no_leap(watched: Watched, seconds: int) -> None:
    assert watched.trusted()
    watched.clock.leap(seconds)
    assert watched.trusted()


@pytest.mark.parametrize("seconds", [60.001, -60.001, YEAR, -YEAR])
def test_after_a_leap_nothing_is_destroyed_for_an_hour(watched: Watched, seconds: float) -> None:
    assert watched.trusted()
    watched.clock.leap(seconds)
    assert not watched.trusted()
    watched.clock.advance(HOUR - 1)
    assert not watched.trusted()
    watched.clock.advance(1)
    assert watched.trusted()


def test_time_that_passes_while_nobody_looks_is_no_leap(watched: Watched) -> None:
    assert watched.trusted()
    watched.clock.advance(30 * DAY)
    assert watched.trusted()


def test_a_leap_is_said_once_with_its_size_and_its_end(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.clock.leap(YEAR)
    for _ in range(3):
        assert not watched.trusted()
    [line] = caplog.records
    assert line.levelno == logging.ERROR
    assert (line.__dict__["seconds"], line.__dict__["until"]) == (YEAR, "2024-11-13T23:13:20+00:00")


def test_setting_the_clock_right_again_is_another_leap(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.clock.leap(YEAR)
    assert not watched.trusted()
    watched.clock.advance(HOUR // 2)
    watched.clock.leap(-YEAR)
    assert not watched.trusted()
    watched.clock.advance(HOUR // 2)
    assert not watched.trusted(), "the hour begins anew"
    watched.clock.advance(HOUR // 2)
    assert watched.trusted()
    assert [line.__dict__["seconds"] for line in caplog.records] == [YEAR, -YEAR]


@pytest.mark.parametrize("jitter", [-0.001, 0.001])
@pytest.mark.parametrize("seconds", [YEAR, -YEAR])
def test_a_millisecond_between_two_clocks_makes_no_second(
    watched: Watched, caplog: pytest.LogCaptureFixture, seconds: int, jitter: float
) -> None:
    assert watched.trusted()
    watched.clock.leap(seconds + jitter)
    assert not watched.trusted()
    assert [line.__dict__["seconds"] for line in caplog.records] == [seconds]


def test_many_small_steps_within_an_hour_are_a_leap(watched: Watched) -> None:
    for _ in range(3):
        assert watched.trusted()
        watched.clock.advance(5)
        watched.clock.leap(30)
    assert not watched.trusted()


def test_small_steps_over_days_are_none(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(48):
        watched.clock.advance(HOUR)
        watched.clock.leap(30)
        assert watched.trusted()
    assert caplog.records == []


@pytest.mark.parametrize("while_it_ran", [True, False])
def test_a_restart_neither_hides_a_leap_nor_ends_the_hour(watched: Watched, while_it_ran: bool) -> None:
    assert watched.trusted()
    watched.clock.leap(YEAR)
    assert not (while_it_ran and watched.trusted())
    watched.restart()
    assert not watched.trusted()
    watched.clock.advance(HOUR - 1)
    watched.restart()
    assert not watched.trusted()
    watched.clock.advance(1)
    assert watched.trusted()


def test_after_a_restart_without_a_leap_nothing_waits(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.clock.advance(DAY)
    watched.restart()
    assert watched.trusted()
    assert caplog.records == []


@pytest.mark.parametrize("forgotten", [True, False])
def test_with_nothing_to_compare_with_an_hour_passes_first(
    watched: Watched, caplog: pytest.LogCaptureFixture, forgotten: bool
) -> None:
    if forgotten:
        watched.memory.witness = None
    else:
        watched.clock.boot = "another boot"
        watched.clock.leap(YEAR)
    watched.restart()
    assert not watched.trusted()
    watched.clock.advance(HOUR)
    assert watched.trusted()
    [line] = caplog.records
    assert line.levelno == logging.WARNING
    assert line.__dict__["until"]


@pytest.mark.parametrize(
    ("member", "beyond"),
    [("trusted_from", 2**62), ("trusted_from", HOUR * 1000 + 1), ("seen_at", 1), ("seen_at", -(2**62))],
)
def test_a_witness_that_cannot_be_true_is_none(
    watched: Watched, caplog: pytest.LogCaptureFixture, member: str, beyond: int
) -> None:
    assert watched.memory.witness is not None
    changed: dict[str, Any] = {member: watched.clock.elapsed() + beyond}
    watched.memory.witness = replace(watched.memory.witness, **changed)
    watched.restart()
    assert not watched.trusted()
    assert len(caplog.records) == 1
    watched.clock.advance(HOUR)
    assert watched.trusted()


def test_a_process_that_finds_the_hour_running_says_so_once(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.clock.leap(YEAR)
    assert not watched.trusted()
    watched.clock.advance(HOUR // 2)
    watched.restart()
    caplog.clear()
    for _ in range(2):
        assert not watched.trusted()
    [line] = caplog.records
    assert line.__dict__["until"] == "2024-11-13T23:13:20+00:00"


async def test_keys_whose_deletion_waits_are_named_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    scheduled, _ = await house.key(), await house.key()
    await house.schedule(scheduled)
    for seconds, named in ((YEAR, [[scheduled]]), (-YEAR, []), (YEAR, [[scheduled]])):
        house.clock.leap(seconds)
        caplog.clear()
        for _ in range(2):
            await house.sweeper.sweep()
        lines = [line for line in caplog.records if line.name == "hsmkms.service.sweeping"]
        assert [line.__dict__["key_ids"] for line in lines] == named
        assert {line.levelno for line in lines} <= {logging.ERROR}


async def test_a_leap_forward_makes_unusable_and_destroys_nothing(house: House) -> None:
    expiring, deleted = await house.key(), await house.key()
    await house.imported(expiring, valid_to=later(house.clock.now(), seconds=DAY))
    await house.imported(deleted)
    ciphertext = await house.encrypted(expiring)
    await house.schedule(deleted)
    house.clock.leap(YEAR)
    for _ in range(2):
        await house.sweeper.sweep()
        assert await house.state(expiring) is KeyState.PENDING_IMPORT
        with pytest.raises(HsmkmsError):
            await house.decrypted(ciphertext)
        with pytest.raises(HsmkmsError):
            await house.state(deleted)
        assert await house.events(EventTag.KEY_DELETED, EventTag.MATERIAL_EXPIRED) == []
        house.clock.advance(HOUR // 3)
    house.clock.leap(-YEAR)
    await house.sweeper.sweep()
    assert await house.decrypted(ciphertext)
    await house.cancel(deleted)
    assert (await house.key_row(deleted)).material is not None


async def test_what_is_due_is_destroyed_when_the_hour_is_over(house: House) -> None:
    expiring, deleted = await house.key(), await house.key()
    await house.imported(expiring, valid_to=later(house.clock.now(), seconds=DAY))
    await house.schedule(deleted)
    house.clock.leap(YEAR)
    await house.sweeper.sweep()
    house.clock.advance(HOUR)
    await house.sweeper.sweep()
    assert (await house.key_row(expiring)).material is None
    assert await house.sql.find_key(deleted) is None


@pytest.mark.parametrize("step", ["expired_keys", "due_deletions"])
async def test_a_leap_during_a_pass_destroys_nothing_either(house: House, step: str) -> None:
    expiring, deleted = await house.key(), await house.key()
    await house.imported(expiring, valid_to=later(house.clock.now(), seconds=DAY))
    await house.schedule(deleted)
    find = getattr(house.sql, step)

    async def leaping(_now: object, limit: int) -> list[object]:
        return list(await find(house.clock.leap(YEAR), limit))

    setattr(house.store, step, leaping)
    await house.sweeper.sweep()
    assert (await house.key_row(expiring)).material is not None
    assert await house.sql.find_key(deleted) is not None
