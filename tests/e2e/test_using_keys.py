"""Keys are used: every call of both official SDKs round-trips, also from one cloud to the other."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.database_file import uses_leased
from tests.e2e.ways_of_huawei_uses import with_digest
from tests.e2e.ways_of_uses import PLAINTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient
    from tests.e2e.huawei_client import HuaweiClient
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

PAIRS: Final = {"purpose": "test", "\u540d": "\u503c"}
SIZES: Final = (1, 62, 63, 4096)
"""Of plaintexts: those about a ciphertext's least size, and the largest one."""

pytestmark = pytest.mark.parametrize("service", ["softhsm"], indirect=True)


@pytest.fixture(scope="module")
def imported(service: RunningService) -> str:
    """A key that holds imported material."""
    client = service.client()
    key_id = client.external_key()
    client.bring(key_id, secrets.token_bytes(32))
    return key_id


@pytest.fixture(scope="module")
def generated(service: RunningService) -> str:
    """A key that holds generated material."""
    return service.client().generated_key()


@pytest.fixture(params=["tencent-huawei", "huawei-tencent", "tencent-tencent", "huawei-huawei"])
def clouds(request: pytest.FixtureRequest, client: TencentClient, huawei: HuaweiClient) -> tuple[CloudClient, ...]:
    """Who encrypts, and who decrypts."""
    by_name: dict[str, CloudClient] = {"tencent": client, "huawei": huawei}
    return tuple(by_name[name] for name in request.param.split("-"))


# --- what one encrypts the other decrypts -----------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_text_of_any_size(clouds: tuple[CloudClient, ...], imported: str, size: int) -> None:
    one, other = clouds
    plaintext = secrets.token_hex(size)[:size].encode()
    ciphertext = one.encrypt(imported, plaintext)
    assert one.encrypt(imported, plaintext) != ciphertext
    assert plaintext[:8] not in ciphertext or size < 8
    assert other.decrypt(ciphertext) == plaintext
    assert other.decrypt(ciphertext, {}) == plaintext, "no pairs are no context"


def test_a_context_of_pairs_in_any_order(clouds: tuple[CloudClient, ...], imported: str) -> None:
    one, other = clouds
    ciphertext = one.encrypt(imported, PLAINTEXT, PAIRS)
    assert other.decrypt(ciphertext, dict(reversed(PAIRS.items()))) == PLAINTEXT


def test_generated_material_encrypts_too(clouds: tuple[CloudClient, ...], generated: str) -> None:
    one, other = clouds
    assert other.decrypt(one.encrypt(generated, PLAINTEXT)) == PLAINTEXT


def test_a_data_key(clouds: tuple[CloudClient, ...], imported: str) -> None:
    one, other = clouds
    made = one.data_key(imported)
    assert len(made.plaintext) == 32
    assert one.data_key(imported).plaintext != made.plaintext
    assert other.decrypt(made.ciphertext) == made.plaintext


def test_a_ciphertext_is_re_encrypted(clouds: tuple[CloudClient, ...], imported: str, generated: str) -> None:
    one, other = clouds
    ciphertext = one.encrypt(imported, PLAINTEXT)
    again = other.re_encrypt(ciphertext, generated)
    assert again != ciphertext
    assert one.decrypt(again) == other.decrypt(again) == PLAINTEXT
    assert other.re_encrypt(ciphertext, imported) == ciphertext, "it is of this key already"


def test_random_bytes(clouds: tuple[CloudClient, ...]) -> None:
    for each in clouds:
        assert [len(each.random(size)) for size in (1, 1024)] == [1, 1024]
        assert each.random(32) != each.random(32)


# --- Tencent's own ----------------------------------------------------------------------------------------


def test_bytes_that_are_no_text_arrive_through_the_other_cloud_in_base64(
    client: TencentClient, huawei: HuaweiClient, imported: str
) -> None:
    plaintext = bytes(range(256))
    ciphertext = client.encrypt(imported, plaintext)
    assert client.decrypt(ciphertext) == plaintext
    assert huawei.decrypt(ciphertext) == plaintext


