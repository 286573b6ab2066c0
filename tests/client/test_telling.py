from __future__ import annotations

import pytest

from hsmkms.client.telling import moment, repeated


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "never"), (2147443200, "2038-01-18T16:00:00Z"), (10**18, f"{10**18}"), (-(10**18), f"-{10**18}")],
)
def test_a_time_is_shown_whatever_a_service_says_it_is(seconds: int, shown: str) -> None:
    assert moment(seconds) == shown


def test_what_others_said_is_repeated_without_what_steers_a_terminal() -> None:
    assert repeated("plain, дом\x1b[31m\n\x9b") == "plain, дом?[31m??"
    assert len(repeated("x" * 9999)) == 500
