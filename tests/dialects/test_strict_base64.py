from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core.errors import CiphertextInvalid
from hsmkms.dialects import strict_base64


@given(st.binary(max_size=64))
def test_every_byte_string_survives_the_round_trip(value: bytes) -> None:
    assert strict_base64.decode(strict_base64.encode(value)) == value


@given(st.text(max_size=16) | st.text("AQgw=+/-_\n ", max_size=12))
def test_a_text_is_refused_or_is_the_only_spelling_of_its_bytes(text: str) -> None:
    try:
        value = strict_base64.decode(text)
    except ValueError:
        return
    assert base64.b64encode(value).decode() == text


NOT_CANONICAL = ("QQ", "QQ=", "QQ===", "QR==", "QUI", "QUJ=", "Q Q=", "QQ==\n", "QQ==QQ==", "-_==", "=", "é", "QQ\0=")


def test_a_ciphertext_is_read_as_all_base64() -> None:
    assert strict_base64.decode_ciphertext("QUI=") == b"AB"


@pytest.mark.parametrize("text", NOT_CANONICAL)
def test_what_is_not_base64_is_no_ciphertext_and_nothing_more_is_said(text: str) -> None:
    with pytest.raises(CiphertextInvalid) as raised:
        strict_base64.decode_ciphertext(text)
    assert raised.value.message == CiphertextInvalid.text
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("text", NOT_CANONICAL)
def test_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        strict_base64.decode(text)
