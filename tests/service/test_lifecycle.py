"""The life of a key: archived and back, switched with others, scheduled for deletion, kept, gone; never rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import pytest

from hsmkms.core.errors import (
    CiphertextInvalid,
    HsmkmsError,
    ImportTokenOver,
    ImportTokenUnknown,
    KeyNotFound,
    KeyStateForbids,
    RotationNotOffered,
    RotationOfExternal,
    TicketEnd,
)
from hsmkms.core.events import EventTag
from hsmkms.core.ids import Instant, KeyId, later
from hsmkms.core.keys import KeyState, Origin
from hsmkms.core.secrets import Plaintext
from hsmkms.core.tickets import TicketState
from hsmkms.service import commands
from hsmkms.service.commands import (
    ArchiveKey,
    CancelDeletion,
    CreateKey,
    Decrypt,
    DeleteMaterial,
    DescribeKey,
    DescribeKeys,
    EnableRotation,
    Encrypt,
    GetImportParameters,
    KeyShown,
    KeysShown,
    ListKeys,
    MakeDataKey,
    ReEncrypt,
    RelabelKey,
    ScheduleDeletion,
    SwitchKey,
    SwitchKeys,
)
from tests.service.house import DAY, OAEP

if TYPE_CHECKING:
    from hsmkms.service.commands import Command
    from tests.service.house import House

NOBODYS: Final = KeyId("00000000-0000-4000-8000-000000000000")


@pytest.fixture
async def key_id(house: House) -> KeyId:
    """A key with material."""
    made = await house.key()
    await house.imported(made)
    return made


async def _refused(house: House, command: Command) -> HsmkmsError:
    with pytest.raises(HsmkmsError) as caught:
        await house.service.execute(house.caller, command)
    return caught.value


# --- the archive --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", [True, False])
async def test_a_key_leaves_the_archive_as_it_went_in(house: House, key_id: KeyId, on: bool) -> None:
    await house.switch(key_id, on=on)
    before = await house.state(key_id)
    await house.archive(key_id)
    assert await house.state(key_id) is KeyState.ARCHIVED
    await house.archive(key_id, archived=False)
    assert await house.state(key_id) is before
    assert before is (KeyState.ENABLED if on else KeyState.DISABLED)


async def test_in_the_archive_a_key_is_neither_switched_nor_imported_nor_archived_again(
    house: House, key_id: KeyId
) -> None:
    parameters = await house.parameters(key_id)
    await house.archive(key_id)
    before = await house.key_row(key_id)
    for command in (
        SwitchKey(key_id, on=True),
        SwitchKey(key_id, on=False),
        house.command(parameters),
        GetImportParameters(key_id, OAEP, "WrappingAlgorithm"),
        DeleteMaterial(key_id),
        ArchiveKey(key_id, archived=True),
    ):
        assert isinstance(await _refused(house, command), KeyStateForbids)
    assert await house.key_row(key_id) == before


async def test_a_key_without_material_is_not_archived_and_none_leaves_the_archive_twice(
    house: House, key_id: KeyId
) -> None:
    for command in (ArchiveKey(await house.key(), archived=True), ArchiveKey(key_id, archived=False)):
        assert isinstance(await _refused(house, command), KeyStateForbids)


# --- several at once ----------------------------------------------------------------------------------------


async def test_several_keys_are_switched_together(house: House, key_id: KeyId) -> None:
    other = await house.key(origin=Origin.GENERATED)
    for on in (False, True):
        await house.service.execute(house.caller, SwitchKeys((key_id, other), on))
        expected = KeyState.ENABLED if on else KeyState.DISABLED
        assert [await house.state(each) for each in (key_id, other)] == [expected, expected]
    assert len(await house.events(EventTag.KEY_DISABLED)) == len(await house.events(EventTag.KEY_ENABLED)) == 2


@pytest.mark.parametrize("bad", ["without material", "nobody's", "another account's", "gone"])
@pytest.mark.parametrize("first", [True, False])
async def test_of_several_keys_all_are_switched_or_none(house: House, key_id: KeyId, bad: str, first: bool) -> None:
    match bad:
        case "without material":
            other = await house.key()
        case "nobody's":
            other = NOBODYS
        case "another account's":
            other = await house.key(origin=Origin.GENERATED, caller=house.stranger)
        case _:
            other = await house.key(origin=Origin.GENERATED)
            house.clock.set(await house.schedule(other))
    before = await house.key_row(key_id)
    fault = await _refused(house, SwitchKeys((other, key_id) if first else (key_id, other), on=False))
    assert type(fault) is (KeyStateForbids if bad == "without material" else KeyNotFound)
    assert await house.key_row(key_id) == before
    assert await house.events(EventTag.KEY_DISABLED) == []


# --- rotation -----------------------------------------------------------------------------------------------


async def test_rotation_is_refused_by_its_reason(house: House, key_id: KeyId) -> None:
    generated = await house.key(origin=Origin.GENERATED)
    assert type(await _refused(house, EnableRotation(key_id))) is RotationOfExternal
    assert type(await _refused(house, EnableRotation(generated))) is RotationNotOffered
    assert type(await _refused(house, EnableRotation(NOBODYS))) is KeyNotFound
    with pytest.raises(KeyNotFound):
        await house.service.execute(house.stranger, EnableRotation(key_id))


# --- deletion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [7, 30, 1096])
async def test_a_deletion_is_due_as_many_days_later_as_asked_for(house: House, key_id: KeyId, days: int) -> None:
    due = await house.schedule(key_id, days=days)
    assert due == later(house.clock.now(), seconds=days * DAY)
    [event] = await house.events(EventTag.DELETION_SCHEDULED)
    assert (event.key_id, event.detail) == (key_id, {"due": due})
    assert await house.state(key_id) is KeyState.PENDING_DELETE


async def test_a_scheduled_key_loses_its_tickets_at_once_and_for_ever(house: House, key_id: KeyId) -> None:
    commands_issued = [house.command(await house.parameters(key_id)) for _ in range(2)]
    await house.schedule(key_id)
    for each in commands_issued:
        ticket, pair = await house.ticket(each), await house.pair(each)
        assert (ticket.state, pair.live, pair.record) == (TicketState.VOID, 0, None)
    assert len(await house.events(EventTag.TICKET_VOIDED)) == 2
    assert isinstance(await _refused(house, commands_issued[0]), KeyStateForbids)
    await house.cancel(key_id)
    await house.switch(key_id, on=True)
    fault = await _refused(house, commands_issued[0])
    assert isinstance(fault, ImportTokenOver)
    assert fault.end is TicketEnd.VOID


async def test_nothing_can_be_done_with_a_scheduled_key_but_to_look_and_to_keep_it(house: House, key_id: KeyId) -> None:
    ciphertext = await house.encrypted(key_id)
    await house.schedule(key_id)
    before = await house.key_row(key_id)
    still_possible = {DescribeKey, DescribeKeys, CancelDeletion, EnableRotation}
    for command in _on(key_id, ciphertext):
        if type(command) not in still_possible:
            assert isinstance(await _refused(house, command), KeyStateForbids), command
    assert await house.key_row(key_id) == before


@pytest.mark.parametrize("way", ["enabled", "disabled", "archived", "without material", "expired meanwhile"])
async def test_a_key_that_is_kept_is_disabled_or_pending_import(house: House, way: str) -> None:
    key_id = await house.key()
    if way != "without material":
        expiry = later(house.clock.now(), seconds=DAY) if way == "expired meanwhile" else None
        await house.imported(key_id, valid_to=expiry)
    if way == "disabled":
        await house.switch(key_id, on=False)
    if way == "archived":
        await house.archive(key_id)
    house.clock.set(Instant(await house.schedule(key_id) - 1))
    await house.sweeper.sweep()
    await house.cancel(key_id)
    usable = way in {"enabled", "disabled", "archived"}
    assert await house.state(key_id) is (KeyState.DISABLED if usable else KeyState.PENDING_IMPORT)
    house.clock.advance(30 * DAY)
    await house.sweeper.sweep()
    assert await house.sql.find_tombstone(key_id) is None
    if not usable:
        await house.imported(key_id)
        assert await house.state(key_id) is KeyState.DISABLED, "an import never switches a key on"
    await house.switch(key_id, on=True)
    assert await house.state(key_id) is KeyState.ENABLED


async def test_only_a_scheduled_deletion_is_cancelled_and_only_once(house: House, key_id: KeyId) -> None:
    assert isinstance(await _refused(house, CancelDeletion(key_id)), KeyStateForbids)
    await house.schedule(key_id)
    await house.cancel(key_id)
    assert isinstance(await _refused(house, CancelDeletion(key_id)), KeyStateForbids)
    assert len(await house.events(EventTag.DELETION_CANCELLED)) == 1


# --- the end ------------------------------------------------------------------------------------------------

ON_NO_KEY: Final = {
    commands.CreateKey,
    commands.ListKeys,
    commands.MakeRandom,
    commands.DescribeService,
    commands.ImportMaterial,
}


def _on(key_id: KeyId, ciphertext: bytes) -> list[Command]:
    """Return every command on a key, but an import, for which a ticket is needed."""
    return [
        DescribeKey(key_id),
        DescribeKeys((key_id,)),
        SwitchKey(key_id, on=True),
        SwitchKeys((key_id,), on=False),
        RelabelKey(key_id, "another"),
        ScheduleDeletion(key_id, 7),
        CancelDeletion(key_id),
        ArchiveKey(key_id, archived=True),
        ArchiveKey(key_id, archived=False),
        EnableRotation(key_id),
        GetImportParameters(key_id, OAEP, "WrappingAlgorithm"),
        DeleteMaterial(key_id),
        Encrypt(key_id, Plaintext(b"x")),
        MakeDataKey(key_id, 32),
        Decrypt(ciphertext),
        ReEncrypt(ciphertext, target_context=b"other"),
    ]


@pytest.mark.parametrize("swept", [False, True])
async def test_at_the_instant_its_deletion_is_due_a_key_is_gone_for_every_command(
    house: House, key_id: KeyId, swept: bool
) -> None:
    ciphertext = await house.encrypted(key_id)
    everything = _on(key_id, ciphertext)
    assert {type(each) for each in everything} == set(get_args(commands.Command)) - ON_NO_KEY
    import_command = house.command(await house.parameters(key_id))
    due = await house.schedule(key_id)
    house.clock.set(Instant(due - 1))
    assert await house.state(key_id) is KeyState.PENDING_DELETE
    assert await _total(house) == 1
    house.clock.set(due)
    if swept:
        await house.sweeper.sweep()
    ciphered = list(house.hsm.ciphered)
    for command in [*everything, import_command]:
        expected = CiphertextInvalid if isinstance(command, Decrypt | ReEncrypt) else KeyNotFound
        assert type(await _refused(house, command)) is expected, command
    assert await _total(house) == 0
    assert house.hsm.ciphered == ciphered
    assert (await house.sql.find_tombstone(key_id) is not None) is swept


async def _total(house: House) -> int:
    shown = await house.service.execute(house.caller, ListKeys(0, 10))
    assert isinstance(shown, KeysShown)
    assert len(shown.keys) == shown.total
    return shown.total


async def test_the_token_of_a_deleted_keys_import_is_unknown_to_every_other_key(house: House, key_id: KeyId) -> None:
    command = house.command(await house.parameters(key_id))
    house.clock.set(await house.schedule(key_id))
    await house.sweeper.sweep()
    other = commands.ImportMaterial(await house.key(), command.import_token, command.ciphertext, None)
    assert type(await _refused(house, other)) is ImportTokenUnknown


async def test_the_alias_of_a_deleted_key_can_be_given_again(house: House) -> None:
    async def create() -> KeyId:
        shown = await house.service.execute(house.caller, CreateKey("payments"))
        assert isinstance(shown, KeyShown)
        return shown.key.key_id

    first = await create()
    house.clock.set(await house.schedule(first))
    await house.sweeper.sweep()
    assert await create() != first
