"""What callers do with the material of keys, and every way in which they may not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core import ciphertexts
from hsmkms.core.errors import (
    CipherNotOffered,
    CiphertextInvalid,
    HsmkmsError,
    KeyNotFound,
    KeyStateForbids,
    KeyUsedUp,
    TokenUnavailable,
)
from hsmkms.core.ids import Instant, KeyId, later
from hsmkms.core.keys import KeyAction, KeyState, Origin
from hsmkms.core.secrets import Plaintext
from hsmkms.service.commands import (
    DataKeyMade,
    Decrypt,
    Encrypt,
    MakeDataKey,
    MakeRandom,
    RandomMade,
    ReEncrypt,
    ReEncrypted,
)
from tests.service.house import DAY, PLAINTEXT, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.credentials import Caller
    from hsmkms.service.commands import Command
    from tests.service.house import House

NOBODYS: Final = KeyId("00000000-0000-4000-8000-000000000000")
CONTEXT: Final = ciphertexts.context_of_text("where it is used")
OTHER_CONTEXT: Final = ciphertexts.context_of_text("where it is not used")


@pytest.fixture
async def house(housed: Callable[..., Awaitable[House]]) -> House:
    """A deployment in which every single use shows in the database."""
    return await housed(Settings(uses_leased_at_once=1))


@pytest.fixture
async def key_id(house: House) -> KeyId:
    """A key with material."""
    return await _a_key(house)


async def _a_key(house: House, *, valid_to: Instant | None = None) -> KeyId:
    key_id = await house.key()
    await house.imported(key_id, valid_to=valid_to)
    return key_id


async def _refused(house: House, command: Command, caller: Caller | None = None) -> HsmkmsError:
    with pytest.raises(HsmkmsError) as caught:
        await house.service.execute(caller or house.caller, command)
    return caught.value


async def _bring_into(house: House, key_id: KeyId, state: KeyState) -> None:
    match state:
        case KeyState.DISABLED:
            await house.switch(key_id, on=False)
        case KeyState.PENDING_IMPORT:
            await house.delete(key_id)
        case KeyState.PENDING_DELETE:
            await house.schedule(key_id)
        case KeyState.ARCHIVED:
            await house.archive(key_id)
    assert await house.state(key_id) is state


# --- there and back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 22, 4096])
@pytest.mark.parametrize("origin", Origin)
async def test_what_was_encrypted_decrypts_with_the_same_context(house: House, origin: Origin, size: int) -> None:
    key_id = await house.key(origin=origin)
    if origin is Origin.EXTERNAL:
        await house.imported(key_id)
    ciphertext = await house.encrypted(key_id, b"x" * size, CONTEXT)
    assert await house.decrypted(ciphertext, CONTEXT) == b"x" * size
    assert await house.encrypted(key_id, b"x" * size, CONTEXT) != ciphertext


@pytest.mark.parametrize("shown", [True, False])
async def test_a_data_key_is_shown_only_if_asked_for_and_its_ciphertext_decrypts(
    house: House, key_id: KeyId, shown: bool
) -> None:
    made = await house.service.execute(house.caller, MakeDataKey(key_id, 32, CONTEXT, shown))
    assert isinstance(made, DataKeyMade)
    plaintext = await house.decrypted(made.ciphertext, CONTEXT)
    assert (made.key_id, len(plaintext)) == (key_id, 32)
    assert made.plaintext == (Plaintext(plaintext) if shown else None)
    assert house.hsm.ciphered == ["make_data_key", "decrypt"]


async def test_random_bytes_need_no_key(house: House) -> None:
    made = [await house.service.execute(house.caller, MakeRandom(32)) for _ in range(2)]
    first, second = [each.value.reveal() for each in made if isinstance(each, RandomMade)]
    assert first != second
    assert len(first) == len(second) == 32


async def test_a_ciphertext_is_unreadable_without_the_material_and_readable_with_it_again(
    house: House, key_id: KeyId
) -> None:
    ciphertext = await house.encrypted(key_id)
    await house.delete(key_id)
    await _refused_for_want_of_material(house, ciphertext)
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=60))
    assert await house.decrypted(ciphertext) == PLAINTEXT
    house.clock.advance(60)
    await _refused_for_want_of_material(house, ciphertext)
    await house.imported(key_id)
    assert await house.decrypted(ciphertext) == PLAINTEXT


async def _refused_for_want_of_material(house: House, ciphertext: bytes) -> None:
    ciphered = list(house.hsm.ciphered)
    fault = await _refused(house, Decrypt(ciphertext))
    assert isinstance(fault, KeyStateForbids)
    assert (fault.state, fault.action) == (KeyState.PENDING_IMPORT, KeyAction.DECRYPT)
    assert house.hsm.ciphered == ciphered


# --- re-encryption ------------------------------------------------------------------------------------------


async def _re_encrypted(house: House, command: ReEncrypt) -> ReEncrypted:
    made = await house.service.execute(house.caller, command)
    assert isinstance(made, ReEncrypted)
    return made


async def test_re_encryption_changes_key_and_context_and_no_plaintext_is_seen(house: House, key_id: KeyId) -> None:
    other = await _a_key(house)
    ciphertext = await house.encrypted(key_id, context=CONTEXT)
    made = await _re_encrypted(house, ReEncrypt(ciphertext, CONTEXT, other, OTHER_CONTEXT))
    assert (made.source, made.key_id, made.changed) == (key_id, other, True)
    assert house.hsm.ciphered == ["encrypt", "re_encrypt"]
    assert await house.decrypted(made.ciphertext, OTHER_CONTEXT) == PLAINTEXT
    await house.delete(key_id)
    assert await house.decrypted(made.ciphertext, OTHER_CONTEXT) == PLAINTEXT


@pytest.mark.parametrize("named", [True, False])
async def test_with_key_and_context_as_they_are_the_ciphertext_stays_the_same(
    house: House, key_id: KeyId, named: bool
) -> None:
    ciphertext = await house.encrypted(key_id, context=CONTEXT)
    command = ReEncrypt(ciphertext, CONTEXT, key_id if named else None, CONTEXT)
    made = await _re_encrypted(house, command)
    assert made == ReEncrypted(key_id, key_id, ciphertext, changed=False)
    assert house.hsm.ciphered == ["encrypt", "require_decryptable"], "no plaintext comes into this process"
    wrong = replace(command, context=OTHER_CONTEXT, target_context=OTHER_CONTEXT)
    assert type(await _refused(house, wrong)) is CiphertextInvalid


async def test_another_context_alone_makes_another_ciphertext(house: House, key_id: KeyId) -> None:
    ciphertext = await house.encrypted(key_id, context=CONTEXT)
    made = await _re_encrypted(house, ReEncrypt(ciphertext, CONTEXT, None, OTHER_CONTEXT))
    assert (made.key_id, made.changed) == (key_id, True)
    assert await house.decrypted(made.ciphertext, OTHER_CONTEXT) == PLAINTEXT


# --- what a state allows ------------------------------------------------------------------------------------

ENCRYPTS: Final = {KeyState.ENABLED}
DECRYPTS: Final = {KeyState.ENABLED, KeyState.ARCHIVED}
VERBS: Final[dict[str, tuple[KeyAction, set[KeyState]]]] = {
    "encrypt": (KeyAction.ENCRYPT, ENCRYPTS),
    "make_data_key": (KeyAction.ENCRYPT, ENCRYPTS),
    "decrypt": (KeyAction.DECRYPT, DECRYPTS),
    "re-encrypt from": (KeyAction.DECRYPT, DECRYPTS),
    "re-encrypt to": (KeyAction.ENCRYPT, ENCRYPTS),
}


@pytest.mark.parametrize("state", KeyState)
@pytest.mark.parametrize("verb", VERBS)
async def test_a_key_does_in_each_state_what_is_documented_and_no_more(
    house: House, key_id: KeyId, state: KeyState, verb: str
) -> None:
    other = await _a_key(house)
    own, others = await house.encrypted(key_id), await house.encrypted(other)
    await _bring_into(house, key_id, state)
    commands: dict[str, Command] = {
        "encrypt": Encrypt(key_id, Plaintext(PLAINTEXT)),
        "make_data_key": MakeDataKey(key_id, 16),
        "decrypt": Decrypt(own),
        "re-encrypt from": ReEncrypt(own, target=other),
        "re-encrypt to": ReEncrypt(others, target=key_id),
    }
    command = commands[verb]
    action, allowed = VERBS[verb]
    used = await house.uses(key_id), await house.uses(other)
    if state in allowed:
        await house.service.execute(house.caller, command)
        assert len(house.hsm.ciphered) == 3
        return
    fault = await _refused(house, command)
    assert isinstance(fault, KeyStateForbids)
    assert (fault.state, fault.action) == (state, action)
    assert house.hsm.ciphered == ["encrypt", "encrypt"]
    assert (await house.uses(key_id), await house.uses(other)) == used


async def test_an_archived_key_whose_material_expired_does_not_decrypt(house: House) -> None:
    key_id = await _a_key(house, valid_to=later(house.clock.now(), seconds=60))
    ciphertext = await house.encrypted(key_id)
    await house.archive(key_id)
    assert await house.decrypted(ciphertext) == PLAINTEXT
    house.clock.advance(60)
    for _ in range(2):
        assert await house.state(key_id) is KeyState.ARCHIVED
        await _refused_for_want_of_material(house, ciphertext)
        await house.sweeper.sweep()
        assert (await house.key_row(key_id)).material is None


# --- what does not decrypt ----------------------------------------------------------------------------------

NOT_ASKED: Final = (
    "empty",
    "cut short",
    "no magic",
    "other version",
    "other algorithm",
    "key that never was",
    "other generation",
    "key named that it is not",
    "other account",
    "deleted key",
)
ASKED: Final = ("other key", "other context", "no context", "tag", "initialisation vector")


async def _spoilt(house: House, key_id: KeyId, way: str) -> Decrypt:
    """Return a decryption that is spoilt in one way."""
    raw = await house.encrypted(key_id, context=CONTEXT)
    whole = ciphertexts.parse(raw)
    match way:
        case "empty" | "cut short":
            raw = raw[: 0 if way == "empty" else -1]
        case "no magic" | "other version" | "other algorithm":
            raw = _flipped(raw, {"no magic": 0, "other version": 4, "other algorithm": 5}[way], 3)
        case "key that never was":
            raw = replace(whole, head=replace(whole.head, key_id=NOBODYS)).packed()
        case "other generation":
            raw = replace(whole, head=replace(whole.head, generation=2)).packed()
        case "key named that it is not":
            return Decrypt(raw, CONTEXT, await _a_key(house))
        case "deleted key":
            house.clock.set(await house.schedule(key_id))
            await house.sweeper.sweep()
        case "other key":  # with the same material
            raw = replace(whole, head=replace(whole.head, key_id=await _a_key(house))).packed()
        case "other context" | "no context":
            return Decrypt(raw, OTHER_CONTEXT if way == "other context" else b"")
        case "tag" | "initialisation vector":
            raw = _flipped(raw, -1 if way == "tag" else 26, 1)
    return Decrypt(raw, CONTEXT)


def _flipped(raw: bytes, place: int, bits: int) -> bytes:
    flipped = bytearray(raw)
    flipped[place] ^= bits
    return bytes(flipped)


@pytest.mark.parametrize("way", [*NOT_ASKED, *ASKED])
async def test_whatever_does_not_decrypt_is_refused_alike(house: House, key_id: KeyId, way: str) -> None:
    command = await _spoilt(house, key_id, way)
    again = ReEncrypt(command.ciphertext, command.context, key_id=command.key_id, target_context=b"x")
    caller = house.stranger if way == "other account" else house.caller
    for each in (command, again):
        ciphered = len(house.hsm.ciphered)
        fault = await _refused(house, each, caller)
        assert type(fault) is CiphertextInvalid
        assert fault.message == CiphertextInvalid.text
        assert len(house.hsm.ciphered) - ciphered == (0 if way in NOT_ASKED else 1)


async def test_no_bit_of_a_ciphertext_may_be_another(house: House, key_id: KeyId) -> None:
    raw = await house.encrypted(key_id, context=CONTEXT)
    for place in range(len(raw)):
        for bit in range(8):
            assert type(await _refused(house, Decrypt(_flipped(raw, place, 1 << bit), CONTEXT))) is CiphertextInvalid
    assert await house.decrypted(raw, CONTEXT) == PLAINTEXT


# --- the order of the checks --------------------------------------------------------------------------------

TO_ENCRYPT: Final[dict[str, type[HsmkmsError]]] = {
    "account": KeyNotFound,
    "state": KeyStateForbids,
    "cipher": CipherNotOffered,
    "uses": KeyUsedUp,
    "token": TokenUnavailable,
}
TO_DECRYPT: Final[dict[str, type[HsmkmsError]]] = {
    "form": CiphertextInvalid,
    "named": CiphertextInvalid,
    "account": CiphertextInvalid,
    "state": KeyStateForbids,
    "cipher": CipherNotOffered,
    "generation": CiphertextInvalid,
    "token": TokenUnavailable,
    "context": CiphertextInvalid,
}


def _sets(rules: dict[str, type[HsmkmsError]]) -> list[tuple[str, ...]]:
    names = list(rules)
    alone = [(name,) for name in names]
    return alone + [(one, other) for at, one in enumerate(names) for other in names[at + 1 :]]


async def _break(house: House, key_id: KeyId, broken: tuple[str, ...]) -> Caller:
    if "state" in broken:
        await house.switch(key_id, on=False)
    if "cipher" in broken:
        house.hsm.ciphers = frozenset()
    house.hsm.sick = "token" in broken
    return house.stranger if "account" in broken else house.caller


@pytest.mark.parametrize("broken", _sets(TO_ENCRYPT), ids="+".join)
async def test_to_encrypt_every_check_is_made_before_every_later_one(
    housed: Callable[..., Awaitable[House]], broken: tuple[str, ...]
) -> None:
    house = await housed(Settings(uses_leased_at_once=1, most_uses=2))
    key_id = await _a_key(house)
    for _ in range(2 if "uses" in broken else 0):
        await house.encrypted(key_id)
    caller = await _break(house, key_id, broken)
    for command in (Encrypt(key_id, Plaintext(PLAINTEXT)), MakeDataKey(key_id, 32)):
        assert isinstance(await _refused(house, command, caller), TO_ENCRYPT[broken[0]])
    # A use is counted before the token is asked, and never given back.
    assert await house.uses(key_id) == (2 if "uses" in broken or broken == ("token",) else 0)


@pytest.mark.parametrize("broken", _sets(TO_DECRYPT), ids="+".join)
async def test_to_decrypt_every_check_is_made_before_every_later_one(
    house: House, key_id: KeyId, broken: tuple[str, ...]
) -> None:
    raw = await house.encrypted(key_id, context=CONTEXT)
    whole = ciphertexts.parse(raw)
    if "generation" in broken:
        raw = replace(whole, head=replace(whole.head, generation=2)).packed()
    caller = await _break(house, key_id, broken)
    command = Decrypt(
        raw[:-1] if "form" in broken else raw,
        OTHER_CONTEXT if "context" in broken else CONTEXT,
        NOBODYS if "named" in broken else None,
    )
    assert isinstance(await _refused(house, command, caller), TO_DECRYPT[broken[0]])
    asked = set(broken) <= {"token", "context"}
    assert house.hsm.ciphered == ["encrypt", *(["decrypt"] if asked else [])]


async def test_re_encryption_judges_the_ciphertext_before_the_target(house: House, key_id: KeyId) -> None:
    raw = await house.encrypted(key_id)
    foreign = await house.key(origin=Origin.GENERATED, caller=house.stranger)
    for target in (NOBODYS, foreign):
        assert type(await _refused(house, ReEncrypt(raw, target=target))) is KeyNotFound
        assert type(await _refused(house, ReEncrypt(raw[1:], target=target))) is CiphertextInvalid
    await house.switch(key_id, on=False)
    assert type(await _refused(house, ReEncrypt(raw, target=NOBODYS))) is KeyStateForbids
    assert house.hsm.ciphered == ["encrypt"]


async def test_a_token_without_the_cipher_is_named_and_nothing_stands_in_for_it(house: House, key_id: KeyId) -> None:
    house.hsm.ciphers = frozenset()
    fault = await _refused(house, Encrypt(key_id, Plaintext(PLAINTEXT)))
    assert "AES_256_GCM" in fault.message
    assert house.hsm.ciphered == []
    assert isinstance(await house.service.execute(house.caller, MakeRandom(16)), RandomMade)


# --- counting -----------------------------------------------------------------------------------------------


async def test_every_encryption_is_counted_once_and_no_decryption_is(house: House, key_id: KeyId) -> None:
    other = await _a_key(house)
    ciphertext = await house.encrypted(key_id)
    assert await house.uses(key_id) == 1
    await house.service.execute(house.caller, MakeDataKey(key_id, 32))
    await house.service.execute(house.caller, ReEncrypt(ciphertext, target_context=CONTEXT))
    assert await house.uses(key_id) == 3
    await house.decrypted(ciphertext)
    await house.service.execute(house.caller, ReEncrypt(ciphertext))
    await house.service.execute(house.caller, MakeRandom(32))
    await _refused(house, Decrypt(ciphertext, CONTEXT))
    await _refused(house, ReEncrypt(ciphertext[1:], target=other))
    assert (await house.uses(key_id), await house.uses(other)) == (3, 0)
    await house.service.execute(house.caller, ReEncrypt(ciphertext, target=other))
    assert (await house.uses(key_id), await house.uses(other)) == (3, 1)


async def test_a_key_that_is_used_up_still_decrypts(housed: Callable[..., Awaitable[House]]) -> None:
    house = await housed(Settings(uses_leased_at_once=1, most_uses=2))
    key_id, other = await _a_key(house), await _a_key(house)
    ciphertext = [await house.encrypted(key_id) for _ in range(2)][1]
    for command in (
        Encrypt(key_id, Plaintext(PLAINTEXT)),
        MakeDataKey(key_id, 32),
        ReEncrypt(ciphertext, target_context=CONTEXT),
    ):
        assert type(await _refused(house, command)) is KeyUsedUp
    assert await house.decrypted(ciphertext) == PLAINTEXT
    assert (await _re_encrypted(house, ReEncrypt(ciphertext, target=other))).key_id == other


async def test_deleting_and_importing_the_material_gives_no_uses_back(house: House, key_id: KeyId) -> None:
    await house.encrypted(key_id)
    await house.delete(key_id)
    await house.imported(key_id)
    await house.encrypted(key_id)
    house.clock.advance(DAY)
    await house.sweeper.sweep()
    assert await house.uses(key_id) == 2


# --- secrecy ------------------------------------------------------------------------------------------------


async def test_neither_a_command_nor_an_outcome_nor_an_event_shows_a_plaintext(house: House, key_id: KeyId) -> None:
    ciphertext = await house.encrypted(key_id)
    made = await house.service.execute(house.caller, MakeDataKey(key_id, 32))
    assert isinstance(made, DataKeyMade)
    assert made.plaintext is not None
    shown = repr(
        [
            Encrypt(key_id, Plaintext(PLAINTEXT)),
            Decrypt(ciphertext),
            await house.service.execute(house.caller, Decrypt(ciphertext)),
            made,
            await house.events(),
        ]
    )
    for secret in (PLAINTEXT, made.plaintext.reveal(), ciphertext):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
