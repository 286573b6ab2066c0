"""Create, show, list, switch, delete: what callers do with keys, imports aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsmkms.core import records
from hsmkms.core.errors import AliasTaken, KeyNotFound, KeyStateForbids, TokenUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import Instant, KeyId, later
from hsmkms.core.keys import KeyState, Origin
from hsmkms.core.material import Edition
from hsmkms.service.commands import CreateKey, DescribeKeys, KeyShown, KeysShown, ListKeys
from tests.service.house import DAY

if TYPE_CHECKING:
    from tests.service.house import House

NOBODYS = KeyId("00000000-0000-4000-8000-000000000000")


async def listed(house: House, **wanted: object) -> KeysShown:
    shown = await house.service.execute(house.caller, ListKeys(**{"offset": 0, "limit": 10, **wanted}))  # type: ignore[arg-type]
    assert isinstance(shown, KeysShown)
    return shown


async def test_an_external_key_begins_without_material_and_switched_on(house: House) -> None:
    created = await house.service.execute(house.caller, CreateKey("payments", "for cards", Origin.EXTERNAL))
    assert isinstance(created, KeyShown)
    assert created.state is KeyState.PENDING_IMPORT
    key = await house.key_row(created.key.key_id)
    assert (key.alias, key.description, key.account) == ("payments", "for cards", "acme")
    assert (key.switched_on, key.material, key.fingerprint, key.created_at) == (True, None, None, house.clock.now())


async def test_a_generated_key_begins_enabled_with_material_that_opens_for_it_only(house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    assert await house.state(key_id) is KeyState.ENABLED
    key = await house.key_row(key_id)
    assert key.material is not None
    owner = records.of_material(key.account, key_id, Edition.FIPS, key.generation)
    assert (await house.hsm.inspect_material(owner, key.material.record)).fingerprint == key.fingerprint


async def test_no_key_is_created_while_the_token_is_away(house: House) -> None:
    house.hsm.sick = True
    with pytest.raises(TokenUnavailable):
        await house.key(origin=Origin.GENERATED)
    assert (await listed(house)).total == 0


async def test_an_alias_is_the_accounts_own(house: House) -> None:
    await house.service.execute(house.caller, CreateKey("payments"))
    with pytest.raises(AliasTaken):
        await house.service.execute(house.caller, CreateKey("payments"))
    await house.service.execute(house.stranger, CreateKey("payments"))


async def test_several_keys_are_shown_in_the_order_asked_for_also_twice(house: House) -> None:
    first, second = await house.key(), await house.key()
    shown = await house.service.execute(house.caller, DescribeKeys((second, first, second)))
    assert isinstance(shown, KeysShown)
    assert {each.key.key_id for each in shown.keys} == {first, second}
    assert [each.key.key_id for each in shown.keys][:2] == [second, first]


@pytest.mark.parametrize("whose", ["nobody", "stranger"])
async def test_several_keys_are_shown_only_if_all_of_them_exist_in_the_account(house: House, whose: str) -> None:
    other = await house.key(caller=house.stranger) if whose == "stranger" else NOBODYS
    with pytest.raises(KeyNotFound):
        await house.service.execute(house.caller, DescribeKeys((await house.key(), other)))


async def test_a_list_shows_the_accounts_keys_by_the_state_at_this_moment(house: House) -> None:
    mine = []
    for _ in range(3):
        mine.append(await house.key())
        house.clock.advance(1)
    await house.key(caller=house.stranger)
    await house.imported(mine[1], valid_to=later(house.clock.now(), seconds=5))
    assert [each.key.key_id for each in (await listed(house)).keys] == mine[::-1]
    enabled = frozenset((KeyState.ENABLED,))
    assert [each.key.key_id for each in (await listed(house, states=enabled)).keys] == [mine[1]]
    house.clock.advance(5)
    assert (await listed(house, states=enabled)).total == 0
    assert {each.state for each in (await listed(house)).keys} == {KeyState.PENDING_IMPORT}
    page = await listed(house, offset=1, limit=1, newest_first=False)
    assert (page.total, [each.key.key_id for each in page.keys]) == (3, [mine[1]])


async def test_switching_writes_one_event_for_each_change_and_none_for_no_change(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    for on in (True, False, False, True, True):
        shown = await house.switch(key_id, on=on)
        assert shown.state is await house.state(key_id) is (KeyState.ENABLED if on else KeyState.DISABLED)
        assert shown.key == await house.key_row(key_id)
    tags = [event.tag for event in await house.events(EventTag.KEY_ENABLED, EventTag.KEY_DISABLED)]
    assert tags == [EventTag.KEY_DISABLED, EventTag.KEY_ENABLED]


@pytest.mark.parametrize("on", [False, True])
async def test_a_key_without_material_cannot_be_switched(house: House, on: bool) -> None:
    key_id = await house.key()
    with pytest.raises(KeyStateForbids):
        await house.switch(key_id, on=on)


async def test_material_is_deleted_and_its_fingerprint_stays(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    fingerprint = (await house.key_row(key_id)).fingerprint
    await house.delete(key_id)
    key = await house.key_row(key_id)
    assert (key.material, key.fingerprint) == (None, fingerprint)
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    with pytest.raises(KeyStateForbids):
        await house.delete(key_id)
    assert len(await house.events(EventTag.MATERIAL_DELETED)) == 1


async def test_a_live_ticket_survives_the_deletion_of_the_material(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    command = house.command(await house.parameters(key_id))
    await house.delete(key_id)
    await house.run(command)
    assert await house.state(key_id) is KeyState.ENABLED


async def test_a_key_is_pending_import_from_exactly_its_expiry_on(house: House) -> None:
    key_id = await house.key()
    valid_to = later(house.clock.now(), seconds=DAY)
    await house.imported(key_id, valid_to=valid_to)
    house.clock.set(Instant(valid_to - 1))
    assert await house.state(key_id) is KeyState.ENABLED
    house.clock.set(valid_to)
    assert await house.state(key_id) is KeyState.PENDING_IMPORT
    for act in (house.switch(key_id, on=False), house.delete(key_id)):
        with pytest.raises(KeyStateForbids):
            await act
