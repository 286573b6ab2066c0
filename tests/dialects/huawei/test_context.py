from __future__ import annotations

from typing import Any

import pytest

from hsmkms.core import errors
from hsmkms.core.ciphertexts import MOST_CONTEXT_BYTES, NO_CONTEXT, context_of_pairs, context_of_text
from hsmkms.dialects import wire_models
from hsmkms.dialects.huawei import wire
from hsmkms.dialects.huawei.context import of_request
from hsmkms.dialects.huawei.refusals import refusal
from hsmkms.dialects.tencent import context as tencent

LARGEST = {"": "测" * 5455 + "xx"}
"""9 bytes, 4 for each text, and 16367 of UTF-8: as many as a context may have."""


def context_of(members: dict[str, Any]) -> bytes:
    return of_request(wire_models.read(wire.Authenticated, members))


@pytest.mark.parametrize(
    ("members", "context"),
    [
        ({}, NO_CONTEXT),
        ({"additional_authenticated_data": ""}, NO_CONTEXT),
        ({"additional_authenticated_data": None, "encryption_context": {}}, NO_CONTEXT),
        ({"additional_authenticated_data": "aad"}, context_of_text("aad")),
        ({"additional_authenticated_data": "aad", "encryption_context": {}}, context_of_text("aad")),
        ({"additional_authenticated_data": "测" * 42 + "xy"}, context_of_text("测" * 42 + "xy")),
        ({"encryption_context": {"a": "1", "b": "2"}}, context_of_pairs({"b": "2", "a": "1"})),
        ({"encryption_context": {"a": "x" * 8191}}, context_of_pairs({"a": "x" * 8191})),
        ({"encryption_context": LARGEST}, context_of_pairs(LARGEST)),
    ],
)
def test_a_context_is_a_text_or_named_values(members: dict[str, Any], context: bytes) -> None:
    assert context_of(members) == context


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"additional_authenticated_data": "x" * 129}, "additional_authenticated_data"),
        ({"additional_authenticated_data": "测" * 43}, "additional_authenticated_data"),
        ({"additional_authenticated_data": {"a": "1"}}, "additional_authenticated_data"),
        ({"encryption_context": '{"a": "1"}'}, "encryption_context"),
        ({"encryption_context": ["a"]}, "encryption_context"),
        ({"encryption_context": {"a": 1}}, "encryption_context"),
        ({"encryption_context": {"a": None}}, "encryption_context"),
        ({"encryption_context": {"a": {"b": "c"}}}, "encryption_context"),
        ({"encryption_context": {"a": "x" * 8192}}, "encryption_context"),
        ({"encryption_context": LARGEST | {"": LARGEST[""] + "x"}}, "encryption_context"),
        ({"encryption_context": {str(number): "" for number in range(2000)}}, "encryption_context"),
        ({"encryption_context": {"a": "1"}, "additional_authenticated_data": "aad"}, "encryption_context"),
    ],
)
def test_a_wrong_context_has_a_code_of_its_own(members: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.FieldInvalid) as raised:
        context_of(members)
    assert raised.value.field == field
    assert refusal(raised.value).code.text == "KMS.0208"


def test_the_longest_context_is_one_that_a_host_takes() -> None:
    assert len(context_of({"encryption_context": LARGEST})) == MOST_CONTEXT_BYTES


def test_named_values_are_those_of_the_other_cloud_and_a_text_is_not() -> None:
    assert context_of({"encryption_context": {"a": "1"}}) == tencent.read("EncryptionContext", '{"a":"1"}')
    assert context_of({"additional_authenticated_data": '{"a":"1"}'}) != tencent.read("EncryptionContext", '{"a":"1"}')
