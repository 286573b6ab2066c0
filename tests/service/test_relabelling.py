"""A key's alias and description change, each alone, and nothing else of the key does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import AliasTaken, KeyNotFound, KeyStateForbids, StoreUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import KeyId
from hsmkms.core.keys import DEFAULT_POLICY, KeyAction, KeyState, Origin, StatePolicy
from hsmkms.service.commands import CreateKey, KeyShown, RelabelKey

if TYPE_CHECKING:
    from hsmkms.core.events import Event
    from tests.service.house import House

NOBODYS = KeyId("00000000-0000-4000-8000-000000000000")


@pytest.fixture
async def key_id(house: House) -> KeyId:
    created = await house.service.execute(house.caller, CreateKey("payments", "for cards", Origin.EXTERNAL))
    assert isinstance(created, KeyShown)
    await house.imported(created.key.key_id)
    return created.key.key_id


async def relabelled(house: House, command: RelabelKey) -> KeyShown:
    shown = await house.service.execute(house.caller, command)
    assert isinstance(shown, KeyShown)
    return shown


async def told(house: House) -> list[Event]:
    return await house.events(EventTag.KEY_RELABELLED)


@pytest.mark.parametrize(
    ("alias", "description", "after"),
    [
        ("cards", None, ("cards", "for cards")),
        (None, "for all", ("payments", "for all")),
        (None, "", ("payments", "")),
        ("cards", "for all", ("cards", "for all")),
        ("payments", "for all", ("payments", "for all")),
    ],
)
async def test_what_is_named_changes_and_nothing_else(
    house: House, key_id: KeyId, alias: str | None, description: str | None, after: tuple[str, str]
) -> None:
    before = await house.key_row(key_id)
    house.clock.advance(1)
    shown = await relabelled(house, RelabelKey(key_id, alias, description))
    now = await house.key_row(key_id)
    assert shown == KeyShown(now, KeyState.ENABLED)
    assert now == replace(before, alias=after[0], description=after[1], revision=before.revision + 1)
    [event] = await told(house)
    assert event.detail == {"alias": after[0] != "payments", "description": after[1] != "for cards"}
    assert (event.key_id, event.account, event.at) == (key_id, "acme", house.clock.now())


@pytest.mark.parametrize("alias", [None, "payments"])
@pytest.mark.parametrize("description", [None, "for cards"])
async def test_a_key_that_already_is_as_wanted_stays_untouched(
    house: House, key_id: KeyId, alias: str | None, description: str | None
) -> None:
    before = await house.key_row(key_id)
    shown = await relabelled(house, RelabelKey(key_id, alias, description))
    assert shown == KeyShown(before, KeyState.ENABLED, changed=False)
    assert await house.key_row(key_id) == before
    assert await told(house) == []


async def test_an_alias_of_another_key_is_refused_and_changes_nothing(house: House, key_id: KeyId) -> None:
    await house.service.execute(house.caller, CreateKey("taken"))
    before = await house.key_row(key_id)
    with pytest.raises(AliasTaken):
        await relabelled(house, RelabelKey(key_id, "taken", "for all"))
    assert await house.key_row(key_id) == before
    assert await told(house) == []


async def test_an_alias_of_another_accounts_key_is_free(house: House, key_id: KeyId) -> None:
    await house.service.execute(house.stranger, CreateKey("theirs"))
    assert (await relabelled(house, RelabelKey(key_id, "theirs"))).key.alias == "theirs"


async def test_an_alias_given_up_is_free_again(house: House, key_id: KeyId) -> None:
    await relabelled(house, RelabelKey(key_id, "cards"))
    await house.service.execute(house.caller, CreateKey("payments"))


async def test_of_two_keys_that_want_one_alias_at_once_one_gets_it(house: House, key_id: KeyId) -> None:
    other = await house.key()
    commands = (RelabelKey(key_id, "wanted"), RelabelKey(other, "wanted"))
    answers = await asyncio.gather(*(relabelled(house, each) for each in commands), return_exceptions=True)
    assert sorted(type(each).__name__ for each in answers) == ["AliasTaken", "KeyShown"]
    assert len(await told(house)) == 1


async def test_a_key_scheduled_for_deletion_keeps_its_alias_and_description(house: House, key_id: KeyId) -> None:
    await house.schedule(key_id)
    before = await house.key_row(key_id)
    for command in (RelabelKey(key_id, "cards"), RelabelKey(key_id, description="for all"), RelabelKey(key_id)):
        with pytest.raises(KeyStateForbids, match="change the key's alias or description"):
            await relabelled(house, command)
    assert await house.key_row(key_id) == before
    assert await told(house) == []


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_IMPORT, KeyState.ARCHIVED])
async def test_every_other_state_allows_it(house: House, key_id: KeyId, state: KeyState) -> None:
    match state:
        case KeyState.DISABLED:
            await house.switch(key_id, on=False)
        case KeyState.PENDING_IMPORT:
            await house.delete(key_id)
        case _:
            await house.edit_key(key_id, archived=True)
    shown = await relabelled(house, RelabelKey(key_id, "cards"))
    assert (shown.state, shown.key.alias) == (state, "cards")


async def test_a_dialect_may_be_narrower(house: House, key_id: KeyId) -> None:
    policy = StatePolicy({**DEFAULT_POLICY.allowed, KeyAction.RELABEL: (KeyState.DISABLED,)})
    with pytest.raises(KeyStateForbids):
        await relabelled(house, RelabelKey(key_id, "cards", policy=policy))


async def test_a_generated_key_is_relabelled_too(house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    assert (await relabelled(house, RelabelKey(key_id, "cards"))).key.alias == "cards"


@pytest.mark.parametrize("whose", ["nobody", "stranger"])
async def test_a_key_that_the_account_does_not_have(house: House, whose: str) -> None:
    theirs = await house.key(caller=house.stranger) if whose == "stranger" else NOBODYS
    with pytest.raises(KeyNotFound):
        await relabelled(house, RelabelKey(theirs, "cards"))


async def test_nothing_changes_if_the_event_cannot_be_written(house: House, key_id: KeyId) -> None:
    before = await house.key_row(key_id)
    house.store.break_append = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await relabelled(house, RelabelKey(key_id, "cards"))
    assert await house.key_row(key_id) == before
