"""Import: attempts, the retry rule, what happens meanwhile, and what a killed process leaves behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import (
    ExpiryInvalid,
    HsmkmsError,
    ImportTokenOver,
    KeyStateForbids,
    MaterialLengthWrong,
    MaterialMismatch,
    MaterialUndecryptable,
    RecordBroken,
    StoreUnavailable,
    TicketEnd,
    TokenUnavailable,
)
from hsmkms.core.events import EventTag
from hsmkms.core.ids import Instant, later
from hsmkms.core.keys import DEFAULT_POLICY, LATEST_EXPIRY, KeyAction, KeyState, StatePolicy
from hsmkms.core.tickets import TicketState
from hsmkms.core.wrapping import WrappingAlgorithm
from tests.service.counted_hsm import UNDECRYPTABLE, wrapped
from tests.service.house import DAY, MATERIAL, OTHER_MATERIAL, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.service.commands import ImportMaterial
    from hsmkms.store import SqlStore
    from tests.service.house import House

PKCS1 = WrappingAlgorithm.RSAES_PKCS1_V1_5


class Killed(BaseException):
    """What stands for the end of the process."""


def undecryptable(command: ImportMaterial) -> ImportMaterial:
    return replace(command, ciphertext=UNDECRYPTABLE)


async def refusal(house: House, command: ImportMaterial) -> HsmkmsError:
    with pytest.raises(HsmkmsError) as caught:
        await house.run(command)
    return caught.value


async def end_of(house: House, command: ImportMaterial) -> TicketEnd:
    """Return why the import token is over, of a command that must not reach the token."""
    calls = house.hsm.calls
    fault = await refusal(house, command)
    assert isinstance(fault, ImportTokenOver)
    assert house.hsm.calls == calls
    return fault.end


# --- a good import ------------------------------------------------------------------------------------------


async def test_an_import_enables_the_key_spends_the_ticket_and_ends_the_pair(house: House) -> None:
    key_id = await house.key()
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    command = await house.imported(key_id)
    assert await house.state(key_id) is KeyState.ENABLED
    ticket, pair = await house.ticket(command), await house.pair(command)
    assert (ticket.state, ticket.attempts) == (TicketState.SPENT, 1)
    assert (pair.record, pair.live, pair.failures) == (None, 0, 0)
    key = await house.key_row(key_id)
    assert key.material is not None
    assert (key.material.ticket_id, key.material.brought_at) == (ticket.ticket_id, house.clock.now())


async def test_the_token_is_asked_for_this_key_and_this_pair_only(house: House) -> None:
    key_id = await house.key()
    command = await house.imported(key_id)
    [order] = house.hsm.orders
    assert (order.owner.account, order.owner.owner, order.owner.generation) == ("acme", key_id, 1)
    assert order.pair.owner == (await house.ticket(command)).pair_id
    assert order.ciphertext == command.ciphertext


async def test_the_same_material_may_come_again_and_other_material_never(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    await house.imported(key_id)
    await house.delete(key_id)
    assert isinstance(
        await refusal(house, house.command(await house.parameters(key_id), OTHER_MATERIAL)), MaterialMismatch
    )
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    await house.imported(key_id)
    assert await house.state(key_id) is KeyState.ENABLED
    events = await house.events(EventTag.MATERIAL_IMPORTED)
    assert [event.detail["reimport"] for event in events] == [False, True, True]


async def test_an_import_never_switches_a_key_on(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    await house.switch(key_id, on=False)
    await house.delete(key_id)
    await house.imported(key_id)
    assert await house.state(key_id) is KeyState.DISABLED


async def test_each_imports_expiry_replaces_the_earlier_one(house: House) -> None:
    key_id = await house.key()
    for valid_to in (later(house.clock.now(), seconds=60), LATEST_EXPIRY, None):
        await house.imported(key_id, valid_to=valid_to)
        material = (await house.key_row(key_id)).material
        assert material is not None
        assert material.valid_to == valid_to


async def test_a_narrower_policy_of_a_dialect_is_obeyed(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    narrow = StatePolicy({**DEFAULT_POLICY.allowed, KeyAction.IMPORT_MATERIAL: (KeyState.PENDING_IMPORT,)})
    command = replace(house.command(await house.parameters(key_id)), policy=narrow)
    assert isinstance(await refusal(house, command), KeyStateForbids)
    assert house.hsm.calls == 1


# --- attempts -----------------------------------------------------------------------------------------------


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
    faults = await asyncio.gather(*(refusal(house, bad) for _ in range(64)))
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
    faults = await asyncio.gather(*(refusal(each, bad) for _ in range(16) for each in (house, other)))
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
    another_process = await opened()
    seen: list[tuple[int, int]] = []

    async def look() -> None:
        async with another_process.reading() as reading:
            ticket = await reading.ticket(command.import_token.digest())
            assert ticket is not None
            pair = await reading.pair(ticket.pair_id)
            assert pair is not None
            seen.append((ticket.attempts, pair.failures))

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


async def test_a_pair_record_that_does_not_open_is_our_fault_and_stays_an_attempt(house: House) -> None:
    parameters = await house.parameters(await house.key())
    pair = await house.pair(parameters)
    async with house.sql.writing() as writing:
        await writing.replace_pair(pair, replace(pair, record=bytes(80)))
    assert isinstance(await refusal(house, house.command(parameters)), RecordBroken)
    assert (await house.ticket(parameters)).attempts == 1


async def test_what_never_reaches_the_token_counts_no_attempt(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    await refusal(house, replace(command, ciphertext=command.ciphertext[:-1]))
    await refusal(house, replace(command, valid_to=house.clock.now()))
    await refusal(house, replace(command, key_id=await house.key()))
    assert (await house.ticket(command)).attempts == 0
    assert (await house.pair(command)).failures == 0


# --- the repeated request -----------------------------------------------------------------------------------


async def test_the_same_request_again_succeeds_without_the_token_and_changes_nothing(house: House) -> None:
    key_id = await house.key()
    command = await house.imported(key_id, valid_to=later(house.clock.now(), seconds=2 * DAY))
    before = (await house.key_row(key_id), await house.ticket(command), await house.pair(command), await house.events())
    house.clock.advance(DAY - 1)
    house.hsm.sick = True
    await house.run(command)
    after = (await house.key_row(key_id), await house.ticket(command), await house.pair(command), await house.events())
    assert (house.hsm.calls, after) == (1, before)


async def test_the_same_request_again_succeeds_although_the_key_is_disabled(house: House) -> None:
    key_id = await house.key()
    command = await house.imported(key_id)
    await house.switch(key_id, on=False)
    await house.run(command)
    assert (house.hsm.calls, await house.state(key_id)) == (1, KeyState.DISABLED)


async def test_from_the_deadline_on_it_is_a_spent_token(house: House) -> None:
    command = await house.imported(await house.key())
    house.clock.advance(DAY)
    assert await end_of(house, command) is TicketEnd.SPENT


async def test_after_deletion_it_is_a_spent_token(house: House) -> None:
    key_id = await house.key()
    command = await house.imported(key_id)
    await house.delete(key_id)
    assert await end_of(house, command) is TicketEnd.SPENT
    assert await house.state(key_id) is KeyState.PENDING_IMPORT


async def test_after_another_import_of_the_same_material_it_is_a_spent_token(house: House) -> None:
    key_id = await house.key()
    command = await house.imported(key_id)
    await house.imported(key_id)
    assert await end_of(house, command) is TicketEnd.SPENT


async def test_after_expiry_it_is_refused(house: House) -> None:
    key_id = await house.key()
    command = await house.imported(key_id, valid_to=later(house.clock.now(), seconds=5))
    house.clock.advance(5)
    assert isinstance(await refusal(house, command), ExpiryInvalid)
    assert house.hsm.calls == 1


async def test_another_ciphertext_or_another_expiry_is_a_spent_token(house: House) -> None:
    key_id = await house.key()
    valid_to = later(house.clock.now(), seconds=600)
    command = await house.imported(key_id, valid_to=valid_to)
    public_key = (await house.pair(command)).public_key
    for other in (
        replace(command, ciphertext=wrapped(public_key, MATERIAL)),
        replace(command, ciphertext=command.ciphertext[:-1]),
        replace(command, valid_to=None),
        replace(command, valid_to=Instant(valid_to + 1)),
    ):
        assert await end_of(house, other) is TicketEnd.SPENT


# --- at once ------------------------------------------------------------------------------------------------


def _meet(house: House, count: int) -> None:
    """Hold every call in the token until `count` are there."""
    barrier = asyncio.Barrier(count)

    async def wait() -> None:
        async with asyncio.timeout(10):
            await barrier.wait()

    house.hsm.before_judging = wait


async def test_two_identical_imports_at_once_both_succeed_and_bring_one_material(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    _meet(house, 2)
    await asyncio.gather(house.run(command), house.run(command))
    assert len(await house.events(EventTag.MATERIAL_IMPORTED)) == 1
    ticket, pair = await house.ticket(command), await house.pair(command)
    assert (ticket.state, pair.live, pair.failures, pair.record) == (TicketState.SPENT, 0, 0, None)
    assert (await house.key_row(key_id)).revision == 1


async def test_many_identical_imports_at_once_all_succeed(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    await asyncio.gather(*(house.run(command) for _ in range(8)))
    assert len(await house.events(EventTag.MATERIAL_IMPORTED)) == 1
    assert (await house.pair(command)).failures == 0


async def test_two_different_imports_by_one_ticket_at_once_have_one_winner(house: House) -> None:
    parameters = await house.parameters(await house.key())
    _meet(house, 2)
    results = await asyncio.gather(
        house.run(house.command(parameters)), house.run(house.command(parameters)), return_exceptions=True
    )
    [fault] = [each for each in results if each is not None]
    assert isinstance(fault, ImportTokenOver)
    assert fault.end is TicketEnd.SPENT
    assert len(await house.events(EventTag.MATERIAL_IMPORTED)) == 1
    [refused] = await house.events(EventTag.MATERIAL_REFUSED)
    assert refused.detail["reason"] == "ImportTokenOver"


async def test_two_materials_by_two_tickets_at_once_have_one_winner(house: House) -> None:
    key_id = await house.key()
    first, second = await house.parameters(key_id), await house.parameters(key_id)
    _meet(house, 2)
    results = await asyncio.gather(
        house.run(house.command(first)), house.run(house.command(second, OTHER_MATERIAL)), return_exceptions=True
    )
    [fault] = [each for each in results if each is not None]
    assert isinstance(fault, MaterialMismatch)
    states = {(await house.ticket(each)).state for each in (first, second)}
    assert states == {TicketState.SPENT, TicketState.ISSUED}


async def _while_in_the_token(house: House, command: ImportMaterial, act: Callable[[], Awaitable[object]]) -> None:
    """Do something after the attempt was admitted and before its result is committed."""

    async def once() -> None:
        house.hsm.after_judging = house.hsm.before_judging
        await act()

    house.hsm.after_judging = once
    await house.run(command)


async def test_a_key_disabled_meanwhile_takes_no_material(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    before = (await house.key_row(key_id)).material
    command = house.command(await house.parameters(key_id))
    with pytest.raises(KeyStateForbids):
        await _while_in_the_token(house, command, lambda: house.switch(key_id, on=False))
    assert (await house.key_row(key_id)).material == before
    assert (await house.ticket(command)).state is TicketState.ISSUED
    [refused] = await house.events(EventTag.MATERIAL_REFUSED)
    assert refused.detail["reason"] == "KeyStateForbids"


async def test_material_deleted_meanwhile_is_brought_by_the_import_that_commits_later(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    command = house.command(await house.parameters(key_id))
    await _while_in_the_token(house, command, lambda: house.delete(key_id))
    assert await house.state(key_id) is KeyState.ENABLED


async def test_a_ticket_voided_meanwhile_brings_nothing(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))

    async def supersede() -> None:
        for _ in range(3):
            house.clock.advance(1)
            await house.parameters(key_id)

    with pytest.raises(ImportTokenOver) as caught:
        await _while_in_the_token(house, command, supersede)
    assert caught.value.end is TicketEnd.VOID
    assert await house.state(key_id) is KeyState.PENDING_IMPORT


async def test_an_attempt_admitted_before_the_deadline_may_end_after_it(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))

    async def pass_the_deadline() -> None:
        house.clock.advance(DAY)
        await house.sweeper.sweep()
        assert (await house.ticket(command)).state is TicketState.LAPSED
        assert (await house.pair(command)).record is None

    await _while_in_the_token(house, command, pass_the_deadline)
    assert await house.state(key_id) is KeyState.ENABLED
    assert ((await house.ticket(command)).state, (await house.pair(command)).live) == (TicketState.SPENT, 0)


async def test_material_that_expired_meanwhile_is_not_brought(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id), valid_to=later(house.clock.now(), seconds=5))

    async def expire() -> None:
        house.clock.advance(5)

    with pytest.raises(ExpiryInvalid):
        await _while_in_the_token(house, command, expire)
    assert (await house.key_row(key_id)).material is None


async def test_an_import_over_expired_material_records_the_expiry_too(house: House) -> None:
    key_id = await house.key()
    valid_to = later(house.clock.now(), seconds=5)
    await house.imported(key_id, valid_to=valid_to)
    house.clock.advance(5)
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    await house.imported(key_id)
    assert await house.state(key_id) is KeyState.ENABLED
    [expired] = await house.events(EventTag.MATERIAL_EXPIRED)
    assert expired.detail == {"valid_to": valid_to}


# --- one answer for a padding oracle ------------------------------------------------------------------------


@pytest.mark.parametrize("material", [OTHER_MATERIAL, MATERIAL[:31], MATERIAL + b"\0"])
async def test_under_pkcs1_v1_5_every_refusal_of_the_token_reads_the_same(house: House, material: bytes) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    command = house.command(await house.parameters(key_id, PKCS1), material, PKCS1)
    told, plain = await refusal(house, command), await refusal(house, undecryptable(command))
    assert type(told) is type(plain) is MaterialUndecryptable
    assert told.message == plain.message
    assert (await house.ticket(command)).attempts == 2


async def test_even_a_token_that_tells_a_wrong_length_apart_is_not_repeated_under_pkcs1_v1_5(house: House) -> None:
    command = house.command(await house.parameters(await house.key(), PKCS1), MATERIAL, PKCS1)

    async def tell() -> None:
        raise MaterialLengthWrong(256)

    house.hsm.before_judging = tell
    assert type(await refusal(house, command)) is MaterialUndecryptable
    [refused] = await house.events(EventTag.MATERIAL_REFUSED)
    assert refused.detail["reason"] == "MaterialLengthWrong"


async def test_under_oaep_length_and_mismatch_are_told_apart(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    parameters = await house.parameters(key_id)
    assert isinstance(await refusal(house, house.command(parameters, OTHER_MATERIAL)), MaterialMismatch)
    short = await refusal(house, house.command(parameters, MATERIAL[:31]))
    assert isinstance(short, MaterialLengthWrong)
    assert short.needed_bits == 256
