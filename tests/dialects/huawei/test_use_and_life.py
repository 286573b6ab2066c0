"""The use and the life of keys through this dialect, with the service room behind it; the table is from the documents.

Source: the table of error codes of the DEW API reference.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import pytest_asyncio

from hsmkms.core.credentials import Grant, Role
from hsmkms.core.ids import AccountName, later
from hsmkms.core.keys import Origin
from tests.dialects.clouds import Clouds, Huawei, both_clouds
from tests.dialects.state_table import GRANTED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from hsmkms.core.ids import KeyId
    from tests.service.house import House

in_one_loop = pytest.mark.asyncio(loop_scope="module")

TEXT: Final = "客户的秘密"
AAD: Final = {"additional_authenticated_data": "table customers"}
PAIRS: Final = {"encryption_context": {"table": "customers", "column": "name"}}
DATA_KEY: Final = bytes(range(24))
WRAPPED_DATA_KEY: Final = (DATA_KEY + hashlib.sha256(DATA_KEY).digest()).hex()
LIFETIME_SECONDS: Final = 60
NUMBERS: Final[Mapping[str, str]] = {
    "enabled": "2",
    "disabled": "3",
    "pending-delete": "4",
    "pending-delete-empty": "4",
    "material-deleted": "5",
    "archived": "7",
    "archived-expired": "7",
}

# A cell: "=" is granted, and the state stays; one digit is granted, and that is the key's state then; else the refusal.
USE: Final = """
                     encrypt-data create-datakey encrypt-datakey decrypt-data decrypt-datakey re-encrypt
enabled              =            =              =               =            =               =
disabled             KMS.0209     KMS.0209       KMS.0209        KMS.0209     KMS.0209        KMS.0209
pending-delete       KMS.0210     KMS.0210       KMS.0210        KMS.0210     KMS.0210        KMS.0210
pending-delete-empty KMS.0210     KMS.0210       KMS.0210        KMS.0210     KMS.0210        KMS.0210
material-deleted     KMS.0310     KMS.0310       KMS.0310        KMS.0310     KMS.0310        KMS.0310
archived             KMS.0209     KMS.0209       KMS.0209        =            =               KMS.0209
archived-expired     KMS.0209     KMS.0209       KMS.0209        KMS.0310     KMS.0310        KMS.0310
"""
LIFE: Final = """
                     create-datakey-without-plaintext schedule-key-deletion cancel-key-deletion get-key-rotation-status
enabled              =                                4                     KMS.1501            =
disabled             KMS.0209                         4                     KMS.1501            =
pending-delete       KMS.0210                         KMS.1402              3                   =
pending-delete-empty KMS.0210                         KMS.1402              5                   =
material-deleted     KMS.0310                         4                     KMS.1501            =
archived             KMS.0209                         4                     KMS.1501            =
archived-expired     KMS.0209                         4                     KMS.1501            =
"""


class Subject(NamedTuple):
    """A key, and what it encrypted while it was enabled."""

    key_id: KeyId
    cipher_text: str
    data_key: str


def cells(table: str) -> list[tuple[str, str, str, str]]:
    """Return situation, operation, code and the key's state afterwards."""
    operations, *rows = (line.split() for line in table.strip().splitlines())
    return [
        (
            situation,
            operation,
            text if text.startswith("KMS.") else GRANTED,
            text if text.isdigit() else NUMBERS[situation],
        )
        for situation, *texts in rows
        for operation, text in zip(operations, texts, strict=True)
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clouds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clouds]:
    async with both_clouds(f"sqlite:///{tmp_path_factory.mktemp('huawei') / 'hsmkms.db'}") as clouds:
        yield clouds


@pytest.fixture
def cloud(clouds: Clouds) -> Huawei:
    return clouds.huawei


@pytest.fixture
def house(clouds: Clouds) -> House:
    return clouds.house