def text(context: dict[str, str]) -> str:
    return json.dumps(context)


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({}, False),
        ({"DestinationKeyId": "itself"}, False),
        ({"SourceEncryptionContext": "", "DestinationEncryptionContext": "{}"}, False),
        ({"DestinationEncryptionContext": text(PAIRS)}, True),
        ({"DestinationKeyId": "another"}, True),
        ({"DestinationKeyId": "another", "DestinationEncryptionContext": text(PAIRS)}, True),
    ],
    ids=str,
)
def test_re_encrypt_says_whether_it_did(
    client: TencentClient, imported: str, generated: str, fields: dict[str, Any], changed: bool
) -> None:
    key_ids = {"itself": imported, "another": generated}
    target = key_ids.get(fields.get("DestinationKeyId", "itself"))
    sent = base64.b64encode(client.encrypt(imported, PLAINTEXT)).decode()
    fields = {**fields, "DestinationKeyId": target} if "DestinationKeyId" in fields else fields
    answer = client.call("ReEncrypt", CiphertextBlob=sent, **fields)
    assert (answer.ReEncrypted, answer.SourceKeyId, answer.KeyId) == (changed, imported, target)
    assert (answer.CiphertextBlob != sent) is changed
    context = PAIRS if fields.get("DestinationEncryptionContext") == text(PAIRS) else None
    assert client.decrypt(base64.b64decode(answer.CiphertextBlob), context) == PLAINTEXT


def test_a_context_is_left_behind_by_re_encrypt(client: TencentClient, imported: str) -> None:
    sent = base64.b64encode(client.encrypt(imported, PLAINTEXT, PAIRS)).decode()
    answer = client.call("ReEncrypt", CiphertextBlob=sent, SourceEncryptionContext=text(PAIRS))
    assert answer.ReEncrypted is True
    assert client.decrypt(base64.b64decode(answer.CiphertextBlob)) == PLAINTEXT


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"KeySpec": "AES_128"}, 16),
        ({"KeySpec": "AES_256"}, 32),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": "1024"}, 1024),
        ({"KeySpec": "AES_256", "NumberOfBytes": 20, "EncryptionContext": text(PAIRS)}, 20),
    ],
    ids=str,
)
def test_data_keys_of_the_size_asked_for(
    client: TencentClient, imported: str, fields: dict[str, Any], size: int
) -> None:
    made = client.call("GenerateDataKey", KeyId=imported, **fields)
    plaintext = base64.b64decode(made.Plaintext, validate=True)
    assert (len(plaintext), made.DataKeyId) == (size, "")
    context = PAIRS if "EncryptionContext" in fields else None
    assert client.decrypt(base64.b64decode(made.CiphertextBlob), context) == plaintext


# --- Huawei's own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plaintext", ["\u6d4b\u8bd5 \U0001f511", "line\r\nend\n", "\0", " ", "\u00e9" * 2048], ids=ascii
)
def test_a_text_comes_back_letter_by_letter(huawei: HuaweiClient, imported: str, plaintext: str) -> None:
    fields = {"additional_authenticated_data": "\u6d4b\u8bd5", "encryption_algorithm": "SYMMETRIC_DEFAULT"}
    made = huawei.call("encrypt_data", key_id=imported, plain_text=plaintext, **fields)
    for key_id in (imported, None):
        read = huawei.call("decrypt_data", cipher_text=made.cipher_text, key_id=key_id, **fields)
        assert (read.key_id, read.plain_text) == (imported, plaintext)
        assert base64.b64decode(read.plain_text_base64) == plaintext.encode()


@pytest.mark.parametrize("spell", [str, str.lower], ids=["as-answered", "lower-case"])
@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, 32),
        ({"key_spec": "AES_128"}, 16),
        ({"datakey_length": "8"}, 1),
        ({"datakey_length": "8192"}, 1024),
        ({"key_spec": "AES_256", "datakey_length": "512"}, 64),
        ({"additional_authenticated_data": "a"}, 32),
    ],
    ids=str,
)
def test_data_keys_are_made_and_decrypted(
    huawei: HuaweiClient, imported: str, fields: dict[str, Any], size: int, spell: Callable[[str], str]
) -> None:
    shown = huawei.call("create_datakey", key_id=imported, **fields)
    hidden = huawei.call("create_datakey_without_plaintext", key_id=imported, **fields)
    assert "plain_text" not in huawei.answer.json()
    context = {name: value for name, value in fields.items() if name == "additional_authenticated_data"}
    for made in (shown, hidden):
        sent = {"cipher_text": spell(made.cipher_text), "datakey_cipher_length": str(size), **context}
        read = huawei.call("decrypt_datakey", key_id=imported, **sent)
        data_key = bytes.fromhex(read.data_key)
        assert (len(data_key), read.datakey_length) == (size, str(size))
        assert bytes.fromhex(read.datakey_dgst) == hashlib.sha256(data_key).digest()
        if made is shown:
            assert read.data_key == shown.plain_text


