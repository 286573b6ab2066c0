"""The use and the life of keys through this dialect, with the service room behind it; the table is from the documents.

Sources: the error tables of the actions named here (API 2019-01-18). Where they have no code for a state it is
CmkStateNotSupport.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import pytest_asyncio

from hsmkms.core.credentials import Grant, Role
from hsmkms.core.ids import AccountName, later
from hsmkms.core.keys import Origin
from tests.dialects.clouds import Tencent, both_clouds
from tests.dialects.state_table import GRANTED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from hsmkms.core.ids import KeyId
    from tests.service.house import House

in_one_loop = pytest.mark.asyncio(loop_scope="module")

PLAINTEXT: Final = base64.b64encode(b"a secret of a customer").decode()
PAIRS: Final = '{"table":"customers","column":"name"}'
THE_SAME_PAIRS: Final = '{"column": "name", "table": "customers"}'
LIFETIME_SECONDS: Final = 60

CODES: Final[Mapping[str, str]] = {
    "disabled": "ResourceUnavailable.CmkDisabled",
    "pending": "ResourceUnavailable.KeyPendingDelete",
    "archived": "ResourceUnavailable.CmkArchived",
    "first-disable": "ResourceUnavailable.CmkShouldBeDisabled",
    "not-pending": "ResourceUnavailable.CmkNotPendingDelete",
    "state": "ResourceUnavailable.CmkStateNotSupport",
}

# A cell: "=" is granted, and the state stays; a state is granted, and that is the key's state then; else the refusal.
USE: Final = """
                   Encrypt   GenerateDataKey Decrypt   ReEncrypt
Enabled            =         =               =         =
Disabled           disabled  disabled        disabled  disabled
PendingImport      state     state           state     state
PendingDelete      pending   pending         pending   pending
Archived           archived  archived        =         archived
Archived-expired   archived  archived        state     state
"""
LIFE: Final = """
                   ScheduleKeyDeletion CancelKeyDeletion ArchiveKey CancelKeyArchive UpdateAlias UpdateKeyDescription
Enabled            first-disable       not-pending       Archived   state            =           =
Disabled           PendingDelete       not-pending       Archived   state            =           =
PendingImport      first-disable       not-pending       state      state            =           =
PendingDelete      first-disable       Disabled          state      state            state       state
Archived           first-disable       not-pending       state      Enabled          =           =
Archived-expired   first-disable       not-pending       state      PendingImport    =           =
"""


class Cell(NamedTuple):
    """What one action does in one situation."""

    situation: str
    action: str
    code: str
    state: str
    """The key's state afterwards."""


def cells(table: str) -> list[Cell]:
    head, *rows = table.strip().splitlines()
    made: list[Cell] = []
    for situation, *texts in (row.split() for row in rows):
        state = situation.partition("-")[0]
        for action, text in zip(head.split(), texts, strict=True):
            granted = text not in CODES
            made.append(Cell(situation, action, CODES.get(text, GRANTED), text if granted and text != "=" else state))
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tencent]:
    async with both_clouds(f"sqlite:///{tmp_path_factory.mktemp('tencent') / 'hsmkms.db'}") as clouds:
        yield clouds.tencent


@pytest.fixture
def house(cloud: Tencent) -> House:
    return cloud.house


async def encrypted(cloud: Tencent, key_id: KeyId, context: str = "") -> str:
    fields = {"KeyId": key_id, "Plaintext": PLAINTEXT, "EncryptionContext": context}
    blob: str = (await cloud.granted("Encrypt", fields))["CiphertextBlob"]
    return blob


