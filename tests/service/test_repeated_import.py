"""The retry rule: the same request again is the same import, for as long as that is true."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hsmkms.core.errors import (
    ExpiryInvalid,
    TicketEnd,
)
from hsmkms.core.ids import Instant, later
from hsmkms.core.keys import KeyState
from tests.service.counted_hsm import wrapped
from tests.service.house import DAY, MATERIAL, end_of, refusal

if TYPE_CHECKING:
    from tests.service.house import House


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