async def encrypted(cloud: Huawei, key_id: KeyId, **context: Any) -> str:  # noqa: ANN401
    fields = {"key_id": key_id, "plain_text": TEXT, **context}
    cipher_text: str = (await cloud.granted("encrypt-data", fields))["cipher_text"]
    return cipher_text


async def used(cloud: Huawei, key_id: KeyId) -> Subject:
    fields = fields_of("encrypt-datakey", Subject(key_id, "", ""))
    data_key = (await cloud.granted("encrypt-datakey", fields))["cipher_text"]
    return Subject(key_id, await encrypted(cloud, key_id), data_key)


async def brought_into(cloud: Huawei, situation: str) -> Subject:
    house = cloud.house
    key_id = await house.key()
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=LIFETIME_SECONDS))
    subject = await used(cloud, key_id)
    ways: dict[str, list[str]] = {
        "disabled": ["disable-key"],
        "pending-delete": ["schedule-key-deletion"],
        "pending-delete-empty": ["delete-imported-key-material", "schedule-key-deletion"],
        "material-deleted": ["delete-imported-key-material"],
    }
    for operation in ways.get(situation, []):
        await cloud.granted(operation, fields_of(operation, subject))
    if situation.startswith("archived"):
        await house.archive(key_id)
    if situation == "archived-expired":
        house.clock.advance(LIFETIME_SECONDS)
    return subject


def fields_of(operation: str, subject: Subject) -> dict[str, Any]:
    match operation:
        case "decrypt-data":
            return {"cipher_text": subject.cipher_text}
        case "re-encrypt":
            target = {"destination_additional_authenticated_data": "other", "destination_key_id": subject.key_id}
            return {"cipher_text": subject.cipher_text, **target}
    more: dict[str, dict[str, Any]] = {
        "encrypt-data": {"plain_text": TEXT},
        "encrypt-datakey": {"plain_text": WRAPPED_DATA_KEY, "datakey_plain_length": str(len(DATA_KEY))},
        "decrypt-datakey": {"cipher_text": subject.data_key, "datakey_cipher_length": str(len(DATA_KEY))},
        "schedule-key-deletion": {"pending_days": "7"},
    }
    return {"key_id": subject.key_id, **more.get(operation, {})}


@in_one_loop
@pytest.mark.parametrize(("situation", "operation", "code", "state"), cells(USE) + cells(LIFE))
async def test_a_state_allows_what_the_documents_say(
    situation: str, operation: str, code: str, state: str, cloud: Huawei, house: House
) -> None:
    subject = await brought_into(cloud, situation)
    before = await house.key_row(subject.key_id)
    answer = await cloud.ask(operation, fields_of(operation, subject))
    assert answer.code == code, answer.members
    if code != GRANTED:
        assert await house.key_row(subject.key_id) == before
    assert await cloud.state(subject.key_id) == state


# --- round trips ------------------------------------------------------------------------------------------


@in_one_loop
@pytest.mark.parametrize("context", [{}, AAD, PAIRS])
async def test_what_is_encrypted_is_decrypted_with_the_same_context(
    context: dict[str, Any], cloud: Huawei, house: House
) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    fields = {"cipher_text": await encrypted(cloud, key_id, **context), **context}
    for named in ({}, {"key_id": key_id}):
        opened = await cloud.granted("decrypt-data", fields | named)
        assert (opened["key_id"], opened["plain_text"]) == (key_id, TEXT)
        assert base64.b64decode(opened["plain_text_base64"]).decode() == TEXT


