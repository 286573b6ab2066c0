"""The actions that use a key: wire to command, and what they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hsmkms.core import errors
from hsmkms.core.ciphertexts import NO_CONTEXT, context_of_pairs
from hsmkms.core.ids import KeyId
from hsmkms.core.secrets import Plaintext
from hsmkms.dialects import strict_base64
from hsmkms.dialects.tencent.codec import ACTIONS
from hsmkms.dialects.tencent.states import POLICY
from hsmkms.service import commands
from tests.dialects.scripted_service import KEY_ID
from tests.dialects.tencent.test_codec import OTHER_ID, OUTCOMES, VIEW, read

if TYPE_CHECKING:
    from hsmkms.service.commands import Command

ENCRYPT: dict[str, Any] = {"KeyId": KEY_ID, "Plaintext": "QUJD"}
DECRYPT: dict[str, Any] = {"CiphertextBlob": "MII="}
DATA_KEY: dict[str, Any] = {"KeyId": KEY_ID, "KeySpec": "AES_256"}
PAIRS = '{"k":"v"}'
CONTEXT = context_of_pairs({"k": "v"})
ABC = Plaintext(b"ABC")


def data_key(size: int, context: bytes = NO_CONTEXT) -> commands.MakeDataKey:
    return commands.MakeDataKey(KEY_ID, size, context, policy=POLICY)


@pytest.mark.parametrize(
    ("action", "members", "command"),
    [
        ("Encrypt", ENCRYPT, commands.Encrypt(KEY_ID, ABC, policy=POLICY)),
        ("Encrypt", ENCRYPT | {"EncryptionContext": ""}, commands.Encrypt(KEY_ID, ABC, policy=POLICY)),
        ("Encrypt", ENCRYPT | {"EncryptionContext": "{}"}, commands.Encrypt(KEY_ID, ABC, policy=POLICY)),
        ("Encrypt", ENCRYPT | {"EncryptionContext": PAIRS}, commands.Encrypt(KEY_ID, ABC, CONTEXT, POLICY)),
        ("Decrypt", DECRYPT, commands.Decrypt(b"0\x82", policy=POLICY)),
        ("Decrypt", DECRYPT | {"EncryptionContext": PAIRS}, commands.Decrypt(b"0\x82", CONTEXT, policy=POLICY)),
        (
            "Decrypt",
            DECRYPT | {"EncryptionPublicKey": "", "EncryptionAlgorithm": None},
            commands.Decrypt(b"0\x82", policy=POLICY),
        ),
        ("ReEncrypt", DECRYPT, commands.ReEncrypt(b"0\x82", policy=POLICY)),
        ("ReEncrypt", DECRYPT | {"DestinationKeyId": ""}, commands.ReEncrypt(b"0\x82", policy=POLICY)),
        (
            "ReEncrypt",
            DECRYPT | {"DestinationKeyId": OTHER_ID, "SourceEncryptionContext": PAIRS},
            commands.ReEncrypt(b"0\x82", CONTEXT, KeyId(OTHER_ID), policy=POLICY),
        ),
        (
            "ReEncrypt",
            DECRYPT | {"DestinationEncryptionContext": PAIRS},
            commands.ReEncrypt(b"0\x82", target_context=CONTEXT, policy=POLICY),
        ),
        ("GenerateDataKey", DATA_KEY, data_key(32)),
        ("GenerateDataKey", DATA_KEY | {"KeySpec": "AES_128", "EncryptionContext": PAIRS}, data_key(16, CONTEXT)),
        ("GenerateDataKey", {"KeyId": KEY_ID, "NumberOfBytes": 1}, data_key(1)),
        ("GenerateDataKey", {"KeyId": KEY_ID, "NumberOfBytes": "1024", "KeySpec": ""}, data_key(1024)),
        ("GenerateDataKey", DATA_KEY | {"NumberOfBytes": 48}, data_key(48)),
        (
            "GenerateDataKey",
            DATA_KEY | {"IsHostedByKms": 0, "DataKeyName": "", "Description": "", "Tags": [], "HsmClusterId": ""},
            data_key(32),
        ),
        ("GenerateRandom", {"NumberOfBytes": 1}, commands.MakeRandom(1)),
        ("GenerateRandom", {"NumberOfBytes": "1024"}, commands.MakeRandom(1024)),
    ],
)
def test_a_request_becomes_a_command(action: str, members: dict[str, Any], command: Command) -> None:
    assert read(action, members) == command


@pytest.mark.parametrize("size", [1, 4096])
def test_a_plaintext_of_every_documented_size_is_taken(size: int) -> None:
    command = read("Encrypt", ENCRYPT | {"Plaintext": strict_base64.encode(b"x" * size)})
    assert isinstance(command, commands.Encrypt)
    assert command.plaintext == Plaintext(b"x" * size)


@pytest.mark.parametrize(
    ("action", "members", "kind", "field"),
    [
        ("Encrypt", {"KeyId": KEY_ID}, errors.FieldMissing, "Plaintext"),
        *(
            ("Encrypt", ENCRYPT | {"Plaintext": text}, errors.FieldInvalid, "Plaintext")
            for text in ("", "QUI", "QR==", "QUJD\n", "-_-_", 1, strict_base64.encode(bytes(4097)))
        ),
        ("Encrypt", ENCRYPT | {"EncryptionContext": "k=v"}, errors.FieldInvalid, "EncryptionContext"),
        ("Encrypt", ENCRYPT | {"EncryptionContext": {"k": "v"}}, errors.FieldInvalid, "EncryptionContext"),
        ("Encrypt", ENCRYPT | {"EncryptionPublicKey": "p"}, errors.NotOffered, "EncryptionPublicKey"),
        ("Encrypt", ENCRYPT | {"EncryptionPublicKey": ""}, errors.FieldUnknown, "EncryptionPublicKey"),
        ("Decrypt", {}, errors.FieldMissing, "CiphertextBlob"),
        ("Decrypt", DECRYPT | {"KeyId": KEY_ID}, errors.FieldUnknown, "KeyId"),
        ("Decrypt", DECRYPT | {"EncryptionContext": "[]"}, errors.FieldInvalid, "EncryptionContext"),
        ("Decrypt", DECRYPT | {"EncryptionPublicKey": "p"}, errors.NotOffered, "EncryptionPublicKey"),
        ("Decrypt", DECRYPT | {"EncryptionAlgorithm": "SM2"}, errors.NotOffered, "EncryptionAlgorithm"),
        ("ReEncrypt", DECRYPT | {"SourceEncryptionContext": "k"}, errors.FieldInvalid, "SourceEncryptionContext"),
        (
            "ReEncrypt",
            DECRYPT | {"DestinationEncryptionContext": "k"},
            errors.FieldInvalid,
            "DestinationEncryptionContext",
        ),
        ("GenerateDataKey", {"KeyId": KEY_ID}, errors.FieldMissing, "KeySpec or NumberOfBytes"),
        ("GenerateDataKey", DATA_KEY | {"KeySpec": ""}, errors.FieldMissing, "KeySpec or NumberOfBytes"),
        ("GenerateDataKey", DATA_KEY | {"KeySpec": "AES_192"}, errors.FieldInvalid, "KeySpec"),
        ("GenerateDataKey", DATA_KEY | {"KeySpec": "aes_256", "NumberOfBytes": 1}, errors.FieldInvalid, "KeySpec"),
        *(
            ("GenerateDataKey", DATA_KEY | {"NumberOfBytes": size}, errors.FieldInvalid, "NumberOfBytes")
            for size in (0, 1025, "0", "", 1.0, True)
        ),
        ("GenerateDataKey", DATA_KEY | {"IsHostedByKms": 1}, errors.NotOffered, "IsHostedByKms"),
        ("GenerateDataKey", DATA_KEY | {"IsHostedByKms": "1"}, errors.NotOffered, "IsHostedByKms"),
        ("GenerateDataKey", DATA_KEY | {"IsHostedByKms": 2}, errors.FieldInvalid, "IsHostedByKms"),
        ("GenerateDataKey", DATA_KEY | {"DataKeyName": "n"}, errors.NotOffered, "DataKeyName"),
        ("GenerateDataKey", DATA_KEY | {"Description": "d"}, errors.NotOffered, "Description"),
        ("GenerateDataKey", DATA_KEY | {"Tags": [{"TagKey": "a"}]}, errors.NotOffered, "Tags"),
        ("GenerateDataKey", DATA_KEY | {"HsmClusterId": "c"}, errors.NotOffered, "HsmClusterId"),
        ("GenerateDataKey", DATA_KEY | {"EncryptionPublicKey": "p"}, errors.NotOffered, "EncryptionPublicKey"),
        ("GenerateDataKey", DATA_KEY | {"EncryptionAlgorithm": "SM2"}, errors.NotOffered, "EncryptionAlgorithm"),
        ("GenerateRandom", {}, errors.FieldMissing, "NumberOfBytes"),
        *(("GenerateRandom", {"NumberOfBytes": n}, errors.FieldInvalid, "NumberOfBytes") for n in (0, 1025, "x", -1)),
    ],
)
def test_a_wrong_field_is_named(
    action: str, members: dict[str, Any], kind: type[errors.FieldFault], field: str
) -> None:
    with pytest.raises(kind) as raised:
        read(action, members)
    assert type(raised.value) is kind
    assert raised.value.field == field


@pytest.mark.parametrize("action", ["Decrypt", "ReEncrypt"])
@pytest.mark.parametrize("blob", ["QUI", "QR==", "QUJD\n", "-_-_", "k-QUJD-k"])
def test_a_ciphertext_that_is_not_base64_is_a_ciphertext_that_does_not_decrypt(action: str, blob: str) -> None:
    with pytest.raises(errors.CiphertextInvalid) as raised:
        read(action, {"CiphertextBlob": blob})
    assert raised.value.message == errors.CiphertextInvalid.text


@pytest.mark.parametrize("text", ["x", KEY_ID.upper()])
def test_a_destination_of_another_form_has_the_key_ids_error(text: str) -> None:
    with pytest.raises(errors.KeyIdMalformed):
        read("ReEncrypt", DECRYPT | {"DestinationKeyId": text})


def test_a_ciphertext_that_stayed_the_same_is_told_apart() -> None:
    same = commands.ReEncrypted(KEY_ID, KEY_ID, b"\x30\x82", changed=False)
    assert ACTIONS["ReEncrypt"].show(VIEW, same) == {
        "CiphertextBlob": "MII=",
        "KeyId": KEY_ID,
        "SourceKeyId": KEY_ID,
        "ReEncrypted": False,
    }


def test_no_plaintext_is_in_an_error_or_a_representation() -> None:
    secret = strict_base64.encode(b"needle")
    command = read("Encrypt", ENCRYPT | {"Plaintext": secret})
    assert "needle" not in repr(command)
    assert secret not in repr(command)
    assert secret not in repr(ACTIONS["Encrypt"].model.model_validate(ENCRYPT | {"Plaintext": secret}))
    for broken in ({"Plaintext": secret + "*"}, {"Plaintext": secret * 1000}, {"EncryptionContext": secret}):
        with pytest.raises(errors.FieldInvalid) as raised:
            read("Encrypt", ENCRYPT | {"Plaintext": secret} | broken)
        assert secret not in f"{raised.value.message} {raised.value.__cause__!r}"


@pytest.mark.parametrize("action", ["Decrypt", "GenerateDataKey", "GenerateRandom"])
def test_no_outcome_shows_its_secret_by_accident(action: str) -> None:
    assert "ABC" not in repr(OUTCOMES[action])
