"""The operations that use a key: wire to command, outcome to fields, and what they refuse."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from hsmkms.core import errors
from hsmkms.core.ciphertexts import NO_CONTEXT, context_of_text
from hsmkms.core.secrets import Plaintext
from hsmkms.dialects import strict_base64, wire_models
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.huawei.routes import find
from hsmkms.dialects.huawei.states import POLICY
from hsmkms.service import commands
from tests.dialects.huawei.test_codec import (
    BY_ID,
    CIPHERTEXT_TEXT,
    DATA_KEY_TEXT,
    LEAST,
    NOBODYS_ID,
    OTHER_ID,
    OUTCOMES,
    SM_VIEW,
    VIEW,
    read,
    show,
)
from tests.dialects.scripted_service import KEY_ID

if TYPE_CHECKING:
    from hsmkms.dialects.huawei.fields import View
    from hsmkms.service.commands import Command

HELLO = Plaintext(b"hello")
AAD = {"additional_authenticated_data": "aad"}
CONTEXT = context_of_text("aad")
CIPHERTEXT = strict_base64.decode(CIPHERTEXT_TEXT)
RE_ENCRYPT = LEAST["re-encrypt"]
ZEROS = Plaintext(bytes(64))
SYMMETRIC = "SYMMETRIC_DEFAULT"
ELSEWHERE = ("RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "SM2_ENCRYPT", "symmetric_default")
BITS_AT_THE_EDGE = (8, 16, 8184, 8192)
NO_BITS = (0, 7, 9, 8191, 8200, "0", "512.0", "x", True, 8.0)
MAKING = {"create-datakey": True, "create-datakey-without-plaintext": False}
"""Whether the data key is shown."""


def data_key(size: int, context: bytes = NO_CONTEXT, *, shown: bool) -> commands.MakeDataKey:
    return commands.MakeDataKey(KEY_ID, size, context, shown, POLICY)


def with_digest(value: bytes, algorithm: str = "sha256") -> dict[str, Any]:
    text = (value + hashlib.new(algorithm, value).digest()).hex()
    return {"plain_text": text, "datakey_plain_length": str(len(value)), **BY_ID}


@pytest.mark.parametrize(
    ("name", "more", "command"),
    [
        ("encrypt-data", {}, commands.Encrypt(KEY_ID, HELLO, policy=POLICY)),
        ("encrypt-data", AAD, commands.Encrypt(KEY_ID, HELLO, CONTEXT, POLICY)),
        ("encrypt-data", {"encryption_algorithm": SYMMETRIC}, commands.Encrypt(KEY_ID, HELLO, policy=POLICY)),
        (
            "encrypt-data",
            {"plain_text": "a\n\0测"},
            commands.Encrypt(KEY_ID, Plaintext("a\n\0测".encode()), policy=POLICY),
        ),
        ("decrypt-data", {}, commands.Decrypt(CIPHERTEXT, policy=POLICY)),
        ("decrypt-data", {"key_id": ""}, commands.Decrypt(CIPHERTEXT, policy=POLICY)),
        (
            "decrypt-data",
            AAD | {"key_id": OTHER_ID, "encryption_algorithm": SYMMETRIC},
            commands.Decrypt(CIPHERTEXT, CONTEXT, OTHER_ID, POLICY),
        ),
        ("re-encrypt", {}, commands.ReEncrypt(CIPHERTEXT, target=KEY_ID, policy=POLICY)),
        ("re-encrypt", {"cipher_text": "484b4D53"}, commands.ReEncrypt(b"HKMS", target=KEY_ID, policy=POLICY)),
        (
            "re-encrypt",
            {
                "source_key_id": OTHER_ID,
                "source_additional_authenticated_data": "aad",
                "source_encryption_algorithm": SYMMETRIC,
                "destination_encryption_algorithm": SYMMETRIC,
                "datakey_cipher_length": "",
            },
            commands.ReEncrypt(CIPHERTEXT, CONTEXT, KEY_ID, NO_CONTEXT, OTHER_ID, POLICY),
        ),
        (
            "re-encrypt",
            {"destination_additional_authenticated_data": "aad", "source_key_id": ""},
            commands.ReEncrypt(CIPHERTEXT, target=KEY_ID, target_context=CONTEXT, policy=POLICY),
        ),
        ("encrypt-datakey", {}, commands.Encrypt(KEY_ID, ZEROS, policy=POLICY)),
        ("encrypt-datakey", {"plain_text": DATA_KEY_TEXT.lower()}, commands.Encrypt(KEY_ID, ZEROS, policy=POLICY)),
        (
            "encrypt-datakey",
            AAD | {"datakey_plain_length": 64, "pin": "", "pin_type": "CipherText", "key_spec": ""},
            commands.Encrypt(KEY_ID, ZEROS, CONTEXT, POLICY),
        ),
        ("decrypt-datakey", {}, commands.Decrypt(b"HKMS", NO_CONTEXT, KEY_ID, POLICY)),
        (
            "decrypt-datakey",
            AAD | {"cipher_text": "00ff00FF", "datakey_cipher_length": 1024},
            commands.Decrypt(b"\0\xff\0\xff", CONTEXT, KEY_ID, POLICY),
        ),
        *(("gen-random", {"random_data_length": bits}, commands.MakeRandom(bits // 8)) for bits in BITS_AT_THE_EDGE),
        ("gen-random", {"random_data_length": "512"}, commands.MakeRandom(64)),
    ],
)
def test_a_request_becomes_a_command(name: str, more: dict[str, Any], command: Command) -> None:
    assert read(name, LEAST[name] | more) == command


@pytest.mark.parametrize(("name", "shown"), MAKING.items())
@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({}, 32),
        ({"key_spec": "", "datakey_length": ""}, 32),
        ({"key_spec": "AES_256"}, 32),
        ({"key_spec": "AES_128"}, 16),
        ({"key_spec": "AES_128", "datakey_length": "512"}, 64),
        ({"pin": "", "pin_type": "CipherText"}, 32),
        *(({"datakey_length": bits}, bits // 8) for bits in BITS_AT_THE_EDGE),
    ],
)
def test_a_data_key_is_as_long_as_asked_for(name: str, shown: bool, more: dict[str, Any], size: int) -> None:
    assert read(name, BY_ID | more) == data_key(size, shown=shown)
    assert read(name, BY_ID | more | AAD) == data_key(size, CONTEXT, shown=shown)


@pytest.mark.parametrize("text", ["x", "x" * 4096, "测" * 1365 + "x"])
def test_a_plaintext_of_every_documented_size_is_taken(text: str) -> None:
    command = read("encrypt-data", BY_ID | {"plain_text": text})
    assert isinstance(command, commands.Encrypt)
    assert command.plaintext == Plaintext(text.encode())


@pytest.mark.parametrize("size", [1, 16, 1024])
@pytest.mark.parametrize(("view", "algorithm"), [(VIEW, "sha256"), (SM_VIEW, "sm3")])
def test_a_data_key_of_every_documented_size_is_taken(size: int, view: View, algorithm: str) -> None:
    command = read("encrypt-datakey", with_digest(b"k" * size, algorithm), view)
    assert command == commands.Encrypt(KEY_ID, Plaintext(b"k" * size), policy=POLICY)


@pytest.mark.parametrize(("view", "algorithm"), [(VIEW, "sm3"), (SM_VIEW, "sha256"), (VIEW, "blake2s")])
def test_a_digest_of_another_algorithm_is_wrong(view: View, algorithm: str) -> None:
    with pytest.raises(errors.DataKeyDigestWrong):
        read("encrypt-datakey", with_digest(b"k" * 16, algorithm), view)


@pytest.mark.parametrize("place", [0, 63, 64, 95])
def test_a_data_key_that_does_not_fit_its_digest_is_refused(place: int) -> None:
    joined = bytearray.fromhex(DATA_KEY_TEXT)
    joined[place] ^= 1
    with pytest.raises(errors.DataKeyDigestWrong):
        read("encrypt-datakey", LEAST["encrypt-datakey"] | {"plain_text": joined.hex()})


@pytest.mark.parametrize(
    ("name", "more", "kind", "field"),
    [
        ("encrypt-data", {"plain_text": None}, errors.FieldMissing, "plain_text"),
        *(
            ("encrypt-data", {"plain_text": text}, errors.FieldInvalid, "plain_text")
            for text in ("", "x" * 4097, "测" * 1366, 1, ["x"])
        ),
        *(
            (name, {field: each}, errors.NotOffered, field)
            for name, field in (
                ("encrypt-data", "encryption_algorithm"),
                ("decrypt-data", "encryption_algorithm"),
                ("re-encrypt", "source_encryption_algorithm"),
                ("re-encrypt", "destination_encryption_algorithm"),
            )
            for each in ELSEWHERE
        ),
        ("decrypt-data", {"cipher_text": None}, errors.FieldMissing, "cipher_text"),
        ("decrypt-data", {"cipher_text": 1}, errors.FieldInvalid, "cipher_text"),
        ("decrypt-data", {"plain_text": "x"}, errors.FieldUnknown, "plain_text"),
        ("re-encrypt", {"cipher_text": None}, errors.FieldMissing, "cipher_text"),
        ("re-encrypt", {"destination_key_id": None}, errors.FieldMissing, "destination_key_id"),
        ("re-encrypt", {"datakey_cipher_length": "64"}, errors.NotOffered, "datakey_cipher_length"),
        ("re-encrypt", AAD, errors.FieldUnknown, "additional_authenticated_data"),
        *(
            ("re-encrypt", {field: "x" * 129}, errors.FieldInvalid, field)
            for field in ("source_additional_authenticated_data", "destination_additional_authenticated_data")
        ),
        *((name, {"datakey_length": n}, errors.FieldInvalid, "datakey_length") for name in MAKING for n in NO_BITS),
        *(
            (name, {"key_spec": each, "datakey_length": more}, errors.NotOffered, "key_spec")
            for name in MAKING
            for each in ("SM4", "HMAC_256", "AES_192", "aes_256")
            for more in (None, "8")
        ),
        *(
            (name, {field: value}, errors.NotOffered, field)
            for name in (*MAKING, "encrypt-datakey")
            for field, value in (("pin", "123456"), ("pin_type", "PlainText"))
        ),
        ("encrypt-datakey", {"key_spec": "RSA"}, errors.NotOffered, "key_spec"),
        *(
            ("encrypt-datakey", {"plain_text": text}, errors.FieldInvalid, "plain_text")
            for text in ("", DATA_KEY_TEXT[:-1], f" {DATA_KEY_TEXT}", DATA_KEY_TEXT + "\n", "0x00", "g" * 192, 1)
        ),
        *(
            ("encrypt-datakey", {"datakey_plain_length": n}, errors.FieldInvalid, "datakey_plain_length")
            for n in (0, 63, 65, 96, 1024, 1025, "", "64 ", True)
        ),
        ("encrypt-datakey", {"plain_text": "00" * 64}, errors.FieldInvalid, "datakey_plain_length"),
        ("encrypt-datakey", {"plain_text": DATA_KEY_TEXT + "00"}, errors.FieldInvalid, "datakey_plain_length"),
        ("encrypt-datakey", {"datakey_plain_length": None}, errors.FieldMissing, "datakey_plain_length"),
        *(
            ("decrypt-datakey", {"cipher_text": text}, errors.FieldInvalid, "cipher_text")
            for text in ("", "0", "0g", "00 00", CIPHERTEXT_TEXT, 0)
        ),
        *(
            ("decrypt-datakey", {"datakey_cipher_length": n}, errors.FieldInvalid, "datakey_cipher_length")
            for n in (0, 1025, "", -1)
        ),
        ("decrypt-datakey", {"datakey_cipher_length": None}, errors.FieldMissing, "datakey_cipher_length"),
        ("decrypt-datakey", {"key_id": None}, errors.FieldMissing, "key_id"),
        *(("gen-random", {"random_data_length": n}, errors.FieldInvalid, "random_data_length") for n in (*NO_BITS, "")),
        ("gen-random", {"random_data_length": None}, errors.FieldMissing, "random_data_length"),
    ],
)
def test_a_wrong_field_is_named(name: str, more: dict[str, Any], kind: type[errors.FieldFault], field: str) -> None:
    with pytest.raises(kind) as raised:
        read(name, LEAST[name] | more)
    assert type(raised.value) is kind
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("name", "field", "least", "most"),
    [
        ("schedule-key-deletion", "pending_days", 7, 1096),
        ("create-datakey", "datakey_length", 8, 8192),
        ("decrypt-datakey", "datakey_cipher_length", 1, 1024),
        ("gen-random", "random_data_length", 8, 8192),
    ],
)
def test_of_a_wrong_number_the_bound_it_breaks_is_said(name: str, field: str, least: int, most: int) -> None:
    for value, says in ((-8, f"send at least {least}"), (0, f"send at least {least}"), (2**31, f"send at most {most}")):
        for spelled in (value, str(value)):
            with pytest.raises(errors.FieldInvalid) as raised:
                read(name, LEAST[name] | {field: spelled})
            assert raised.value.message == f"The parameter {field} is invalid: {says}."


@pytest.mark.parametrize("name", ["decrypt-data", "re-encrypt"])
@pytest.mark.parametrize("text", ["QUI", "QR==", "QUJD\n", "-_-_", "a", CIPHERTEXT_TEXT[1:]])
def test_a_ciphertext_that_is_not_base64_is_a_ciphertext_that_does_not_decrypt(name: str, text: str) -> None:
    with pytest.raises(errors.CiphertextInvalid) as raised:
        read(name, LEAST[name] | {"cipher_text": text})
    assert raised.value.message == errors.CiphertextInvalid.text


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("decrypt-data", "key_id"),
        ("decrypt-datakey", "key_id"),
        ("re-encrypt", "source_key_id"),
        ("re-encrypt", "destination_key_id"),
    ],
)
def test_every_key_id_is_held_to_the_documented_form(name: str, field: str) -> None:
    with pytest.raises(errors.KeyIdMalformed, match=f"^{field} must be of 36 characters: "):
        read(name, LEAST[name] | {field: KEY_ID.upper()})


@pytest.mark.parametrize(
    ("name", "field"),
    [("decrypt-data", "key_id"), ("decrypt-datakey", "key_id"), ("re-encrypt", "source_key_id")],
)
def test_an_id_that_is_nobody_s_is_not_the_ciphertext_s_either(name: str, field: str) -> None:
    with pytest.raises(errors.CiphertextInvalid) as raised:
        read(name, LEAST[name] | {field: NOBODYS_ID})
    assert raised.value.message == errors.CiphertextInvalid.text
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ({"destination_additional_authenticated_data": "x" * 129}, errors.FieldInvalid),
        ({}, errors.CiphertextInvalid),
        ({"source_key_id": ""}, errors.KeyNotFound),
    ],
)
def test_fields_are_judged_before_the_source_and_the_source_before_the_target(
    broken: dict[str, Any], kind: type[errors.HsmkmsError]
) -> None:
    nobodys = {"source_key_id": NOBODYS_ID, "destination_key_id": NOBODYS_ID}
    with pytest.raises(kind):
        read("re-encrypt", RE_ENCRYPT | nobodys | broken)


@pytest.mark.parametrize(
    ("name", "field"), [("encrypt-data", "key_id"), ("create-datakey", "key_id"), ("re-encrypt", "destination_key_id")]
)
def test_to_encrypt_an_id_that_is_nobody_s_is_a_key_that_there_is_not(name: str, field: str) -> None:
    with pytest.raises(errors.KeyNotFound):
        read(name, LEAST[name] | {field: NOBODYS_ID})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\n\0测".encode(), "a\n\0测"),
        (b"\xff\x00A", "\N{REPLACEMENT CHARACTER}\0A"),
        ("\ud800".encode(errors="surrogatepass"), "\N{REPLACEMENT CHARACTER}" * 3),
        (b"", ""),
    ],
)
def test_the_base64_of_a_plaintext_is_exact_and_the_text_as_near_as_text_can_be(value: bytes, text: str) -> None:
    shown = show("decrypt-data", commands.Decrypted(KEY_ID, Plaintext(value)))
    assert shown["plain_text"] == text
    assert strict_base64.decode(shown["plain_text_base64"]) == value


def test_a_data_key_that_is_re_encrypted_stays_hexadecimal() -> None:
    for changed in (True, False):
        outcome = commands.ReEncrypted(KEY_ID, KEY_ID, b"\x0a\xff", changed=changed)
        assert show("re-encrypt", outcome, members={"cipher_text": "484b4d53"})["cipher_text"] == "0AFF"
        assert show("re-encrypt", outcome)["cipher_text"] == "Cv8="


def test_a_decrypted_data_key_must_be_as_long_as_the_request_says() -> None:
    for length in (2, 4, 1024):
        with pytest.raises(errors.FieldInvalid) as raised:
            show("decrypt-datakey", OUTCOMES["decrypt-datakey"], members={"datakey_cipher_length": length})
        assert raised.value.field == "datakey_cipher_length"
        assert "414243" not in raised.value.message


def test_the_documentations_example_of_a_decrypted_data_key() -> None:
    shown = show("decrypt-datakey", commands.Decrypted(KEY_ID, ZEROS), members={"datakey_cipher_length": "64"})
    assert shown["data_key"] + shown["datakey_dgst"] == DATA_KEY_TEXT
    assert shown["datakey_length"] == "64"


def test_the_sm_edition_takes_digests_by_sm3() -> None:
    shown = show("decrypt-datakey", OUTCOMES["decrypt-datakey"], SM_VIEW)
    assert shown["datakey_dgst"] == hashlib.new("sm3", b"ABC").hexdigest().upper()


NEEDLE = b"needle".hex()
HIDING: dict[str, dict[str, Any]] = {
    "encrypt-data": BY_ID | {"plain_text": NEEDLE},
    "encrypt-datakey": with_digest(b"needle"),
}


@pytest.mark.parametrize(("name", "members"), HIDING.items())
def test_no_plaintext_is_in_a_representation(name: str, members: dict[str, Any]) -> None:
    assert NEEDLE not in repr(wire_models.read(OPERATIONS[name].model, members))
    assert NEEDLE not in repr(read(name, members))


@pytest.mark.parametrize(("name", "members"), HIDING.items())
@pytest.mark.parametrize(
    "broken",
    [
        {"plain_text": NEEDLE * 400 + "*"},
        {"plain_text": [NEEDLE]},
        {"additional_authenticated_data": NEEDLE * 20},
        {"sequence": NEEDLE},
        {"pin": NEEDLE},
        {NEEDLE: "x", "key_id": None},
    ],
)
def test_no_plaintext_is_in_an_error(name: str, members: dict[str, Any], broken: dict[str, Any]) -> None:
    with pytest.raises(errors.FieldFault) as raised:
        read(name, members | broken)
    assert NEEDLE not in f"{raised.value.message} {raised.value.__cause__!r}"


def test_no_data_key_is_in_the_error_of_its_digest() -> None:
    with pytest.raises(errors.DataKeyDigestWrong) as raised:
        read("encrypt-datakey", with_digest(b"needle") | {"plain_text": NEEDLE + "00" * 32})
    assert NEEDLE not in f"{raised.value.message} {raised.value.__cause__!r}"


def test_a_pin_is_hidden() -> None:
    with pytest.raises(errors.NotOffered) as raised:
        read("create-datakey", BY_ID | {"pin": "needle"})
    assert "needle" not in f"{raised.value.message} {raised.value.__cause__!r}"


@pytest.mark.parametrize("name", ["decrypt-data", "decrypt-datakey", "create-datakey", "gen-random"])
def test_no_outcome_shows_its_secret_by_accident(name: str) -> None:
    assert "ABC" not in repr(OUTCOMES[name])


@pytest.mark.parametrize("name", sorted(LEAST))
def test_every_operation_is_posted(name: str) -> None:
    assert find(RequestHead("POST", f"/v1.0/acme/kms/{name}", ())).operation == name
