"""Import: what one changes, what it may bring, and what it answers when the token refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import (
    KeyStateForbids,
    MaterialLengthWrong,
    MaterialMismatch,
    MaterialUndecryptable,
    NotOffered,
)
from hsmkms.core.events import EventTag
from hsmkms.core.ids import later
from hsmkms.core.keys import DEFAULT_POLICY, LATEST_EXPIRY, KeyAction, KeyState, StatePolicy
from hsmkms.core.tickets import TicketState
from hsmkms.core.wrapping import WrappingAlgorithm
from tests.service.house import MATERIAL, OAEP, OTHER_MATERIAL, Settings, refusal, undecryptable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.house import House

PKCS1 = WrappingAlgorithm.RSAES_PKCS1_V1_5


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


async def test_an_algorithm_switched_off_is_off_for_tickets_that_were_issued_before(
    housed: Callable[..., Awaitable[House]],
) -> None:
    before, after = await housed(), await housed(Settings(algorithms=(OAEP,)))
    after.hsm.share_with(before.hsm)
    command = before.command(await before.parameters(await before.key(), PKCS1), MATERIAL, PKCS1)
    fault = await refusal(after, command)
    assert isinstance(fault, NotOffered)
    assert (fault.field, fault.offered) == ("WrappingAlgorithm", (OAEP,))
    assert after.hsm.calls == 0
    assert (await after.ticket(command)).attempts == 0
    await before.run(command)


async def test_an_algorithm_that_the_token_no_longer_does_is_refused_and_costs_no_attempt(house: House) -> None:
    command = house.command(await house.parameters(await house.key()))
    house.hsm.algorithms = frozenset((PKCS1,))
    assert isinstance(await refusal(house, command), NotOffered)
    assert (await house.ticket(command)).attempts == 0
