"""One action per signature, where it is switched on."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from hsmkms.core import errors
from hsmkms.core.ids import AccessId, AccountName, Instant, RequestId, from_seconds, later
from hsmkms.core.material import Edition
from hsmkms.dialects.tencent.auth import WINDOW_SECONDS, Claim
from hsmkms.dialects.tencent.binding import MOST_MARKS, MOST_MARKS_OF_ONE, ActionBinding
from hsmkms.dialects.tencent.dialect import TencentDialect
from tests.dialects.scripted_service import ACCESS_ID, KEY_ID, NOW, ScriptedService, StoppedClock, shown
from tests.dialects.tencent.signing import Signer

ACME: Final = AccountName("acme")
STARTED: Final = from_seconds(NOW - 60)
REQUEST_ID: Final = RequestId("5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11")
BODY: Final = {"KeyId": KEY_ID}


def claim(signature: str = "ab" * 32, second: int = NOW, access_id: AccessId = ACCESS_ID) -> Claim:
    return Claim(access_id, "2026-11-21", str(second), ("content-type", "host"), signature)


def number(each: int) -> str:
    return f"{each:064x}"


# --- the binding alone -----------------------------------------------------------------------------------------


def test_a_signature_serves_its_first_action_as_often_as_it_is_sent_and_no_other() -> None:
    binding = ActionBinding(STARTED)
    for _ in range(3):
        binding.bind(claim(), ACME, "DescribeKey", from_seconds(NOW))
        with pytest.raises(errors.SignatureMismatch, match="another action"):
            binding.bind(claim(), ACME, "DeleteImportedKeyMaterial", from_seconds(NOW))


def test_another_signature_and_another_access_id_are_others() -> None:
    binding = ActionBinding(STARTED)
    binding.bind(claim(), ACME, "DescribeKey", from_seconds(NOW))
    binding.bind(claim("cd" * 32), ACME, "EnableKey", from_seconds(NOW))
    binding.bind(claim(access_id=AccessId("AKIDOTHER")), ACME, "EnableKey", from_seconds(NOW))


@pytest.mark.parametrize("ahead", [-WINDOW_SECONDS, 0, WINDOW_SECONDS])
def test_it_is_bound_for_as_long_as_it_could_be_verified(ahead: int) -> None:
    binding = ActionBinding(from_seconds(NOW - 2 * WINDOW_SECONDS))
    signed = NOW + ahead
    binding.bind(claim(second=signed), ACME, "DescribeKey", from_seconds(NOW))
    end_of_last_second = Instant(from_seconds(signed + WINDOW_SECONDS + 1) - 1)
    with pytest.raises(errors.SignatureMismatch):
        binding.bind(claim(second=signed), ACME, "EnableKey", end_of_last_second)
    binding.bind(claim("cd" * 32, signed + 2), ACME, "DescribeKey", later(end_of_last_second, seconds=1))
    assert binding._marks == len(binding._seconds) == binding._by_account[ACME] == 1, "what ended is forgotten"


def test_who_was_read_before_the_last_second_turned_and_comes_after_it_is_too_late() -> None:
    """A request is read once and bound once: between both, its mark may have ended, and would be made anew."""
    binding = ActionBinding(STARTED)
    binding.bind(claim(), ACME, "DescribeKey", from_seconds(NOW))
    for action in ("DescribeKey", "EnableKey"):
        with pytest.raises(errors.SignatureExpired):
            binding.bind(claim(), ACME, action, from_seconds(NOW + WINDOW_SECONDS + 1))


def test_what_was_too_old_once_stays_so_when_the_clock_is_set_back() -> None:
    binding = ActionBinding(STARTED)
    ahead = 2 * WINDOW_SECONDS
    binding.bind(claim(), ACME, "DescribeKey", from_seconds(NOW))
    binding.bind(claim("cd" * 32, NOW + ahead), ACME, "DescribeKey", from_seconds(NOW + ahead))
    with pytest.raises(errors.SignatureExpired):
        binding.bind(claim(), ACME, "EnableKey", from_seconds(NOW + 1))
    good = claim("ef" * 32, NOW + ahead - WINDOW_SECONDS)
    binding.bind(good, ACME, "DescribeKey", from_seconds(NOW + 2))
    with pytest.raises(errors.SignatureMismatch):
        binding.bind(good, ACME, "EnableKey", from_seconds(NOW + 3))


def test_a_mark_signed_ahead_is_kept_for_both_windows() -> None:
    binding = ActionBinding(STARTED)
    signed = NOW + WINDOW_SECONDS
    binding.bind(claim(second=signed), ACME, "DescribeKey", from_seconds(NOW))
    with pytest.raises(errors.SignatureMismatch):
        binding.bind(claim(second=signed), ACME, "EnableKey", from_seconds(NOW + 2 * WINDOW_SECONDS))


def test_it_takes_ten_accounts_to_fill_the_table() -> None:
    assert MOST_MARKS >= 10 * MOST_MARKS_OF_ONE


@pytest.mark.parametrize(("second", "good"), [(NOW - 61, False), (NOW - 60, False), (NOW - 59, True)])
def test_what_was_signed_before_the_process_started_serves_nothing(second: int, good: bool) -> None:
    binding = ActionBinding(Instant(STARTED + 400))
    if good:
        binding.bind(claim(second=second), ACME, "DescribeKey", from_seconds(NOW))
    else:
        with pytest.raises(errors.SignatureExpired, match="started"):
            binding.bind(claim(second=second), ACME, "DescribeKey", from_seconds(NOW))


def test_an_account_at_its_bound_is_refused_and_nothing_is_forgotten_early() -> None:
    binding = ActionBinding(STARTED, most=5, most_of_one=3)
    for each in range(3):
        binding.bind(claim(number(each)), ACME, "DescribeKey", from_seconds(NOW))
    with pytest.raises(errors.RequestRateExceeded):
        binding.bind(claim(number(3)), ACME, "DescribeKey", from_seconds(NOW))
    binding.bind(claim(number(0)), ACME, "DescribeKey", from_seconds(NOW))
    for each in range(3):
        with pytest.raises(errors.SignatureMismatch):
            binding.bind(claim(number(each)), ACME, "EnableKey", from_seconds(NOW))
    other = AccountName("other")
    for each in (10, 11):
        binding.bind(claim(number(each)), other, "DescribeKey", from_seconds(NOW))
    with pytest.raises(errors.ServiceOverloaded):
        binding.bind(claim(number(12)), other, "DescribeKey", from_seconds(NOW))
    over = from_seconds(NOW + WINDOW_SECONDS + 1)
    binding.bind(claim(number(13), NOW + WINDOW_SECONDS), other, "DescribeKey", over)
    assert binding._marks == 1


# --- in the dialect ----------------------------------------------------------------------------------------------


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService(outcome=shown())


def dialect(service: ScriptedService, *, binds: bool = True) -> TencentDialect:
    binding = ActionBinding(STARTED) if binds else None
    return TencentDialect(service, StoppedClock(), Edition.FIPS, binding=binding)


async def code_of(asked: TencentDialect, action: str, body: object = BODY, **how: Any) -> str | None:  # noqa: ANN401
    """Return what a request of this action is told, under the signature that all actions with this body have."""
    reply = await asked.answer(*Signer(**how.pop("signer", {})).sign(action, body, **how), REQUEST_ID)
    error = json.loads(reply.body)["Response"].get("Error")
    return None if error is None else str(error["Code"])


async def test_the_wire_cannot_tell_a_swap_from_a_script_and_both_are_refused(service: ScriptedService) -> None:
    """The cost of the switch: of two actions with one body within one second, the second is refused."""
    bound, open_to_swaps = dialect(service), dialect(service, binds=False)
    first, _ = Signer().sign("DescribeKey", BODY)
    second, _ = Signer().sign("DeleteImportedKeyMaterial", BODY)
    assert first.values("authorization") == second.values("authorization"), "this is why"
    assert await code_of(open_to_swaps, "DescribeKey") is None
    service.outcome = errors.KeyNotFound()
    assert await code_of(open_to_swaps, "DeleteImportedKeyMaterial") == "ResourceUnavailable.CmkNotFound", (
        "it is served"
    )
    assert await code_of(bound, "DescribeKey") == "ResourceUnavailable.CmkNotFound"
    asked = len(service.asked)
    assert await code_of(bound, "DeleteImportedKeyMaterial") == "AuthFailure.SignatureFailure"
    assert len(service.asked) == asked, "it never became a command"


async def test_another_second_and_another_body_are_other_signatures(service: ScriptedService) -> None:
    bound = dialect(service)
    service.outcome = errors.KeyNotFound()
    assert await code_of(bound, "DescribeKey") == "ResourceUnavailable.CmkNotFound"
    assert await code_of(bound, "EnableKey", signer={"at": NOW + 1}) == "ResourceUnavailable.CmkNotFound"
    assert await code_of(bound, "DisableKey", {"KeyId": KEY_ID[:-1] + "0"}) == "ResourceUnavailable.CmkNotFound"


async def test_a_request_that_is_not_believed_or_has_no_action_of_ours_leaves_no_mark(service: ScriptedService) -> None:
    bound = dialect(service)
    assert bound.binding is not None
    assert await code_of(bound, "EnableKey", signer={"secret": "wrong"}) == "AuthFailure.SignatureFailure"
    assert await code_of(bound, "EnableKey", signer={"access_id": "AKIDNOBODY"}) == "AuthFailure.SecretIdNotFound"
    assert await code_of(bound, "EnableKey", signer={"at": NOW - 400}) == "AuthFailure.SignatureExpire"
    assert await code_of(bound, "Nonsense") == "InvalidAction"
    assert await code_of(bound, "EnableKey", headers={"X-TC-Version": "2020-01-01"}) == "NoSuchVersion"
    assert bound.binding._marks == 0
    assert await code_of(bound, "DescribeKey") is None


async def test_a_swapped_request_does_not_count_against_the_account_s_rate(service: ScriptedService) -> None:
    bound = dialect(service)
    await code_of(bound, "DescribeKey")
    await code_of(bound, "DisableKey")
    assert [api for _caller, api in service.admitted] == ["DescribeKey"]
    [(error, _source, caller, api)] = service.refusals
    assert (type(error), api) == (errors.SignatureMismatch, "DisableKey")
    assert caller is not None


@pytest.mark.parametrize("binds", [True, False])
async def test_whoever_signs_the_action_is_held_to_it_whatever_the_switch_says(
    binds: bool,
    service: ScriptedService,
) -> None:
    strict = Signer(signed=("content-type", "host", "x-tc-action"))
    head, body = strict.sign("DescribeKey", BODY)
    asked = dialect(service, binds=binds)
    swapped = tuple((name, "DisableKey" if name == "X-TC-Action" else value) for name, value in head.headers)
    reply = await asked.answer(type(head)(head.method, head.target, swapped), body, REQUEST_ID)
    assert json.loads(reply.body)["Response"]["Error"]["Code"] == "AuthFailure.SignatureFailure"
    assert not service.asked
    assert "Error" not in json.loads((await asked.answer(head, body, REQUEST_ID)).body)["Response"]
    other, body = strict.sign("DisableKey", BODY)
    service.outcome = errors.KeyNotFound()
    reply = await asked.answer(other, body, REQUEST_ID)
    assert json.loads(reply.body)["Response"]["Error"]["Code"] == "ResourceUnavailable.CmkNotFound", (
        "it costs them nothing"
    )