async def brought_into(cloud: Tencent, situation: str) -> tuple[KeyId, str]:
    """Return an external key in that situation, and a ciphertext from when it was enabled."""
    house = cloud.house
    key_id = await house.key()
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=LIFETIME_SECONDS))
    ciphertext = await encrypted(cloud, key_id)
    ways: dict[str, list[str]] = {
        "Enabled": [],
        "Disabled": ["DisableKey"],
        "PendingImport": ["DeleteImportedKeyMaterial"],
        "PendingDelete": ["DisableKey", "ScheduleKeyDeletion"],
        "Archived": ["ArchiveKey"],
        "Archived-expired": ["ArchiveKey"],
    }
    for action in ways[situation]:
        await cloud.granted(action, fields_of(action, key_id, ciphertext))
    if situation == "Archived-expired":
        house.clock.advance(LIFETIME_SECONDS)
    return key_id, ciphertext


def fields_of(action: str, key_id: KeyId, ciphertext: str) -> dict[str, Any]:
    match action:
        case "Decrypt":
            return {"CiphertextBlob": ciphertext}
        case "ReEncrypt":
            return {"CiphertextBlob": ciphertext, "DestinationEncryptionContext": PAIRS}
    more: dict[str, dict[str, Any]] = {
        "Encrypt": {"Plaintext": PLAINTEXT},
        "GenerateDataKey": {"NumberOfBytes": 48},
        "ScheduleKeyDeletion": {"PendingWindowInDays": 7},
        "UpdateAlias": {"Alias": f"another-{key_id[:8]}"},
        "UpdateKeyDescription": {"Description": "another"},
    }
    return {"KeyId": key_id, **more.get(action, {})}


@in_one_loop
@pytest.mark.parametrize("cell", cells(USE) + cells(LIFE), ids=lambda cell: f"{cell.situation}-{cell.action}")
async def test_a_state_allows_what_the_documents_say(cell: Cell, cloud: Tencent, house: House) -> None:
    key_id, ciphertext = await brought_into(cloud, cell.situation)
    before = await house.key_row(key_id)
    answer = await cloud.ask(cell.action, fields_of(cell.action, key_id, ciphertext))
    assert answer.code == cell.code, answer.members
    if cell.code != GRANTED:
        assert await house.key_row(key_id) == before
    assert await cloud.state(key_id) == cell.state


# --- round trips ------------------------------------------------------------------------------------------


@in_one_loop
async def test_what_is_encrypted_is_decrypted_with_the_same_context(cloud: Tencent, house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    blob = await encrypted(cloud, key_id, PAIRS)
    opened = await cloud.granted("Decrypt", {"CiphertextBlob": blob, "EncryptionContext": THE_SAME_PAIRS})
    assert (opened["KeyId"], opened["Plaintext"]) == (key_id, PLAINTEXT)


@in_one_loop
async def test_a_ciphertext_moves_to_another_key_and_context(cloud: Tencent, house: House) -> None:
    first, second = await house.key(origin=Origin.GENERATED), await house.key(origin=Origin.GENERATED)
    blob = await encrypted(cloud, first, PAIRS)
    fields = {"CiphertextBlob": blob, "SourceEncryptionContext": PAIRS, "DestinationKeyId": second}
    moved = await cloud.granted("ReEncrypt", fields)
    assert (moved["SourceKeyId"], moved["KeyId"], moved["ReEncrypted"]) == (first, second, True)
    opened = await cloud.granted("Decrypt", {"CiphertextBlob": moved["CiphertextBlob"]})
    assert (opened["KeyId"], opened["Plaintext"]) == (second, PLAINTEXT)


@in_one_loop
async def test_a_ciphertext_for_the_same_key_and_context_stays_as_it_is(cloud: Tencent, house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    blob = await encrypted(cloud, key_id, PAIRS)
    contexts = {"SourceEncryptionContext": PAIRS, "DestinationEncryptionContext": THE_SAME_PAIRS}
    kept = await cloud.granted("ReEncrypt", {"CiphertextBlob": blob, **contexts})
    assert (kept["CiphertextBlob"], kept["ReEncrypted"]) == (blob, False)


@in_one_loop
@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"KeySpec": "AES_128"}, 16),
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_256", "NumberOfBytes": "1024"}, 1024),
    ],
)
async def test_a_data_key_comes_open_and_encrypted(
    asked: dict[str, str], size: int, cloud: Tencent, house: House
) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    made = await cloud.granted("GenerateDataKey", {"KeyId": key_id, "EncryptionContext": PAIRS, **asked})
    assert len(base64.b64decode(made["Plaintext"])) == size
    opened = await cloud.granted("Decrypt", {"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": PAIRS})
    assert opened["Plaintext"] == made["Plaintext"]


