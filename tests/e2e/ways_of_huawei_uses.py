"""Requests to use a key, and on its life, that only Huawei's API refuses so: fields of its own."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.forgeries import forged
from tests.e2e.ways import HUAWEI, Attempt
from tests.e2e.ways_of_huawei_requests import ANY_KEY, INVALID, add_required, sends

if TYPE_CHECKING:
    from tests.e2e.worlds import HuaweiWorld

DATA_KEY: Final = bytes(range(32))
CONTEXT: Final = "KMS.0208"


def with_digest(data_key: bytes) -> str:
    """Return a data key as the cloud's clients send it."""
    return (data_key + hashlib.sha256(data_key).digest()).hex()


_REQUIRED: Final[dict[str, dict[str, Any]]] = {
    "encrypt_data": {"key_id": ANY_KEY, "plain_text": "a secret"},
    "decrypt_data": {"cipher_text": base64.b64encode(forged(ANY_KEY)).decode()},
    "re_encrypt": {"destination_key_id": ANY_KEY, "cipher_text": base64.b64encode(forged(ANY_KEY)).decode()},
    "create_datakey": {"key_id": ANY_KEY},
    "create_datakey_without_plaintext": {"key_id": ANY_KEY},
    "encrypt_datakey": {"key_id": ANY_KEY, "plain_text": with_digest(DATA_KEY), "datakey_plain_length": "32"},
    "decrypt_datakey": {"key_id": ANY_KEY, "cipher_text": forged(ANY_KEY).hex(), "datakey_cipher_length": "32"},
    "create_random": {"random_data_length": "8"},
    "delete_key": {"key_id": ANY_KEY, "pending_days": "7"},
    "cancel_key_deletion": {"key_id": ANY_KEY},
    "show_key_rotation_status": {"key_id": ANY_KEY},
}
add_required(_REQUIRED)

_BITS: Final = ("0", "7", "12", "8200", "many", -8, 8.0)
_AUTHENTICATED: Final = (
    "encrypt_data",
    "decrypt_data",
    "create_datakey",
    "create_datakey_without_plaintext",
    "encrypt_datakey",
    "decrypt_datakey",
)
_BAD_CONTEXTS: Final = ({"a": 1}, {"a": "x" * 8192}, {"a": "\U0001f600" * 4096}, "a")
_BAD_FIELDS: Final[dict[tuple[str, str, str], tuple[object, ...]]] = {
    ("KMS.1901", "create_datakey", "datakey_length"): _BITS,
    ("KMS.2001", "create_datakey_without_plaintext", "datakey_length"): _BITS,
    ("KMS.1902", "create_datakey", "key_spec"): ("AES_512", "aes_256", "SM4", 5),
    ("KMS.1902", "create_datakey_without_plaintext", "key_spec"): ("AES_512",),
    ("KMS.2101", "encrypt_datakey", "plain_text"): ("", "no hexadecimal", "abc", f"{with_digest(DATA_KEY)} ", 5),
    ("KMS.2102", "encrypt_datakey", "datakey_plain_length"): ("0", "31", "33", "64", "1025", "many"),
    ("KMS.2103", "encrypt_datakey", "plain_text"): ((DATA_KEY + bytes(32)).hex(), with_digest(DATA_KEY)[:-2] + "00"),
    ("KMS.2201", "decrypt_datakey", "cipher_text"): ("", "no hexadecimal", "abc", base64.b64encode(DATA_KEY).decode()),
    ("KMS.2202", "decrypt_datakey", "datakey_cipher_length"): ("0", "1025", "many"),
    ("KMS.1801", "create_random", "random_data_length"): _BITS,
    ("KMS.1401", "delete_key", "pending_days"): ("6", "1097", "soon", 7.5, -7),
    **{(CONTEXT, method, "additional_authenticated_data"): ("\u00e9" * 65, 5) for method in _AUTHENTICATED},
    **{(CONTEXT, method, "encryption_context"): _BAD_CONTEXTS for method in _AUTHENTICATED},
    (CONTEXT, "re_encrypt", "source_additional_authenticated_data"): ("x" * 129,),
    (CONTEXT, "re_encrypt", "destination_additional_authenticated_data"): ("x" * 129,),
    ("KMS.0205", "re_encrypt", "destination_key_id"): ("alias/demo",),
    ("KMS.0205", "re_encrypt", "source_key_id"): ("alias/demo",),
    ("KMS.0205", "decrypt_data", "key_id"): ("alias/demo",),
    (INVALID, "decrypt_data", "key_id"): ("zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz",),
    (INVALID, "encrypt_data", "plain_text"): ("", "x" * 4097, "\u00e9" * 2049, 5),
    (INVALID, "encrypt_data", "encryption_algorithm"): ("RSAES_OAEP_SHA_256",),
    (INVALID, "decrypt_data", "encryption_algorithm"): ("SM2_ENCRYPT",),
    (INVALID, "decrypt_data", "cipher_text"): ("", "no base64!", "SEtN"),
    (INVALID, "re_encrypt", "cipher_text"): ("", "no base64!", forged(ANY_KEY).hex()),
    (INVALID, "re_encrypt", "source_encryption_algorithm"): ("SM2_ENCRYPT",),
    (INVALID, "re_encrypt", "destination_encryption_algorithm"): ("SM2_ENCRYPT",),
    (INVALID, "re_encrypt", "datakey_cipher_length"): ("32",),
    (INVALID, "create_datakey", "pin"): ("1234",),
    (INVALID, "create_datakey", "pin_type"): ("PlainText",),
    (INVALID, "encrypt_datakey", "key_spec"): ("AES_256",),
}
for (_code, _method, _field), _values in _BAD_FIELDS.items():
    for _number, _value in enumerate(_values):
        _name = f"{_method}_{_field}_{_number}"
        HUAWEI.add(_code, _name, sends(_method, {**_REQUIRED[_method], _field: _value}, ""))
for _method in _AUTHENTICATED:
    _both = {"additional_authenticated_data": "a", "encryption_context": {"a": "b"}}
    HUAWEI.add(CONTEXT, f"{_method}_with_both_contexts", sends(_method, {**_REQUIRED[_method], **_both}, "either"))


@HUAWEI.reaches("KMS.2202", everywhere=False)
def another_length_than_the_data_keys(world: HuaweiWorld) -> Attempt:
    key_id = world.enabled_key()
    ciphertext = world.client.data_key(key_id).ciphertext.hex()
    fields = {"cipher_text": ciphertext, "datakey_cipher_length": "31"}
    return Attempt(lambda: world.json("decrypt_datakey", {"key_id": key_id, **fields}), key_id, says="length in bytes")


@HUAWEI.reaches(INVALID, everywhere=False)
def another_key_than_the_ciphertexts(world: HuaweiWorld) -> Attempt:
    key_id, other = world.enabled_key(), world.client.generated_key()
    cipher_text = base64.b64encode(world.client.encrypt(key_id, b"a secret")).decode()
    return Attempt(lambda: world.sdk("decrypt_data", key_id=other, cipher_text=cipher_text), other, says="cannot be")
