"""The background pass: rows come to say what is already true."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import MaterialUndecryptable, StoreUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import Instant, later
from hsmkms.core.keys import KeyState, Origin
from hsmkms.core.ports import Tombstone
from hsmkms.core.tickets import TicketState
from hsmkms.store.writing import SqlWriting
from tests.service.house import DAY, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hsmkms.core.keys import Key
    from tests.service.house import House


async def test_expired_material_is_removed_with_its_event_and_not_before(house: House) -> None:
    key_id = await house.key()
    valid_to = later(house.clock.now(), seconds=60)
    await house.imported(key_id, valid_to=valid_to)
    house.clock.set(Instant(valid_to - 1))
    await house.sweeper.sweep()
    assert (await house.key_row(key_id)).material is not None
    house.clock.set(valid_to)
    await house.sweeper.sweep()
    await house.sweeper.sweep()
    assert (await house.key_row(key_id)).material is None
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    [event] = await house.events(EventTag.MATERIAL_EXPIRED)
    assert (event.actor, event.key_id, event.at, event.detail) == ("sweeper", key_id, valid_to, {"valid_to": valid_to})


async def test_more_expired_keys_than_one_batch_holds_are_all_removed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsmkms.service.sweeping._BATCH", 2)
    valid_to = later(house.clock.now(), seconds=60)
    for _ in range(5):
        await house.imported(await house.key(), valid_to=valid_to)
    house.clock.set(valid_to)
    await house.sweeper.expire_material()
    assert len(await house.events(EventTag.MATERIAL_EXPIRED)) == 5


async def test_a_key_whose_deletion_is_due_leaves_a_tombstone_and_its_event_and_not_before(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    created = (await house.key_row(key_id)).created_at
    due = await house.schedule(key_id)
    house.clock.set(Instant(due - 1))
    await house.sweeper.sweep()
    assert (await house.key_row(key_id)).material is not None
    house.clock.set(due)
    await house.sweeper.sweep()
    await house.sweeper.sweep()
    assert await house.sql.find_key(key_id) is None
    left = Tombstone(key_id, house.caller.account.name, Origin.EXTERNAL, created, due)
    assert await house.sql.find_tombstone(key_id) == left
    [event] = await house.events(EventTag.KEY_DELETED)
    assert (event.actor, event.key_id, event.at) == ("sweeper", key_id, due)
    assert event.detail == {"due": due, "had_material": True}
    assert await house.events(EventTag.MATERIAL_IMPORTED), "the trail outlives the key"


async def test_more_due_keys_than_one_batch_holds_are_all_deleted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsmkms.service.sweeping._BATCH", 2)
    for _ in range(5):
        due = await house.schedule(await house.key())
    house.clock.set(due)
    await house.sweeper.delete_keys()
    assert len(await house.events(EventTag.KEY_DELETED)) == 5


async def test_the_tickets_of_a_due_key_go_before_it_a_few_at_a_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_ids = [await house.key() for _ in range(2)]
    for key_id in key_ids:
        for _ in range(5):
            await house.parameters(key_id)
        due = await house.schedule(key_id)
    monkeypatch.setattr("hsmkms.service.sweeping._MOST_TICKETS", 3)
    removed, delete_key = [], SqlWriting.delete_key

    def delete(writing: SqlWriting, key: Key, deleted_at: Instant) -> None:
        removed.append(writing.remove_tickets(key.key_id, 100))
        delete_key(writing, key, deleted_at)

    monkeypatch.setattr(SqlWriting, "delete_key", delete)
    house.clock.set(due)
    await house.sweeper.delete_keys()
    assert removed == [0, 0], "what goes together with a key must be little"


async def test_a_deletion_whose_event_cannot_be_written_did_not_happen(house: House) -> None:
    key_id = await house.key()
    house.clock.set(await house.schedule(key_id))
    before = await house.key_row(key_id)
    house.store.break_append = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await house.sweeper.delete_keys()
    assert await house.key_row(key_id) == before
    assert await house.sql.find_tombstone(key_id) is None


async def test_a_deletion_cancelled_during_a_pass_deletes_nothing(house: House) -> None:
    key_id = await house.key()
    due = await house.schedule(key_id)

    async def seen_before(_now: Instant, limit: int) -> list[object]:
        found: list[object] = [*await house.sql.due_deletions(due, limit)]
        if found:
            await house.cancel(key_id)
        return found

    house.store.due_deletions = seen_before  # type: ignore[assignment]
    await house.sweeper.delete_keys()
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    assert await house.events(EventTag.KEY_DELETED) == []


async def test_an_overdue_ticket_lapses_its_pair_ends_and_the_event_says_so(house: House) -> None:
    issued = await house.parameters(await house.key())
    house.clock.set(Instant(issued.deadline - 1))
    await house.sweeper.sweep()
    assert (await house.ticket(issued)).state is TicketState.ISSUED
    house.clock.set(issued.deadline)
    await house.sweeper.sweep()
    await house.sweeper.sweep()
    pair = await house.pair(issued)
    assert (await house.ticket(issued)).state is TicketState.LAPSED
    assert (pair.record, pair.live) == (None, 0)
    [event] = await house.events(EventTag.TICKET_LAPSED)
    assert (event.actor, event.key_id) == ("sweeper", issued.key_id)


async def test_a_ticket_left_exhausted_by_a_killed_process_lapses(
    housed: Callable[..., Awaitable[House]],
) -> None:
    class Killed(BaseException):
        pass

    async def kill() -> None:
        raise Killed

    house = await housed(Settings(max_attempts=1))
    command = house.command(await house.parameters(await house.key()))
    house.hsm.before_judging = kill
    with pytest.raises(Killed):
        await house.run(command)
    assert (await house.ticket(command)).state is TicketState.ISSUED
    await house.sweeper.sweep()
    assert (await house.ticket(command)).state is TicketState.LAPSED
    assert (await house.pair(command)).record is None


async def test_a_spent_ticket_stays_spent_after_its_deadline(house: House) -> None:
    command = await house.imported(await house.key())
    house.clock.advance(DAY)
    await house.sweeper.sweep()
    assert (await house.ticket(command)).state is TicketState.SPENT
    assert await house.events(EventTag.TICKET_LAPSED) == []


@pytest.mark.parametrize("way", ["success", "exhaustion", "void", "deadline"])
async def test_the_private_half_is_gone_from_the_database_files_after_every_end_of_a_ticket(
    house: House, tmp_path: Path, way: str
) -> None:
    key_id = await house.key()
    issued = await house.parameters(key_id)
    record = (await house.pair(issued)).record
    assert record is not None
    assert _found(record, tmp_path)
    if way == "success":
        await house.run(house.command(issued))
    elif way == "exhaustion":
        bad = house.command(issued)
        house.hsm.before_judging = _refuse
        for _ in range(10):
            with pytest.raises(MaterialUndecryptable):
                await house.run(bad)
    elif way == "void":
        for _ in range(3):
            house.clock.advance(1)
            await house.parameters(key_id)
    else:
        house.clock.set(issued.deadline)
    await house.sweeper.sweep()
    assert (await house.pair(issued)).record is None
    assert not _found(record, tmp_path)


async def _refuse() -> None:
    raise MaterialUndecryptable


def _found(needle: bytes, folder: Path) -> bool:
    return any(needle in path.read_bytes() for path in folder.glob("hsmkms.db*"))


@pytest.mark.parametrize("way", ["deletion", "expiry", "replacement", "end of the key"])
async def test_removed_material_is_gone_from_the_database_files(house: House, tmp_path: Path, way: str) -> None:
    key_id = await house.key()
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=5))
    material = (await house.key_row(key_id)).material
    assert material is not None
    assert _found(material.record, tmp_path)
    if way == "deletion":
        await house.delete(key_id)
    elif way == "expiry":
        house.clock.advance(5)
    elif way == "replacement":
        await house.imported(key_id)
    else:
        house.clock.set(await house.schedule(key_id))
    await house.sweeper.sweep()
    assert not _found(material.record, tmp_path)


async def test_an_idle_shared_pair_ends_when_it_is_too_old_for_another_ticket(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(tickets_per_pair=3))
    command = await house.imported(await house.key())
    house.clock.advance(DAY)
    await house.sweeper.sweep()
    assert (await house.pair(command)).record is not None, "at this instant it is not opened before"
    house.clock.advance(1)
    await house.sweeper.sweep()
    pair = await house.pair(command)
    assert (pair.record, pair.closed) == (None, True)


async def test_a_shared_pair_lives_as_long_as_the_ticket_that_came_last(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(tickets_per_pair=3))
    await house.parameters(await house.key())
    house.clock.advance(DAY - 1)
    last_key = await house.key()
    last = await house.parameters(last_key)
    house.clock.advance(DAY - 1)
    await house.sweeper.sweep()
    assert (await house.pair(last)).live == 1
    await house.run(house.command(last))
    assert await house.state(last_key) is KeyState.ENABLED


async def test_a_row_that_stays_as_it_is_does_not_hold_up_the_pass(house: House) -> None:
    key_id = await house.key()
    valid_to = later(house.clock.now(), seconds=60)
    await house.imported(key_id, valid_to=valid_to)
    found = await house.sql.expired_keys(valid_to, 10)
    assert len(found) == 1

    async def found_for_ever(_now: Instant, _limit: int) -> list[object]:
        return list(found)

    house.store.expired_keys = found_for_ever  # type: ignore[assignment]
    await house.sweeper.expire_material()
    assert (await house.key_row(key_id)).material is not None


async def test_a_step_that_fails_is_logged_and_the_others_still_happen(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    key_id = await house.key()
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=5))
    house.clock.advance(5)

    async def away(_now: Instant, _limit: int) -> list[object]:
        raise StoreUnavailable

    house.store.overdue_tickets = away  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        await house.sweeper.sweep()
    assert (await house.key_row(key_id)).material is None
    [line] = [record for record in caplog.records if record.name == "hsmkms.service.sweeping"]
    assert (line.__dict__["step"], line.__dict__["fault"]) == ("lapse_tickets", "StoreUnavailable")


async def test_a_step_with_a_backlog_does_not_keep_the_others_waiting(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=5))
    house.clock.advance(5)

    async def without_end(_now: Instant, _limit: int) -> list[object]:
        await asyncio.get_running_loop().create_future()
        return []

    house.store.overdue_tickets = without_end  # type: ignore[assignment]
    sweeping = asyncio.create_task(house.sweeper.keep_sweeping(0.01))
    try:
        async with asyncio.timeout(30):
            while (await house.key_row(key_id)).material is not None:  # noqa: ASYNC110 - a row has no event to wait for
                await asyncio.sleep(0.01)
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)


async def test_a_batch_is_settled_in_one_transaction(house: House) -> None:
    for _ in range(3):
        issued = await house.parameters(await house.key())
    house.clock.set(issued.deadline)
    before = house.store.commits
    await house.sweeper.lapse_tickets()
    assert house.store.commits == before + 1
    assert len(await house.events(EventTag.TICKET_LAPSED)) == 3


async def test_a_clock_set_back_during_a_pass_removes_nothing_that_is_usable_again(house: House) -> None:
    key_id = await house.key()
    valid_to = later(house.clock.now(), seconds=60)
    await house.imported(key_id, valid_to=valid_to)

    async def seen_too_early(_now: Instant, limit: int) -> list[object]:
        return list(await house.sql.expired_keys(valid_to, limit))

    house.store.expired_keys = seen_too_early  # type: ignore[assignment]
    await house.sweeper.expire_material()
    assert await house.state(key_id) is KeyState.ENABLED


async def test_a_defect_in_one_step_does_not_end_the_passes(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_now: Instant, _limit: int) -> list[object]:
        raise TypeError

    house.store.expired_keys = broken  # type: ignore[assignment]
    await house.sweeper.sweep()
    (line,) = [vars(each) for each in caplog.records if each.levelname == "ERROR"]
    assert line["step"] == "expire_material"


async def test_the_passes_go_on_until_they_are_cancelled(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=5))
    passes = asyncio.create_task(house.sweeper.keep_sweeping(0))
    await asyncio.sleep(0)
    house.clock.advance(5)
    async with asyncio.timeout(10):
        while (await house.key_row(key_id)).material is not None:
            assert not passes.done()
    passes.cancel()
    with pytest.raises(asyncio.CancelledError):
        await passes


async def test_between_two_passes_the_sweeper_rests(house: House) -> None:
    passes = 0
    erase_deleted = house.store.erase_deleted

    async def counted() -> bool:
        nonlocal passes
        passes += 1
        return await erase_deleted()

    house.store.erase_deleted = counted
    sweeping = asyncio.create_task(house.sweeper.keep_sweeping(3600))
    async with asyncio.timeout(10):
        while passes == 0:
            await house.events()
    for _ in range(20):
        await house.events()
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
    assert passes == 1
