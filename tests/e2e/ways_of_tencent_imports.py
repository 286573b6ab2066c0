"""Requests of the import ceremony that only Tencent's API refuses so: fields of its own, and states of its policy."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.ways import TENCENT, Attempt
from tests.e2e.ways_of_ceremony import KEY_CALLS, MODULUS_BYTES, expiring, in_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.worlds import TencentWorld

INVALID: Final = "InvalidParameter"

# --- InvalidParameter -----------------------------------------------------------------------------------

_BAD_BASE64: Final = {
    "another_alphabet": lambda text: "-_" + text[2:],
    "a_line_break": lambda text: text[:64] + "\n" + text[64:],
    "no_padding": lambda text: text.rstrip("="),
    "too_much_padding": lambda text: text + "=",
    "stray_bits": lambda text: text[:-3] + chr(ord(text[-3]) + 1) + "==",
    "a_byte_order_mark": lambda text: "\ufeff" + text,
}


def _with_encoding(spoil: Callable[[str], str]) -> Callable[[TencentWorld], Attempt]:
    def prepare(world: TencentWorld) -> Attempt:
        key_id, parameters, _encrypted = world.ready()
        # 256 bytes end in one character of two meaningful bits, and "==": 'A' can be followed by 'B'.
        text = base64.b64encode(secrets.token_bytes(MODULUS_BYTES - 1) + b"\0").decode()
        return Attempt(lambda: world.import_(key_id, parameters, spoil(text)), key_id, says="base64")

    return prepare


for _name, _spoil in _BAD_BASE64.items():
    TENCENT.add(INVALID, f"base64_with_{_name}", _with_encoding(_spoil))


def _of_size(size: int) -> Callable[[TencentWorld], Attempt]:
    def prepare(world: TencentWorld) -> Attempt:
        key_id, parameters, _encrypted = world.ready()
        encrypted = base64.b64encode(secrets.token_bytes(size)).decode()
        return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="256 bytes")

    return prepare


for _size in (0, 1, MODULUS_BYTES - 1, MODULUS_BYTES + 1, 512):
    TENCENT.add(INVALID, f"ciphertext_of_{_size}_bytes", _of_size(_size))

_BAD_EXPIRIES: Final[dict[str, object]] = {
    "long_past": 1,
    "just_past": lambda: int(time.time()) - 1,
    "now": lambda: int(time.time()),
    "above_the_maximum": 2147443201,
    "above_31_bits": 2**31,
    "above_63_bits": 2**64,
    "float": 2147443200.0,
    "true": True,
    "negative": -1,
    "negative_string": "-1",
    "spaces": " 2147443200",
    "words": "tomorrow",
    "fraction": "2147443200.0",
    "other_digits": "\u0661",
    "object": {"seconds": 1},
}


for _name, _value in _BAD_EXPIRIES.items():
    TENCENT.add(INVALID, f"valid_to_{_name}", expiring(_value))


@TENCENT.reaches(INVALID)
def an_import_token_that_is_none(world: TencentWorld) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    return Attempt(lambda: world.import_(key_id, replace(parameters, import_token="no token!"), encrypted), key_id)


def _asks_for(algorithm: str, spec: str, says: str) -> Callable[[TencentWorld], Attempt]:
    def prepare(world: TencentWorld) -> Attempt:
        key_id = world.client.external_key()
        fields: dict[str, Any] = {"KeyId": key_id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": spec}
        return Attempt(
            lambda: world.sdk("GetParametersForImport", **fields), key_id, says=says or world.client.algorithm
        )

    return prepare


TENCENT.add(INVALID, "algorithm_that_is_switched_off", _asks_for("RSAES_PKCS1_V1_5", "RSA_2048", ""))
TENCENT.add(INVALID, "algorithm_of_another_cloud", _asks_for("RSA_AES_KEY_WRAP_SHA_256", "RSA_2048", ""))
TENCENT.add(INVALID, "algorithm_in_lower_case", _asks_for("rsaes_oaep_sha_1", "RSA_2048", ""))
TENCENT.add(INVALID, "wrapping_key_spec", _asks_for("RSAES_OAEP_SHA_1", "RSA_4096", "RSA_2048"))

# --- what the key holds and held -----------------------------------------------------------------------


@TENCENT.reaches("InvalidParameterValue.MaterialNotMatch")
def other_material_than_the_first(world: TencentWorld) -> Attempt:
    key_id = world.enabled_key()
    parameters = world.client.parameters(key_id)
    encrypted = world.client.wrapped(parameters, world.material())
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="differs")


@TENCENT.reaches("ResourceUnavailable.TokenExpired")
def an_import_token_that_brought_what_the_key_holds(world: TencentWorld) -> Attempt:
    key_id, material = world.client.external_key(), world.material()
    parameters = world.client.bring(key_id, material)
    encrypted = world.client.wrapped(parameters, material)  # the same material, another ciphertext
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="used")


# --- which state ----------------------------------------------------------------------------------------

_FORBIDDEN: Final = {
    "Disabled": ("get_parameters", "import"),
    "PendingDelete": ("get_parameters", "import", "delete_material", "enable", "disable"),
    "Archived": ("get_parameters", "import", "delete_material", "enable", "disable"),
    "PendingImport": ("delete_material", "enable", "disable"),
}
for _state, _names in _FORBIDDEN.items():
    for _name in _names:
        TENCENT.add(
            "ResourceUnavailable.CmkStateNotSupport", f"{_name}_in_{_state}", in_state(_state, KEY_CALLS[_name])
        )
