"""Attempts: counted before the token is called, and given back only when the token was at fault."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import (
    ImportTokenOver,
    MaterialUndecryptable,
    RecordBroken,
    StoreUnavailable,
    TicketEnd,
    TokenNotAsked,
    TokenUnavailable,
)
from hsmkms.core.events import EventTag
from hsmkms.core.keys import KeyState
from hsmkms.core.tickets import MOST_GIVEN_BACK, MOST_PAIR_FAILURES, TicketState
from hsmkms.service.rows import pair_of, same_ticket
from tests.service.house import Killed, Settings, end_of, refusal, undecryptable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.ports import Reading
    from hsmkms.store.database import SqlStore
    from tests.service.house import House


async def test_ten_failures_exhaust_a_ticket_and_end_its_pair(house: House) -> None:
    good = house.command(await house.parameters(await house.key()))
    for count in range(10):
        assert (await house.ticket(good)).attempts == count
        assert isinstance(await refusal(house, undecryptable(good)), MaterialUndecryptable)
    assert await end_of(house, good) is TicketEnd.EXHAUSTED
    assert (await house.ticket(good)).state is TicketState.LAPSED
    assert (await house.pair(good)).record is None
    assert len(await house.events(EventTag.MATERIAL_REFUSED)) == 10
    [lapsed] = await house.events(EventTag.TICKET_LAPSED)
    assert lapsed.detail["attempts"] == 10


async def test_the_tenth_attempt_may_still_succeed(house: House) -> None:
    key_id = await house.key()
    good = house.command(await house.parameters(key_id))
    for _ in range(9):
        await refusal(house, undecryptable(good))
    await house.run(good)
    assert await house.state(key_id) is KeyState.ENABLED


@pytest.mark.parametrize("most", [1, 3])
async def test_the_configuration_may_allow_fewer_attempts(housed: Callable[..., Awaitable[House]], most: int) -> None:
    house = await housed(Settings(max_attempts=most))
    good = house.command(await house.parameters(await house.key()))
    for _ in range(most):
        await refusal(house, undecryptable(good))
    assert await end_of(house, good) is TicketEnd.EXHAUSTED


async def test_sixty_four_failing_imports_at_once_reach_the_token_ten_times(house: House) -> None:
    bad = undecryptable(house.command(await house.parameters(await house.key())))
    faults = await asyncio.gather(*(refusal(house, undecryptable(bad, number)) for number in range(64)))
    assert house.hsm.calls == 10
    assert sum(isinstance(fault, MaterialUndecryptable) for fault in faults) == 10
    assert {fault.end for fault in faults if isinstance(fault, ImportTokenOver)} == {TicketEnd.EXHAUSTED}
    ticket, pair = await house.ticket(bad), await house.pair(bad)
    assert (ticket.attempts, ticket.state, pair.failures, pair.live) == (10, TicketState.LAPSED, 10, 0)
    assert len(await house.events(EventTag.TICKET_LAPSED)) == 1


async def test_two_processes_on_one_database_count_the_same_attempts(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house, other = await housed(), await housed()
    other.hsm.share_with(house.hsm)
    bad = undecryptable(house.command(await house.parameters(await house.key())))
    faults = await asyncio.gather(
        *(refusal(each, undecryptable(bad, number)) for number in range(16) for each in (house, other))
    )
    assert {type(fault) for fault in faults} == {MaterialUndecryptable, ImportTokenOver}
    assert house.hsm.calls + other.hsm.calls == 10
    assert (await house.ticket(bad)).attempts == 10


async def test_two_processes_asked_for_the_same_import_bring_one_material(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house, other = await housed(), await housed()
    other.hsm.share_with(house.hsm)
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    await asyncio.gather(*(each.run(command) for _ in range(3) for each in (house, other)))
    assert len(await house.events(EventTag.MATERIAL_IMPORTED)) == 1
    assert await other.state(key_id) is KeyState.ENABLED


async def test_an_attempt_is_committed_before_the_token_is_called(
    house: House, opened: Callable[[], Awaitable[SqlStore]]
) -> None:
    command = house.command(await house.parameters(await house.key()))
    before = await house.ticket(command)
    another_process = await opened()
    seen: list[tuple[int, int]] = []

    def counted(reading: Reading) -> tuple[int, int]:
        ticket = same_ticket(reading, before)
        return ticket.attempts, pair_of(reading, ticket).failures

    async def look() -> None:
        seen.append(await another_process.read(counted))

    house.hsm.before_judging = look
    await house.run(command)
    assert seen == [(1, 1)]


async def test_killed_during_the_token_call_the_attempt_stays_counted_and_ten_kills_exhaust(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))

    async def kill() -> None:
        raise Killed

    house.hsm.before_judging = kill
    for count in range(10):
        with pytest.raises(Killed):
            await house.run(command)
        assert (await house.ticket(command)).attempts == count + 1
    house.hsm.before_judging = house.hsm.after_judging
    assert await end_of(house, command) is TicketEnd.EXHAUSTED
    assert await house.state(key_id) is KeyState.PENDING_IMPORT


async def test_killed_between_the_token_and_the_commit_nothing_was_imported_and_the_ticket_is_good(
    house: House,
) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))

    async def kill() -> None:
        house.store.break_commit = Killed()

    house.hsm.after_judging = kill
    with pytest.raises(Killed):
        await house.run(command)
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    assert (await house.key_row(key_id)).fingerprint is None
    assert (await house.ticket(command)).state is TicketState.ISSUED
    assert await house.events(EventTag.MATERIAL_IMPORTED) == []
    house.store.break_commit = None
    house.hsm.after_judging = house.hsm.before_judging
    await house.run(command)
    assert await house.state(key_id) is KeyState.ENABLED
    assert (await house.pair(command)).record is None


async def test_killed_after_the_commit_the_import_happened_and_its_repetition_says_so(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))

    async def kill() -> None:
        house.store.break_after_commit = Killed()

    house.hsm.after_judging = kill
    with pytest.raises(Killed):
        await house.run(command)
    house.store.break_after_commit = None
    assert await house.state(key_id) is KeyState.ENABLED
    await house.run(command)
    assert house.hsm.calls == 1


async def test_a_store_that_fails_at_the_commit_answers_unavailable_and_changes_nothing(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))

    async def fail() -> None:
        house.store.break_commit = StoreUnavailable()

    house.hsm.after_judging = fail
    assert isinstance(await refusal(house, command), StoreUnavailable)
    house.store.break_commit = None
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    assert (await house.ticket(command)).attempts == 1


async def test_an_attempt_that_the_token_did_not_judge_is_given_back_ten_times(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    house.hsm.sick = True
    for count in range(10):
        assert isinstance(await refusal(house, command), TokenUnavailable)
        ticket = await house.ticket(command)
        assert (ticket.attempts, ticket.given_back) == (0, count + 1)
        assert (await house.pair(command)).failures == 0
    for count in range(10):
        assert isinstance(await refusal(house, command), TokenUnavailable)
        assert (await house.ticket(command)).attempts == count + 1
    assert await end_of(house, command) is TicketEnd.EXHAUSTED
    assert house.hsm.calls == 20
    assert await house.events(EventTag.MATERIAL_REFUSED) == []


async def test_after_an_outage_the_same_ticket_imports(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    house.hsm.sick = True
    await refusal(house, command)
    house.hsm.sick = False
    await house.run(command)
    assert await house.state(key_id) is KeyState.ENABLED


async def test_a_pair_record_that_does_not_open_is_our_fault_and_costs_no_attempt(house: House) -> None:
    parameters = await house.parameters(await house.key())
    pair = await house.pair(parameters)
    await house.sql.write(lambda writing: writing.replace_pair(pair, replace(pair, record=b"\x01" + bytes(79))))
    for _ in range(12):
        assert isinstance(await refusal(house, house.command(parameters)), RecordBroken)
    ticket = await house.ticket(parameters)
    assert (ticket.attempts, ticket.given_back) == (0, 0)
    refused = await house.events(EventTag.MATERIAL_REFUSED)
    assert [event.detail["reason"] for event in refused] == ["RecordBroken"] * 12
    whole = await house.pair(parameters)
    await house.sql.write(lambda writing: writing.replace_pair(whole, replace(whole, record=pair.record)))
    await house.run(house.command(parameters))


async def test_an_attempt_that_reached_no_token_costs_nothing_however_often(house: House) -> None:
    command = house.command(await house.parameters(await house.key()))

    async def not_asked() -> None:
        raise TokenNotAsked

    able, house.hsm.before_judging = house.hsm.before_judging, not_asked
    for _ in range(3 * MOST_GIVEN_BACK):
        assert isinstance(await refusal(house, command), TokenNotAsked)
    ticket = await house.ticket(command)
    assert (ticket.attempts, ticket.given_back, (await house.pair(command)).failures) == (0, 0, 0)
    house.hsm.before_judging = able
    await house.run(command)


async def test_imports_under_way_are_not_yet_failures_of_their_pair(housed: Callable[..., Awaitable[House]]) -> None:
    house = await housed(Settings(tickets_per_pair=1000))
    commands = [house.command(await house.parameters(await house.key())) for _ in range(20)]
    pair = await house.pair(commands[0])
    failing = replace(pair, failures=MOST_PAIR_FAILURES - 10)
    await house.sql.write(lambda writing: writing.replace_pair(pair, failing))
    arrived, go_on = asyncio.Event(), asyncio.Event()
    waiting = 0

    async def wait() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 10:
            arrived.set()
        await go_on.wait()

    house.hsm.before_judging = wait
    running = [asyncio.create_task(house.run(command)) for command in commands[:10]]
    async with asyncio.timeout(30):
        await arrived.wait()
        assert isinstance(await refusal(house, commands[10]), TokenNotAsked)
        go_on.set()
        await asyncio.gather(*running)
        for command in commands[10:]:
            await house.run(command)
    assert (await house.pair(commands[0])).failures == MOST_PAIR_FAILURES - 10


async def test_imports_admitted_together_are_not_yet_failures_of_their_pair_either(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(tickets_per_pair=1000))
    commands = [house.command(await house.parameters(await house.key())) for _ in range(20)]
    pair = await house.pair(commands[0])
    failing = replace(pair, failures=MOST_PAIR_FAILURES - 10)
    await house.sql.write(lambda writing: writing.replace_pair(pair, failing))
    answers = await asyncio.gather(*map(house.run, commands), return_exceptions=True)
    assert {type(each) for each in answers} == {type(None), TokenNotAsked}
    for command in commands:
        await house.run(command)
    assert (await house.pair(commands[0])).failures == MOST_PAIR_FAILURES - 10


async def test_what_never_reaches_the_token_counts_no_attempt(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    await refusal(house, replace(command, ciphertext=command.ciphertext[:-1]))
    await refusal(house, replace(command, valid_to=house.clock.now()))
    await refusal(house, replace(command, key_id=await house.key()))
    assert (await house.ticket(command)).attempts == 0
    assert (await house.pair(command)).failures == 0
