"""How often an account may ask, by a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.errors import HsmkmsError, KeyNotFound, RequestRateExceeded
from hsmkms.core.ids import AccountName, KeyId
from hsmkms.service import limits
from hsmkms.service.commands import GetImportParameters
from hsmkms.service.limits import RateLimits, Rates
from tests.fakes.clock import SteppedTimer
from tests.service.house import OAEP, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.house import House

ACME: Final = AccountName("acme")
OTHER: Final = AccountName("other")


def admitted(ask: Callable[[], None], tries: int) -> int:
    """Return how many of so many tries in a row are granted."""
    granted = 0
    for _ in range(tries):
        try:
            ask()
        except RequestRateExceeded:
            continue
        granted += 1
    return granted


@pytest.mark.parametrize("rate", [1, 3, 7, 100])
def test_a_second_s_worth_at_once_and_then_exactly_the_rate(rate: int) -> None:
    timer = SteppedTimer()
    limited = RateLimits(timer, Rates(requests_per_second_per_api=rate))

    def ask() -> None:
        limited.admit(ACME, "Encrypt")

    assert admitted(ask, 3 * rate) == rate
    for _ in range(2 * rate):
        timer.advance(1 / rate)
        assert admitted(ask, 2) == 1, "one comes back in each part of a second, and what was refused cost nothing"
    timer.advance(0.5 / rate)
    assert admitted(ask, 1) == 0
    timer.advance(1000)
    assert admitted(ask, 3 * rate) == rate, "no more than a second's worth is ever saved up"


def test_each_account_and_each_action_has_a_bucket_of_its_own() -> None:
    limited = RateLimits(SteppedTimer(), Rates(requests_per_second_per_api=5))
    for account, api in ((ACME, "Encrypt"), (ACME, "Decrypt"), (OTHER, "Encrypt")):
        assert admitted(lambda who=account, what=api: limited.admit(who, what), 9) == 5  # type: ignore[misc]


def test_parameters_come_in_a_burst_and_come_back_slowly() -> None:
    timer = SteppedTimer()
    limited = RateLimits(timer, Rates(get_parameters_burst=100, get_parameters_per_second=5))

    def ask() -> None:
        limited.admit_parameters(ACME)

    assert admitted(ask, 300) == 100
    assert admitted(lambda: limited.admit_parameters(OTHER), 1) == 1
    timer.advance(1)
    assert admitted(ask, 300) == 5
    timer.advance(19)
    assert admitted(ask, 300) == 95


def test_who_is_refused_is_told_how_long_to_wait_and_that_is_true() -> None:
    timer = SteppedTimer()
    limited = RateLimits(timer, Rates(get_parameters_burst=2, get_parameters_per_second=0.25))
    limited.admit_parameters(ACME)
    limited.admit_parameters(ACME)
    timer.advance(1)
    with pytest.raises(RequestRateExceeded, match="import parameters") as caught:
        limited.admit_parameters(ACME)
    assert caught.value.wait_seconds == 3
    timer.advance(caught.value.wait_seconds)
    limited.admit_parameters(ACME)


def test_none_means_none() -> None:
    limited = RateLimits(SteppedTimer(), Rates(get_parameters_per_second=5))
    assert admitted(lambda: limited.admit(ACME, "Encrypt"), 10_000) == 10_000
    assert admitted(lambda: limited.admit_parameters(ACME), 10_000) == 10_000


def test_buckets_that_are_full_again_are_dropped_and_no_others() -> None:
    timer = SteppedTimer()
    limited = RateLimits(timer, Rates(requests_per_second_per_api=1))
    busy = AccountName("busy")
    most = 0
    for number in range(20 * limits._FEW_BUCKETS):
        timer.advance(0.001)
        limited.admit(AccountName(f"a-{number}"), "Encrypt")
        if number % 1100 == 0:
            limited.admit(busy, "Encrypt")
        assert limited._requests is not None
        most = max(most, len(limited._requests._full_at))
    assert most <= 2 * limits._FEW_BUCKETS, "a thousand of them are not full at any time"
    with pytest.raises(RequestRateExceeded):
        limited.admit(busy, "Encrypt")


async def test_a_ticket_counts_after_the_checks_and_before_a_pair_is_made(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(rates=Rates(get_parameters_burst=2, get_parameters_per_second=1)))
    key_id = await house.key()
    nothing = GetImportParameters(KeyId("0d0466b0-e727-4d9c-b35d-f84bb474a37f"), OAEP, "WrappingAlgorithm")
    for _ in range(5):
        with pytest.raises(KeyNotFound):
            await house.service.execute(house.caller, nothing)
    for _ in range(2):
        await house.parameters(key_id)
    with pytest.raises(HsmkmsError) as caught:
        await house.parameters(key_id)
    assert isinstance(caught.value, RequestRateExceeded)
    assert len(house.hsm.pairs_made) == 2
    await house.parameters(await house.key(caller=house.stranger), caller=house.stranger)
    await house.trail.write()
    house.timer.advance(1)
    await house.parameters(key_id)
