"""What other requests do between an import's admission and its commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import (
    ExpiryInvalid,
    ImportTokenOver,
    KeyNotFound,
    KeyStateForbids,
    MaterialMismatch,
    TicketEnd,
    TokenGaveNoAnswer,
)
from hsmkms.core.events import EventTag
from hsmkms.core.ids import later
from hsmkms.core.keys import KeyState
from hsmkms.core.tickets import TicketState
from tests.service.house import DAY, OTHER_MATERIAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.service.commands import ImportMaterial
    from tests.service.house import House


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
    await asyncio.gather(house.run(command), house.run(command))
    assert house.hsm.calls == 1
    assert len(await house.events(EventTag.MATERIAL_IMPORTED)) == 1
    ticket, pair = await house.ticket(command), await house.pair(command)
    assert (ticket.state, pair.live, pair.failures, pair.record) == (TicketState.SPENT, 0, 0, None)
    assert (await house.key_row(key_id)).revision == 1


async def test_many_identical_imports_at_once_all_succeed(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    await asyncio.gather(*(house.run(command) for _ in range(40)))
    assert house.hsm.calls == 1
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


async def test_a_key_scheduled_for_deletion_meanwhile_takes_no_material(house: House) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))
    with pytest.raises(KeyStateForbids):
        await _while_in_the_token(house, command, lambda: house.schedule(key_id))
    assert (await house.key_row(key_id)).material is None
    assert (await house.ticket(command)).state is TicketState.VOID
    [refused] = await house.events(EventTag.MATERIAL_REFUSED)
    assert refused.detail["reason"] == "KeyStateForbids"


@pytest.mark.parametrize("judged", [True, False])
async def test_a_key_deleted_meanwhile_is_not_found(house: House, judged: bool) -> None:
    key_id = await house.key()
    command = house.command(await house.parameters(key_id))

    async def delete() -> None:
        house.clock.set(await house.schedule(key_id))
        await house.sweeper.sweep()
        if not judged:
            raise TokenGaveNoAnswer

    with pytest.raises(KeyNotFound):
        await _while_in_the_token(house, command, delete)
    assert await house.events(EventTag.MATERIAL_IMPORTED) == []
    assert await house.sql.find_tombstone(key_id) is not None


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
