"""Laws of hsmkms/core/ids.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core import ids
from hsmkms.core.errors import AccountInvalid, KeyIdMalformed

if TYPE_CHECKING:
    import uuid


@given(st.uuids())
def test_every_lower_case_uuid_is_a_key_id(value: uuid.UUID) -> None:
    assert ids.key_id(str(value)) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "6D8B6A3E-0000-4000-8000-000000000001",
        "6d8b6a3e00004000800000000000 0001",
        "6d8b6a3e000040008000000000000001",
        "{6d8b6a3e-0000-4000-8000-000000000001}",
        "6d8b6a3e-0000-4000-8000-000000000001\n",
        " 6d8b6a3e-0000-4000-8000-000000000001",
        "6d8b6a3e-0000-4000-8000-00000000000",
        "6d8b6a3e-0000-4000-8000-0000000000011",
        "6d8b6a3e-0000-4000-80000-00000000001",
        "gd8b6a3e-0000-4000-8000-000000000001",
        "٣d8b6a3e-0000-4000-8000-000000000001",
        "alias/payments",
    ],
)
def test_anything_else_is_no_key_id(text: str) -> None:
    with pytest.raises(KeyIdMalformed):
        ids.key_id(text)


@given(st.from_regex(r"[0-9a-z][0-9a-z_-]{0,63}", fullmatch=True))
def test_an_account_name_of_the_documented_form_is_taken(text: str) -> None:
    assert ids.account_name(text) == text


@pytest.mark.parametrize("text", ["", "_a", "-a", "A", "a b", "a" * 65, "a\n", "é", "a.b", "a/b", "٣", "a\0"])
def test_any_other_account_name_is_refused(text: str) -> None:
    with pytest.raises(AccountInvalid):
        ids.account_name(text)


@given(st.integers(-(10**12), 10**12), st.integers(0, 999))
def test_an_instant_lies_in_the_second_that_began_before_it(seconds: int, milliseconds: int) -> None:
    assert ids.to_seconds(ids.Instant(ids.from_seconds(seconds) + milliseconds)) == seconds


@given(st.integers(0, 10**12), st.integers(-(10**9), 10**9))
def test_later_counts_seconds(seconds: int, more: int) -> None:
    assert ids.later(ids.from_seconds(seconds), seconds=more) == ids.from_seconds(seconds + more)
