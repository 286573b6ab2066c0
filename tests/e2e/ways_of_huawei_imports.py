"""Requests of the import ceremony that only Huawei's API refuses so: fields of its own, and states of its policy."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.ways import HUAWEI, Attempt
from tests.e2e.ways_of_ceremony import KEY_CALLS, MODULUS_BYTES, expiring, in_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import Failure, ImportParameters
    from tests.e2e.worlds import HuaweiWorld

INVALID: Final = "KMS.0308"

# --- what is sent ---------------------------------------------------------------------------------------


def _asks_for(algorithm: str) -> Callable[[HuaweiWorld], Attempt]:
    def prepare(world: HuaweiWorld) -> Attempt:
        client = world.client
        key_id = client.external_key()
        return Attempt(lambda: client.failure(client.parameters, key_id, algorithm), key_id, says=client.algorithm)

    return prepare


for _algorithm in ("SM2_ENCRYPT", "RSAES_PKCS1_V1_5", "rsaes_oaep_sha_1"):
    HUAWEI.add(INVALID, f"algorithm_{_algorithm}", _asks_for(_algorithm), everywhere=True)

_CIPHERTEXTS: Final[dict[str, str]] = {
    "of_another_alphabet": "-" * 344,
    "of_a_line_break": "A" * 172 + "\n" + "A" * 172,
    "of_too_few_characters": base64.b64encode(bytes(MODULUS_BYTES - 4)).decode(),
    "of_too_many_characters": base64.b64encode(bytes(512)).decode(),
    "without_padding": "A" * 345,
    "with_stray_bits": "A" * 341 + "B==",
    "of_one_byte_less": base64.b64encode(bytes(MODULUS_BYTES - 1)).decode() + "====",
    "of_one_byte_more": base64.b64encode(bytes(MODULUS_BYTES + 1)).decode(),
}


def _brings(encrypted: str) -> Callable[[HuaweiWorld], Attempt]:
    def prepare(world: HuaweiWorld) -> Attempt:
        key_id, parameters, _encrypted = world.ready()
        return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id)

    return prepare


for _name, _encrypted in _CIPHERTEXTS.items():
    HUAWEI.add(INVALID, f"ciphertext_{_name}", _brings(_encrypted))


def _brings_with_token(spoil: Callable[[str], str]) -> Callable[[HuaweiWorld], Attempt]:
    def prepare(world: HuaweiWorld) -> Attempt:
        key_id, parameters, encrypted = world.ready()
        spoilt = replace(parameters, import_token=spoil(parameters.import_token))
        return Attempt(lambda: world.import_(key_id, spoilt, encrypted), key_id, says="import_token")

    return prepare


HUAWEI.add(INVALID, "an_import_token_of_199_characters", _brings_with_token(lambda token: token[:199]))
HUAWEI.add(INVALID, "an_import_token_of_another_alphabet", _brings_with_token(lambda token: token[:-1] + "!"))
HUAWEI.add(INVALID, "an_import_token_of_6145_characters", _brings_with_token(lambda _token: "t" * 6145))


@HUAWEI.reaches(INVALID)
def an_encrypted_private_key(world: HuaweiWorld) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    fields: dict[str, Any] = {
        "key_id": key_id,
        "import_token": parameters.import_token,
        "encrypted_key_material": encrypted,
        "encrypted_privatekey": encrypted,
    }
    return Attempt(lambda: world.sdk("import_key_material", **fields), key_id, says="encrypted_privatekey")


_EXPIRIES: Final[tuple[tuple[str, str, Any], ...]] = (
    ("KMS.2602", "long_past", 1),
    ("KMS.2602", "now", lambda: int(time.time())),
    ("KMS.2602", "just_past_as_a_string", lambda: str(int(time.time()) - 1)),
    ("KMS.2602", "above_the_maximum", 2147443201),
    ("KMS.2602", "in_milliseconds", lambda: int(time.time() + 3600) * 1000),
    ("KMS.2602", "in_milliseconds_as_a_string", lambda: str(int(time.time() + 3600) * 1000)),
    (INVALID, "negative", "-1"),
    (INVALID, "float", 2147443200.0),
    (INVALID, "true", True),
    (INVALID, "words", "tomorrow"),
)


for _code, _name, _value in _EXPIRIES:
    HUAWEI.add(_code, f"expiration_time_{_name}", expiring(_value))

# --- which state ----------------------------------------------------------------------------------------


def _relabel(world: HuaweiWorld, key_id: str, _parameters: ImportParameters) -> Failure:
    return world.sdk("update_key_description", key_id=key_id, key_description="another")


_CALLS: Final[dict[str, Callable[[HuaweiWorld, str, ImportParameters], Failure]]] = {**KEY_CALLS, "relabel": _relabel}
_FORBIDDEN: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "KMS.0310": dict.fromkeys(("get_parameters", "import"), ("Enabled", "Disabled", "PendingDelete", "Archived")),
    "KMS.2701": {"delete_material": ("PendingImport", "PendingDelete", "Archived")},
    "KMS.1201": {"enable": ("Enabled", "PendingImport", "PendingDelete", "Archived")},
    "KMS.1301": {"disable": ("Disabled", "PendingImport", "PendingDelete", "Archived")},
    "KMS.0210": {"relabel": ("PendingDelete",)},
}
for _code, _calls in _FORBIDDEN.items():
    for _name, _states in _calls.items():
        for _state in _states:
            HUAWEI.add(_code, f"{_name}_in_{_state}", in_state(_state, _CALLS[_name]))
