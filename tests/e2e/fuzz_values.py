"""Values of each kind of field: what the service takes, what it nearly takes, and what is absurd."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from hypothesis import strategies as st

from tests.dialects.json_values import JSON_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

ABSENT_KEY: Final = "0d0466b0-e727-4d9c-b35d-f84bb474a37f"


def _nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


INTEGERS: Final = st.sampled_from((7, 0, 1, 2, 5, 8, 30, 31, 100, 128, 200, 201, 256, 365, 1024, 8192, 2**31 - 1, "7"))
STRANGE_INTEGERS: Final = st.sampled_from(
    (
        *(-1, 2**31, 2**63, 2**64, -(2**63), 10**18, 10**19, 10**30, 10**400, 1.0, 7.5, -0.0, 1e308, True),
        *(math.nan, math.inf, -math.inf, "", "07", " 7", "+7", "-0", "1e3", "0x7", "\uff17", "9" * 19, "9" * 5000),
    )
)
STRANGE_TEXTS: Final = st.sampled_from(
    (
        *("", " ", "\0", "a\0b", "x" * 4097, "a\n", "a" * 61, "a" * 256, "a" * 1025, "a" * 9000, "\u20ac" * 400),
        *("\ud800", "\udfff!", "\U0001f511" * 40, "\u202egnp", "..", "../../etc/passwd", "' OR 1=1 --", "%s%n%00"),
        *("{}", "[]", "null", "alias/a", ABSENT_KEY, ABSENT_KEY.upper(), ABSENT_KEY.replace("e", "z")),
        *(ABSENT_KEY + "\n", "\u0130", "\u00df", "=", "QQ==\n"),
    )
)
ABSURD: Final = st.one_of(
    st.sampled_from(
        (None, False, [], {}, [[]], [None], {"": {}}, {"\ud800": 1}, _nested(15), _nested(40), _nested(400))
    ),
    STRANGE_TEXTS,
    STRANGE_INTEGERS,
    JSON_VALUES,
)

_SIZES: Final = st.sampled_from((1, 16, 32, 63, 64, 65, 1024, 4095, 4096))
_BASE64: Final = _SIZES.map(lambda size: base64.b64encode(b"\xa5" * size).decode())
_STRANGE_BASE64: Final = st.sampled_from(
    ("QQ", "QQ=", "QR==", "QUI=\n", "Q Q=", "QQ===", "_-8=", "=", "\u0430bcd", "A" * 9001, "A" * 5464)
)
_TEXTS: Final = st.sampled_from(("a", "b/c", "\u5bc6\u94a5", "a" * 60, "a" * 128, "x" * 255, "x" * 4096, "-"))
_ALIASES: Final = st.one_of(st.just("A_b-9"), st.text("abcdef", min_size=6, max_size=6))
_CONTEXTS: Final = st.sampled_from(("", "{}", '{"a":"b"}', '{ "a" : "b", "c" : "" }', '{"a":"\\ud83d\\ude00"}'))
_STRANGE_CONTEXTS: Final = st.sampled_from(
    (
        *('{"a":1}', '{"a":"b","a":"b"}', '{"a":NaN}', "[", '{"a":"\\ud800"}', '{"\\u0000":"\\u0000"}', "[" * 500),
        *('{"a":"' + "x" * 1020 + '"}', '{"a":{}}', '"a"', "\ufeff{}", '{"a":"b"}x'),
    )
)
_PAIRS: Final = st.sampled_from(({}, {"a": "b"}, {"a": "", "": "c"}, {"a": "x" * 8191}, {"\u5bc6": "\0"}))
_STRANGE_PAIRS: Final = st.sampled_from(
    (
        *({"a": 1}, {"a": None}, {"a": ["b"]}, {"a": "x" * 8192}, {"a": "\u20ac" * 5500}, {"a": "\ud800"}),
        *([["a", "b"]], "a=b", {str(number): "v" for number in range(900)}),
    )
)
_TAGS: Final = st.sampled_from(
    ([], [{"TagKey": "team", "TagValue": "red"}], [{"TagKey": "\u56e2 [1]", "TagValue": "a@b"}])
)
_STRANGE_TAGS: Final = st.sampled_from(
    (
        [{"TagKey": "a", "TagValue": "b"}] * 2,
        [{"TagKey": f"k{number}", "TagValue": "v"} for number in range(51)],
        [{"TagKey": "project", "TagValue": "b"}],
        [{"TagKey": "a" * 128, "TagValue": " b"}],
        [{"TagKey": "a", "TagValue": []}],
        [{"TagKey": "a"}, None],
        {"TagKey": "a", "TagValue": "b"},
        [{"TagKey": "\ud800", "TagValue": "b", "Extra": 1}],
    )
)
_FILTERS: Final = st.sampled_from(([], [{"TagKey": "team"}], [{"TagKey": "team", "TagValue": ["red", "blue"]}]))
_NAMES: Final = st.sampled_from(
    (
        *("", "ALL", "AES_256", "AES_128", "SM4", "RSA_2048", "RSA_4096", "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
        *("SYMMETRIC_DEFAULT", "external", "kms", "TENCENT_KMS", "EXTERNAL", "0", "1", "2", "all", "on-prem"),
        *("CipherText", "ASYMMETRIC_DECRYPT_SM2", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSAES_PKCS1_V1_5"),
        *("SM2_ENCRYPT", "aes_256"),
    )
)
_EMPTY: Final = st.sampled_from(("0", "cls-1", 0, 1, [], [1], {}, {"MemberUin": 1}))


class Kind(NamedTuple):
    """What fields of one kind hold."""

    sound: st.SearchStrategy[object]
    near: st.SearchStrategy[object]


PLAIN: Final[Mapping[str, Kind]] = {
    "integer": Kind(INTEGERS, STRANGE_INTEGERS),
    "name": Kind(_NAMES, STRANGE_TEXTS),
    "alias": Kind(_ALIASES, STRANGE_TEXTS),
    "text": Kind(_TEXTS, STRANGE_TEXTS),
    "base64": Kind(_BASE64, _STRANGE_BASE64),
    "context": Kind(_CONTEXTS, _STRANGE_CONTEXTS),
    "pairs": Kind(_PAIRS, _STRANGE_PAIRS),
    "tags": Kind(_TAGS, _STRANGE_TAGS),
    "filters": Kind(_FILTERS, _STRANGE_TAGS),
    "sequence": Kind(st.just(ABSENT_KEY), STRANGE_TEXTS),
    "not offered": Kind(st.just(""), _EMPTY),
}
"""What is known without the service."""
