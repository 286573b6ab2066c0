from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsmkms.core.errors import BodyMalformed
from hsmkms.dialects import strict_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Surrogates are no text; everything else is.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=4))
def test_what_is_an_object_is_read_as_json_reads_it(members: dict[str, object]) -> None:
    assert strict_json.read_object(json.dumps(members).encode()) == members


@given(st.binary(max_size=200) | st.text('{}[]":,\\ud8aNa0e1-+.tfn', max_size=60).map(str.encode))
@example(b"[" * 65536)
@example(b'{"a":' * 13000)
@example(b'"' * 65536)
@example(b"1" * 65536)
@example(b"\xef\xbb\xbf{}")
def test_whatever_comes_is_an_object_or_malformed(body: bytes) -> None:
    with contextlib.suppress(BodyMalformed):
        assert isinstance(strict_json.read_object(body), dict)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'"text"', id="string"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}x", id="more behind it"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":1,}', id="trailing comma"),
        pytest.param(b'{"a":1,"a":1}', id="duplicate member"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="duplicate member, spelled otherwise"),
        pytest.param(b'{"a":[{"b":1,"b":2}]}', id="duplicate member inside"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":Infinity}', id="Infinity"),
        pytest.param(b'{"a":-Infinity}', id="negative Infinity"),
        pytest.param(b'{"a":1e999}', id="overflowing float"),
        pytest.param(b'{"a":12345678901234567890}', id="integer of 20 digits"),
        pytest.param(b'{"a":"\xff"}', id="not UTF-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="surrogate in UTF-8"),
        pytest.param(b'{"a":"\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"\\udc00":1}', id="half a surrogate pair in a name"),
        pytest.param(b'{"a":"\n"}', id="control character"),
        pytest.param('{"a":1}'.encode("utf-16"), id="UTF-16"),
    ],
)
def test_is_malformed(body: bytes) -> None:
    with pytest.raises(BodyMalformed):
        strict_json.read_object(body)


@pytest.mark.parametrize("deepest", ["1", '"text"', "[]", "{}"])
def test_sixteen_levels_are_read_and_seventeen_are_not(deepest: str) -> None:
    extra = deepest in {"[]", "{}"}
    fitting = 16 - extra
    body = '{"a":' + "[" * (fitting - 1) + deepest + "]" * (fitting - 1) + "}"
    assert strict_json.read_object(body.encode())
    too_deep = '{"a":' + "[" * fitting + deepest + "]" * fitting + "}"
    with pytest.raises(BodyMalformed, match="deeper than 16"):
        strict_json.read_object(too_deep.encode())


def test_half_a_surrogate_pair_is_found_at_the_deepest_level() -> None:
    body = '{"a":' + "[" * 15 + '"\\ud800"' + "]" * 15 + "}"
    with pytest.raises(BodyMalformed, match="surrogate"):
        strict_json.read_object(body.encode())


def test_a_malformed_body_is_not_repeated_in_the_error() -> None:
    with pytest.raises(BodyMalformed) as raised:
        strict_json.read_object(b'{"EncryptedKeyMaterial":"needle"')
    assert "needle" not in f"{raised.value!r} {raised.value.__cause__!r}"
    assert raised.value.__suppress_context__