@in_one_loop
async def test_every_ciphertext_that_does_not_decrypt_is_refused_alike(cloud: Tencent, house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    blob = await encrypted(cloud, key_id, PAIRS)
    raw = base64.b64decode(blob)
    flipped = [base64.b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode() for at in range(len(raw))]
    stranger = await house.credentials.create(Grant(AccountName("stranger"), frozenset(Role)))
    asked: list[tuple[Tencent, dict[str, str]]] = [
        (cloud, {"CiphertextBlob": blob}),
        (cloud, {"CiphertextBlob": blob, "EncryptionContext": '{"table":"customers"}'}),
        (Tencent(house, stranger, cloud.dialect), {"CiphertextBlob": blob, "EncryptionContext": PAIRS}),
        *((cloud, {"CiphertextBlob": each, "EncryptionContext": PAIRS}) for each in (*flipped, "", "QUJD", blob[:-1])),
    ]
    refusals = set()
    for client, fields in asked:
        answer = await client.ask("Decrypt", fields)
        refusals.add((answer.code, answer.members["Error"]["Message"]))
    [(code, _message)] = refusals
    assert code == "InvalidParameterValue.InvalidCiphertext"


@in_one_loop
async def test_no_key_is_rotated(cloud: Tencent, house: House) -> None:
    external, generated = await house.key(), await house.key(origin=Origin.GENERATED)
    for key_id, code in ((external, "ExternalCmkCanNotRotate"), (generated, "RotateNotSupported")):
        refused = await cloud.ask("EnableKeyRotation", {"KeyId": key_id})
        assert refused.code == f"UnsupportedOperation.{code}"
        status = await cloud.granted("GetKeyRotationStatus", {"KeyId": key_id})
        assert status["KeyRotationEnabled"] is False
        await cloud.granted("DisableKeyRotation", {"KeyId": key_id})
    missing = {"KeyId": "93866e69-9755-11ef-8e65-52540089bc41"}
    for action in ("EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus"):
        assert (await cloud.ask(action, missing)).code == "ResourceUnavailable.CmkNotFound"


@in_one_loop
async def test_keys_are_found_by_their_tags(cloud: Tencent) -> None:
    tags = [{"TagKey": "部门", "TagValue": "研发"}, {"TagKey": "cost-centre", "TagValue": "7"}]
    tagged = (await cloud.granted("CreateKey", {"Alias": "tagged", "Type": 2, "Tags": tags}))["KeyId"]
    await cloud.granted("CreateKey", {"Alias": "tagged-else", "Type": 2, "Tags": tags[1:]})
    filters = [{"TagKey": "cost-centre", "TagValue": ["6", "7"]}, {"TagKey": "部门"}]
    listed = await cloud.granted("ListKeyDetail", {"TagFilters": filters})
    assert [each["KeyId"] for each in listed["KeyMetadatas"]] == [tagged]
    assert listed["TotalCount"] == 1


@in_one_loop
async def test_a_token_without_the_cipher_says_so(
    cloud: Tencent, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, blob = await brought_into(cloud, "Enabled")
    monkeypatch.setattr(house.hsm, "ciphers", frozenset())
    for action in ("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey"):
        assert (await cloud.ask(action, fields_of(action, key_id, blob))).code == "UnsupportedOperation"
    assert (await cloud.granted("ListAlgorithms"))["SymmetricAlgorithms"] == []
    await cloud.granted("GenerateRandom", {"NumberOfBytes": 16})
