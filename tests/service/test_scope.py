"""A credential that is limited to some keys: it hears of no others, and whether these exist is not to be found out."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from hsmkms.core.credentials import Caller, KeyScope
from hsmkms.core.errors import (
    CiphertextInvalid,
    HsmkmsError,
    ImportTokenForeign,
    ImportTokenUnknown,
    KeyNotFound,
    KeyOutOfScope,
)
from hsmkms.core.keys import Origin
from hsmkms.core.secrets import Plaintext
from hsmkms.service import commands
from hsmkms.service.commands import Done, KeyShown, KeysShown, ServiceShown
from hsmkms.service.permissions import ROLES
from hsmkms.store.reading import SqlReading
from tests.service.counted_hsm import wrapped
from tests.service.house import MATERIAL, Settings
from tests.service.scoped import NAMING_A_KEY, NAMING_NONE, NO_KEY, OTHER_TEAM, TEAM, Limited, limited, tagged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.ids import KeyId
    from hsmkms.service.commands import Command
    from tests.service.house import House

WAYS: Final = ("by_id", "by_tag")
by_id_and_by_tag = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
async def made(house: House) -> Limited:
    return await Limited.make(house)


def caller_of(made: Limited, way: str) -> Caller:
    caller = {"by_id": made.by_id, "by_tag": made.by_tag}[way]
    assert caller.scope.limited
    return caller


async def answer(house: House, caller: Caller, command: Command) -> type[object]:
    """Return of what kind the answer is, be it an outcome or a refusal."""
    try:
        return type(await house.service.execute(caller, command))
    except HsmkmsError as error:
        return type(error)


async def refused(house: House, caller: Caller, command: Command) -> HsmkmsError:
    with pytest.raises(HsmkmsError) as caught:
        await house.service.execute(caller, command)
    return caught.value


def test_every_command_that_names_a_key_is_tried() -> None:
    tried = {type(make(NO_KEY)) for make in NAMING_A_KEY.values()}
    assert tried | NAMING_NONE == set(ROLES)
    assert not tried & NAMING_NONE


@by_id_and_by_tag
async def test_no_command_tells_or_changes_anything_of_another_key(made: Limited, way: str) -> None:
    house, caller = made.house, caller_of(made, way)
    before = [await house.key_row(each) for each in (made.inside, made.outside, made.foreign)]
    calls = house.hsm.calls
    for name, command in NAMING_A_KEY.items():
        answers = [await refused(house, caller, command(each)) for each in made.out_of_reach]
        assert {(type(each), each.message) for each in answers} == {(KeyOutOfScope, KeyOutOfScope.text)}, name
    assert [await house.key_row(each) for each in (made.inside, made.outside, made.foreign)] == before
    assert house.hsm.calls == calls


@by_id_and_by_tag
@pytest.mark.parametrize("name", NAMING_A_KEY)
async def test_with_its_own_key_it_is_answered_as_one_that_is_not_limited(made: Limited, way: str, name: str) -> None:
    house, command = made.house, NAMING_A_KEY[name]
    twin = await tagged(house, TEAM)
    expected = await answer(house, house.caller, command(twin))
    assert await answer(house, caller_of(made, way), command(made.inside)) is expected is not KeyOutOfScope


async def test_of_a_key_in_its_scope_that_is_gone_it_hears_what_others_hear(house: House) -> None:
    caller = limited(house.caller, KeyScope(frozenset((NO_KEY,))))
    assert isinstance(await refused(house, caller, commands.DescribeKey(NO_KEY)), KeyNotFound)
    assert isinstance(await refused(house, caller, NAMING_A_KEY["decrypt"](NO_KEY)), CiphertextInvalid)


async def test_both_an_id_and_a_tag_open_the_way_to_a_key(made: Limited) -> None:
    house = made.house
    either = limited(house.caller, KeyScope(frozenset((made.outside,)), made.by_tag.scope.tags))
    for key_id in (made.inside, made.outside):
        assert isinstance(await house.service.execute(either, commands.DescribeKey(key_id)), KeyShown)
    assert isinstance(await refused(house, either, commands.DescribeKey(made.foreign)), KeyOutOfScope)


# --- several keys at once ---------------------------------------------------------------------------------------


@by_id_and_by_tag
async def test_of_several_keys_each_must_be_in_the_scope(made: Limited, way: str) -> None:
    house, caller = made.house, caller_of(made, way)
    for other in made.out_of_reach:
        for both in ((made.inside, other), (other, made.inside)):
            assert isinstance(await refused(house, caller, commands.DescribeKeys(both)), KeyOutOfScope)
            assert isinstance(await refused(house, caller, commands.SwitchKeys(both, on=False)), KeyOutOfScope)
    assert (await house.key_row(made.inside)).switched_on, "all or none"
    shown = await house.service.execute(caller, commands.DescribeKeys((made.inside,)))
    assert isinstance(shown, KeysShown)


@by_id_and_by_tag
async def test_a_list_shows_and_counts_the_keys_of_the_scope_only(made: Limited, way: str) -> None:
    house, caller = made.house, caller_of(made, way)
    for offset, limit, wanted in ((0, 10, [made.inside]), (0, 1, [made.inside]), (1, 10, []), (5, 1, [])):
        shown = await house.service.execute(caller, commands.ListKeys(offset, limit))
        assert isinstance(shown, KeysShown)
        assert (shown.total, [each.key.key_id for each in shown.keys]) == (1, wanted)
    outside = (await house.key_row(made.outside)).alias
    searched = await house.service.execute(caller, commands.ListKeys(0, 10, search=outside))
    assert searched == KeysShown(0, ())
    described = await house.service.execute(caller, commands.DescribeService())
    assert isinstance(described, ServiceShown)
    assert described.keys == 1


async def test_without_limits_all_are_shown_and_no_statement_is_spent_on_scopes(
    made: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> dict[str, str]:
        raise AssertionError

    monkeypatch.setattr(SqlReading, "tags", never)
    house = made.house
    for caller in (house.caller, made.by_id):
        for name, command in NAMING_A_KEY.items():
            if name not in {"delete-material", "schedule"}:
                assert await answer(house, caller, command(made.inside)) is not KeyOutOfScope
    shown = await house.service.execute(house.caller, commands.ListKeys(0, 10))
    assert isinstance(shown, KeysShown)
    assert {each.key.key_id for each in shown.keys} == {made.inside, made.outside}
    with pytest.raises(AssertionError):
        await house.service.execute(made.by_tag, commands.DescribeKey(made.inside))


@pytest.mark.parametrize("name", ["encrypt", "decrypt", "decrypt-by-name", "re-encrypt", "data-key"])
async def test_of_a_key_that_is_not_named_in_it_nothing_is_looked_up_to_use_it(made: Limited, name: str) -> None:
    made.house.store.look_up = never_looked_up
    for other in made.out_of_reach:
        assert isinstance(await refused(made.house, made.by_id, NAMING_A_KEY[name](other)), KeyOutOfScope)
    with pytest.raises(AssertionError):
        await made.house.service.execute(made.by_id, NAMING_A_KEY[name](made.inside))


async def never_looked_up(*_: object, **__: object) -> NoReturn:
    raise AssertionError


# --- a new key --------------------------------------------------------------------------------------------------


async def test_it_makes_a_key_only_with_a_tag_of_its_scope(housed: Callable[..., Awaitable[House]]) -> None:
    house = await housed(Settings(most_keys=3))
    made = await Limited.make(house)
    shown = await house.service.execute(made.by_tag, commands.CreateKey("mine", tags={"team": "cash", "x": "y"}))
    assert isinstance(shown, KeyShown)
    assert isinstance(await house.service.execute(made.by_tag, commands.DescribeKey(shown.key.key_id)), KeyShown)
    calls = house.hsm.calls
    for caller, tags in ((made.by_id, TEAM), (made.by_tag, OTHER_TEAM), (made.by_tag, {})):
        refusal = await refused(house, caller, commands.CreateKey("another", tags=tags))
        assert isinstance(refusal, KeyOutOfScope), "also where the account is full"
    assert house.hsm.calls == calls


# --- ciphertexts and import tokens ------------------------------------------------------------------------------


@by_id_and_by_tag
async def test_a_ciphertext_of_another_key_is_answered_as_one_of_no_key(made: Limited, way: str) -> None:
    house, caller = made.house, caller_of(made, way)
    own, other = [await house.encrypted(each) for each in (made.inside, made.outside)]
    assert await house.decrypted(own, caller=caller)
    tried: list[Command] = [commands.Decrypt(other), commands.ReEncrypt(other)]
    tried += [commands.ReEncrypt(other, target=made.inside)]
    tried += [commands.ReEncrypt(own, target=each) for each in made.out_of_reach]
    for command in tried:
        calls = house.hsm.calls
        assert isinstance(await refused(house, caller, command), KeyOutOfScope)
        assert house.hsm.calls == calls
    assert isinstance(await refused(house, caller, commands.Decrypt(own, key_id=made.outside)), CiphertextInvalid)


@by_id_and_by_tag
async def test_an_import_token_of_another_key_is_one_that_nobody_knows(made: Limited, way: str) -> None:
    house = made.house
    own, sister, other = [await tagged(house, tags, origin=Origin.EXTERNAL) for tags in (TEAM, TEAM, OTHER_TEAM)]
    caller = limited(caller_of(made, way), KeyScope(frozenset((own, sister))) if way == "by_id" else made.by_tag.scope)
    for key_id, expected in ((sister, ImportTokenForeign), (other, ImportTokenUnknown)):
        issued = await house.parameters(key_id)
        command = commands.ImportMaterial(own, issued.import_token, wrapped(issued.public_key, MATERIAL), None)
        assert type(await refused(house, caller, command)) is expected
        assert isinstance(await refused(house, house.caller, command), ImportTokenForeign)


@by_id_and_by_tag
async def test_an_import_that_is_under_way_or_done_is_not_answered_to_one_who_may_not_ask(
    made: Limited, way: str
) -> None:
    house, caller = made.house, caller_of(made, way)
    key_id = await tagged(house, OTHER_TEAM, origin=Origin.EXTERNAL)
    command = house.command(await house.parameters(key_id))
    first, second = await asyncio.gather(
        house.service.execute(house.caller, command), house.service.execute(caller, command), return_exceptions=True
    )
    assert first == Done()
    assert isinstance(second, KeyOutOfScope)
    assert isinstance(await refused(house, caller, command), KeyOutOfScope), "the same request again"
    assert house.hsm.calls == 1


# --- any sequence -----------------------------------------------------------------------------------------------


def _told(outcome: commands.Outcome) -> set[KeyId]:
    shown = outcome.keys if isinstance(outcome, KeysShown) else (outcome,) if isinstance(outcome, KeyShown) else ()
    return {each.key.key_id for each in shown}


@by_id_and_by_tag
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_it_does_it_neither_sees_nor_changes_a_key_outside(made: Limited, way: str, seed: int) -> None:
    house, caller, chance = made.house, caller_of(made, way), random.Random(seed)
    others = [made.outside, made.foreign, await tagged(house, {}, origin=Origin.EXTERNAL)]
    before = [await house.key_row(each) for each in others]
    inside = {made.inside}
    for number in range(150):
        key_id = chance.choice([made.inside, *others, NO_KEY])
        command = chance.choice(
            [
                NAMING_A_KEY[chance.choice(list(NAMING_A_KEY))](key_id),
                commands.ListKeys(chance.randrange(3), 1 + chance.randrange(3)),
                commands.CreateKey(f"mine-{number}", tags=chance.choice([TEAM, OTHER_TEAM, {}])),
                commands.Encrypt(key_id, Plaintext(b"x")),
            ]
        )
        try:
            outcome = await house.service.execute(caller, command)
        except HsmkmsError:
            continue
        if isinstance(command, commands.CreateKey):
            assert command.tags == TEAM
            inside |= _told(outcome)
        assert _told(outcome) <= inside
    assert (len(inside) > 1) is (way == "by_tag")
    assert [await house.key_row(each) for each in others] == before