@pytest.mark.parametrize("size", [1, 64, 1024])
def test_a_clients_data_key_is_encrypted_and_decrypted(
    client: TencentClient, huawei: HuaweiClient, imported: str, size: int
) -> None:
    data_key = secrets.token_bytes(size)
    fields = {"key_id": imported, "additional_authenticated_data": "a"}
    sent = {"plain_text": with_digest(data_key), "datakey_plain_length": str(size), **fields}
    made = huawei.call("encrypt_datakey", **sent)
    assert (made.key_id, made.datakey_length) == (imported, str(size))
    sent = {"cipher_text": made.cipher_text, "datakey_cipher_length": str(size), **fields}
    assert bytes.fromhex(huawei.call("decrypt_datakey", **sent).data_key) == data_key
    plain = huawei.call("encrypt_datakey", key_id=imported, plain_text=with_digest(data_key), datakey_plain_length=size)
    assert client.decrypt(bytes.fromhex(plain.cipher_text)) == data_key


def test_a_ciphertext_is_re_encrypted_as_it_was_spelled(huawei: HuaweiClient, imported: str, generated: str) -> None:
    text_made = huawei.call("encrypt_data", key_id=imported, plain_text="text", additional_authenticated_data="a")
    data_key = huawei.call("create_datakey", key_id=imported, additional_authenticated_data="a")
    for sent in (text_made.cipher_text, data_key.cipher_text):
        answer = huawei.call(
            "re_encrypt",
            source_key_id=imported,
            source_additional_authenticated_data="a",
            destination_key_id=generated,
            destination_additional_authenticated_data="b",
            cipher_text=sent,
        )
        assert (answer.key_id, answer.source_key_id) == (generated, imported)
        now = {"key_id": generated, "cipher_text": answer.cipher_text, "additional_authenticated_data": "b"}
        if sent == text_made.cipher_text:
            assert huawei.call("decrypt_data", **now).plain_text == "text"
        else:
            read = huawei.call("decrypt_datakey", **now, datakey_cipher_length="32")
            assert read.data_key == data_key.plain_text


# --- and with the life of the key ------------------------------------------------------------------------


def test_a_key_whose_deletion_was_cancelled_decrypts_again(clouds: tuple[CloudClient, ...]) -> None:
    one, other = clouds
    key_id = one.external_key()
    one.bring(key_id, secrets.token_bytes(32))
    ciphertext = one.encrypt(key_id, PLAINTEXT)
    one.disable(key_id)
    one.schedule_deletion(key_id)
    other.cancel_deletion(key_id)
    other.enable(key_id)
    assert other.decrypt(ciphertext) == PLAINTEXT


def test_an_archived_key_decrypts_and_does_not_encrypt(
    client: TencentClient, huawei: HuaweiClient, generated: str
) -> None:
    key_id = client.generated_key()
    ciphertext = client.encrypt(key_id, PLAINTEXT)
    client.call("ArchiveKey", KeyId=key_id)
    for each, code in ((client, "ResourceUnavailable.CmkArchived"), (huawei, "KMS.0209")):
        assert each.decrypt(ciphertext) == PLAINTEXT
        assert each.failure(each.encrypt, key_id, PLAINTEXT).code == code
        assert each.failure(each.data_key, key_id).code == code
        assert each.decrypt(each.re_encrypt(ciphertext, generated)) == PLAINTEXT, "out of the archive"
        assert each.failure(each.re_encrypt, each.encrypt(generated, PLAINTEXT), key_id).code == code, "and not into it"
    client.call("CancelKeyArchive", KeyId=key_id)
    assert client.decrypt(client.encrypt(key_id, PLAINTEXT)) == PLAINTEXT


def test_uses_are_counted_in_advance_and_decryption_is_none(
    service: RunningService, client: TencentClient, huawei: HuaweiClient
) -> None:
    # What happens to the count when everything dies: test_custody.
    key_id = client.generated_key()
    assert uses_leased(service.instance, key_id) == 0
    ciphertext = client.encrypt(key_id, PLAINTEXT)
    leased = uses_leased(service.instance, key_id)
    assert leased > 1
    client.decrypt(ciphertext)
    huawei.data_key(key_id)
    huawei.encrypt(key_id, PLAINTEXT)
    assert uses_leased(service.instance, key_id) == leased