@in_one_loop
@pytest.mark.parametrize("text", ["x", "x" * 4096])
async def test_every_ciphertext_is_as_long_as_the_documents_say(text: str, cloud: Huawei, house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    made = await cloud.granted("encrypt-data", {"key_id": key_id, "plain_text": text})
    assert 128 <= len(made["cipher_text"]) <= 5648
    assert (await cloud.granted("decrypt-data", {"cipher_text": made["cipher_text"]}))["plain_text"] == text


@in_one_loop
async def test_a_ciphertext_moves_to_another_key_and_other_data(cloud: Huawei, house: House) -> None:
    first, second = await house.key(origin=Origin.GENERATED), await house.key(origin=Origin.GENERATED)
    fields = {
        "cipher_text": await encrypted(cloud, first, **AAD),
        "source_key_id": first,
        "source_additional_authenticated_data": AAD["additional_authenticated_data"],
        "destination_key_id": second,
    }
    moved = await cloud.granted("re-encrypt", fields)
    assert (moved["source_key_id"], moved["key_id"]) == (first, second)
    opened = await cloud.granted("decrypt-data", {"cipher_text": moved["cipher_text"]})
    assert (opened["key_id"], opened["plain_text"]) == (second, TEXT)


@in_one_loop
async def test_a_data_key_moves_to_another_key(cloud: Huawei, house: House) -> None:
    first, second = await house.key(origin=Origin.GENERATED), await house.key(origin=Origin.GENERATED)
    made = await cloud.granted("create-datakey", {"key_id": first})
    fields = {"cipher_text": made["cipher_text"], "destination_key_id": second}
    moved = await cloud.granted("re-encrypt", fields)
    fields = {"key_id": second, "cipher_text": moved["cipher_text"], "datakey_cipher_length": "32"}
    assert (await cloud.granted("decrypt-datakey", fields))["data_key"] == made["plain_text"]
    kept = await cloud.granted("re-encrypt", {"cipher_text": moved["cipher_text"], "destination_key_id": second})
    assert kept["cipher_text"] == moved["cipher_text"]


@in_one_loop
@pytest.mark.parametrize(
    ("asked", "size"),
    [({}, 32), ({"key_spec": "AES_128"}, 16), ({"key_spec": "AES_128", "datakey_length": 8192}, 1024)],
)
async def test_a_data_key_is_made_encrypted_and_decrypted(
    asked: dict[str, Any], size: int, cloud: Huawei, house: House
) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    made = await cloud.granted("create-datakey", {"key_id": key_id, **asked, **AAD})
    data_key = bytes.fromhex(made["plain_text"])
    hidden = await cloud.granted("create-datakey-without-plaintext", {"key_id": key_id, **asked, **AAD})
    digest = hashlib.sha256(data_key).digest()
    fields = {"key_id": key_id, "plain_text": (data_key + digest).hex(), "datakey_plain_length": str(size), **AAD}
    again = await cloud.granted("encrypt-datakey", fields)
    assert again["datakey_length"] == str(size) == str(len(data_key))
    for ciphertext, same in ((made, True), (again, True), (hidden, False)):
        fields = {"key_id": key_id, "cipher_text": ciphertext["cipher_text"], "datakey_cipher_length": str(size), **AAD}
        opened = await cloud.granted("decrypt-datakey", fields)
        assert (opened["data_key"] == made["plain_text"]) is same
        assert opened["datakey_dgst"] == hashlib.sha256(bytes.fromhex(opened["data_key"])).hexdigest().upper()
        assert opened["datakey_length"] == str(size)


@in_one_loop
async def test_random_bits_are_as_many_as_asked_for(cloud: Huawei) -> None:
    for bits in ("8", "512", 8192):
        made = await cloud.granted("gen-random", {"random_data_length": bits})
        assert len(made["random_data"]) * 4 == int(bits)


@in_one_loop
async def test_what_one_cloud_encrypts_the_other_decrypts(clouds: Clouds, house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    pairs = '{"column":"name","table":"customers"}'
    here = await encrypted(clouds.huawei, key_id, **PAIRS)
    opened = await clouds.tencent.granted("Decrypt", {"CiphertextBlob": here, "EncryptionContext": pairs})
    assert base64.b64decode(opened["Plaintext"]).decode() == TEXT
    fields = {"KeyId": key_id, "Plaintext": base64.b64encode(b"\xff\0").decode(), "EncryptionContext": pairs}
    there = (await clouds.tencent.granted("Encrypt", fields))["CiphertextBlob"]
    back = await clouds.huawei.granted("decrypt-data", {"cipher_text": there, **PAIRS})
    assert base64.b64decode(back["plain_text_base64"]) == b"\xff\0"


@in_one_loop
async def test_every_ciphertext_that_does_not_decrypt_is_refused_alike(cloud: Huawei, house: House) -> None:
    key_id, other = await house.key(origin=Origin.GENERATED), await house.key(origin=Origin.GENERATED)
    cipher_text = await encrypted(cloud, key_id, **AAD)
    raw = base64.b64decode(cipher_text)
    stranger = Huawei(
        house, await house.credentials.create(Grant(AccountName("stranger"), frozenset(Role))), cloud.dialect
    )
    whole = {"cipher_text": cipher_text, **AAD}
    of_data_key = {"key_id": key_id, "datakey_cipher_length": "32", **AAD}
    asked: list[tuple[Huawei, str, dict[str, Any]]] = [
        (cloud, "decrypt-data", {"cipher_text": cipher_text}),
        (cloud, "decrypt-data", {"cipher_text": cipher_text, **PAIRS}),
        (cloud, "decrypt-data", whole | {"key_id": other}),
        (stranger, "decrypt-data", whole),
        (cloud, "decrypt-datakey", of_data_key | {"cipher_text": raw.hex(), "key_id": other}),
        (cloud, "decrypt-datakey", of_data_key | {"cipher_text": raw.hex()[:-2]}),
        (cloud, "re-encrypt", {"cipher_text": cipher_text, "destination_key_id": other}),
        *((cloud, "decrypt-data", whole | {"cipher_text": each}) for each in ("", "QUJD", "*", cipher_text[:-1])),
    ]
    for at in range(len(raw)):
        flipped = raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :]
        asked.append((cloud, "decrypt-data", whole | {"cipher_text": base64.b64encode(flipped).decode()}))
        asked.append((cloud, "decrypt-datakey", of_data_key | {"cipher_text": flipped.hex()}))
    refusals = set()
    for client, operation, fields in asked:
        answer = await client.ask(operation, fields)
        refusals.add((answer.code, answer.members["error"]["error_msg"]))
    [(code, _message)] = refusals
    assert code == "KMS.0308"


@in_one_loop
async def test_material_that_comes_back_decrypts_again(cloud: Huawei, house: House) -> None:
    subject = await brought_into(cloud, "material-deleted")
    await house.imported(subject.key_id)
    assert (await cloud.granted("decrypt-data", {"cipher_text": subject.cipher_text}))["plain_text"] == TEXT


@in_one_loop
async def test_a_key_whose_deletion_is_due_is_gone_and_so_are_its_ciphertexts(cloud: Huawei, house: House) -> None:
    subject = await brought_into(cloud, "pending-delete")
    shown = (await cloud.granted("describe-key", {"key_id": subject.key_id}))["key_info"]
    house.clock.advance(7 * 86_400)
    assert shown["scheduled_deletion_date"] == str(house.clock.now())
    assert (await cloud.ask("cancel-key-deletion", {"key_id": subject.key_id})).code == "KMS.0207"
    assert (await cloud.ask("encrypt-data", fields_of("encrypt-data", subject))).code == "KMS.0207"
    assert (await cloud.ask("decrypt-data", fields_of("decrypt-data", subject))).code == "KMS.0308"


@in_one_loop
async def test_a_token_without_the_cipher_says_so(cloud: Huawei, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = await brought_into(cloud, "enabled")
    monkeypatch.setattr(house.hsm, "ciphers", frozenset())
    for operation in USE.split("\n")[1].split():
        answer = await cloud.ask(operation, fields_of(operation, subject))
        assert (answer.code, "AES_256_GCM" in answer.members["error"]["error_msg"]) == ("KMS.0308", True)
    await cloud.granted("gen-random", {"random_data_length": "8"})
