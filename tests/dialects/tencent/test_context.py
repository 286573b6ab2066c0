from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core.ciphertexts import MOST_CONTEXT_BYTES, NO_CONTEXT, context_of_pairs
from hsmkms.core.errors import FieldInvalid
from hsmkms.dialects.tencent import context

FIELD = "EncryptionContext"


@pytest.mark.parametrize("text", ["", "{}", " { } "])
def test_no_pairs_are_no_context(text: str) -> None:
    assert context.read(FIELD, text) == NO_CONTEXT


@pytest.mark.parametrize(
    "text",
    ['{"b":"2","a":"1"}', '{"a":"1","b":"2"}', ' {"a": "1",\n "b": "2"} ', '{"\\u0061": "1", "b": "\\u0032"}'],
)
def test_spelling_and_order_do_not_matter(text: str) -> None:
    assert context.read(FIELD, text) == context_of_pairs({"a": "1", "b": "2"})


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4), st.booleans())
def test_the_pairs_are_what_counts(pairs: dict[str, str], ascii_only: bool) -> None:
    assert context.read(FIELD, json.dumps(pairs, ensure_ascii=ascii_only)) == context_of_pairs(pairs)


def test_the_longest_context() -> None:
    longest = json.dumps({"k": "é" * 1015}, ensure_ascii=False)
    assert len(longest) == context.MOST_CHARACTERS
    assert context.read(FIELD, longest) == context_of_pairs({"k": "é" * 1015})
    with pytest.raises(FieldInvalid, match="1024 characters"):
        context.read(FIELD, longest + " ")


@pytest.mark.parametrize(
    "longest",
    [
        json.dumps({"k": "\U0001f511" * 1015}, ensure_ascii=False),
        json.dumps(dict.fromkeys(string.ascii_letters, "") | {str(n): "" for n in range(83)}, separators=(",", ":")),
    ],
    ids=["of the longest characters", "of many names"],
)
def test_no_context_of_so_many_characters_is_too_long_for_a_host(longest: str) -> None:
    assert context.MOST_CHARACTERS - 30 < len(longest) <= context.MOST_CHARACTERS
    assert len(context.read(FIELD, longest)) <= MOST_CONTEXT_BYTES


def test_were_one_too_long_all_the_same_it_would_be_the_field_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsmkms.dialects.wire_models.MOST_CONTEXT_BYTES", 20)
    assert context.read(FIELD, '{"k":"v"}')
    with pytest.raises(FieldInvalid, match="20 bytes") as raised:
        context.read("SourceEncryptionContext", '{"k":"value"}')
    assert raised.value.field == "SourceEncryptionContext"


@pytest.mark.parametrize(
    "text",
    [
        "k=v",
        "null",
        "[]",
        '"k"',
        '{"k":1}',
        '{"k":null}',
        '{"k":true}',
        '{"k":["v"]}',
        '{"k":{"v":"w"}}',
        '{"k":"v","k":"v"}',
        '{"k":"v","\\u006b":"w"}',
        '{"k":"v"} {}',
        '{"k":"v",}',
        '{"k":"\\ud800"}',
        '{"k":NaN}',
        "{" * 1000,
    ],
)
def test_what_is_not_an_object_of_strings_is_refused_by_the_field(text: str) -> None:
    with pytest.raises(FieldInvalid) as raised:
        context.read("SourceEncryptionContext", text)
    assert raised.value.field == "SourceEncryptionContext"
    assert "body" not in raised.value.message
    assert raised.value.__cause__ is None


def test_nothing_of_the_context_is_in_its_refusal() -> None:
    with pytest.raises(FieldInvalid) as raised:
        context.read(FIELD, '{"needle": 7}')
    assert "needle" not in raised.value.message
