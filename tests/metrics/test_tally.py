"""What is told becomes numbers, by kinds that are few."""

from __future__ import annotations

import pytest

from hsmkms.core import errors
from hsmkms.core.errors import CallerFault, ServiceFault, leaves
from hsmkms.core.metering import Reason, Result, TransactionKind, reason_of, result_of
from hsmkms.metrics.tally import BOUNDS, Latency, Tally


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        (None, Result.OK),
        ("KeyNotFound", Result.REFUSED),
        ("SignatureMismatch", Result.REFUSED),
        ("MaterialUndecryptable", Result.REFUSED),
        ("TokenNotAsked", Result.UNAVAILABLE),
        ("StoreUnavailable", Result.UNAVAILABLE),
        ("ServiceOverloaded", Result.UNAVAILABLE),
        ("RecordBroken", Result.FAILED),
        ("InternalFault", Result.FAILED),
        ("ZeroDivisionError", Result.FAILED),
    ],
)
def test_how_something_ended_is_by_whose_fault(fault: str | None, result: Result) -> None:
    assert result_of(fault) is result


def test_every_error_of_a_request_has_a_result_and_a_reason() -> None:
    for leaf in leaves(CallerFault):
        assert result_of(leaf.__name__) is Result.REFUSED
        assert reason_of(leaf.__name__) not in {Reason.UNAVAILABLE, Reason.FAILED}
    for leaf in leaves(ServiceFault):
        assert result_of(leaf.__name__) in {Result.UNAVAILABLE, Result.FAILED}
        assert reason_of(leaf.__name__).value == result_of(leaf.__name__).value


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.SignatureMismatch, Reason.AUTHENTICATION),
        (errors.AccountForeign, Reason.AUTHORIZATION),
        (errors.RequestRateExceeded, Reason.RATE),
        (errors.FieldMissing, Reason.REQUEST),
        (errors.ActionUnknown, Reason.REQUEST),
        (errors.TokenGaveNoAnswer, Reason.UNAVAILABLE),
        (errors.InternalFault, Reason.FAILED),
    ],
)
def test_why_a_request_did_not_become_a_command(error: type[errors.HsmkmsError], reason: Reason) -> None:
    tally = Tally()
    tally.turned_away(error.__name__)
    assert {each: number for each, number in tally.turned_away_by.items() if number} == {reason: 1}


def test_a_bucket_holds_what_took_at_most_its_bound() -> None:
    latency = Latency()
    for place, bound in enumerate(BOUNDS):
        latency.observe(bound)
        assert latency.buckets[place] == 1
        latency.observe(bound * 1.0001)
        assert latency.buckets[place + 1] == 1
        latency.buckets[place + 1] = 0
    assert latency.seconds == pytest.approx(2.0001 * sum(BOUNDS))


def test_requests_are_counted_by_what_was_asked_and_how_it_ended() -> None:
    tally = Tally()
    tally.request("tencent", "Encrypt", None, 0.1)
    tally.request("tencent", "Encrypt", "KeyNotFound", 0.1)
    tally.request("tencent", "Encrypt", "KeyStateForbids", 0.1)
    tally.request("tencent", None, "ActionUnknown", 0.1)
    tally.request(None, None, None, 0.1)
    counted = {
        (*labels, result): latency.count
        for labels, by_result in tally.requests.found.items()
        for result, latency in by_result.items()
    }
    assert {labels: count for labels, count in counted.items() if count} == {
        ("tencent", "Encrypt", Result.OK): 1,
        ("tencent", "Encrypt", Result.REFUSED): 2,
        ("tencent", "unknown", Result.REFUSED): 1,
        ("none", "unknown", Result.REFUSED): 1,
    }
    assert counted["tencent", "Encrypt", Result.FAILED] == 0, "or the first failure would be no increase"


def test_calls_and_transactions_are_counted_apart() -> None:
    tally = Tally()
    tally.token_call("Encrypt", "TokenGaveNoAnswer", 3.0)
    tally.transaction(TransactionKind.WRITE, None, 0.01)
    assert tally.token_calls.found["Encrypt",][Result.UNAVAILABLE].seconds == 3.0
    assert tally.transactions.found[TransactionKind.WRITE,][Result.OK].count == 1
    assert tally.transactions.found[TransactionKind.READ,][Result.OK].count == 0
