"""Limits, the action of a signature, and failed imports: a service whose guards are set narrowly."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.retry import StandardRetryer

from tests.e2e import raw
from tests.e2e.running import Instance, until
from tests.e2e.tencent_client import TencentClient
from tests.e2e.unwrap_failures import JUDGED, OAEP, PKCS1, UNDECRYPTABLE, Told, ciphertext, told
from tests.e2e.wiretap import Wiretap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.cloud_client import CloudClient
    from tests.e2e.running import RunningService

RATE: Final = 5
DEADLINE_SECONDS: Final = 0.25
"""As many imports a second as fail one after the other are just below the rate."""
CONFIGURATION: Final = f"""
[import]
tickets_per_pair = 1000
failure_deadline_milliseconds = {1000 * DEADLINE_SECONDS:.0f}
wrapping_algorithms = ["RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"]

[limits]
requests_per_second_per_api = {RATE}

[tencent]
bind_signature_to_action = true
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    made = Instance.make(tmp_path_factory.mktemp("guarded") / "softhsm", extra=CONFIGURATION)
    with made.serving() as service:
        until_believed(service)
        yield service


def until_believed(service: RunningService) -> None:
    """Wait for the end of the second in which the web process started: what is signed in that is too old for it."""
    service.until_ready()
    keys = service.instance.credential()
    until(lambda: "Error" not in raw.signed(service.endpoint, keys, "GetRegions", {}).response, "the next second", 10)


class Retryer(StandardRetryer):  # type: ignore[misc]  # the SDK has no types
    """What the SDK's own retryer retries, after less time; it also stops at the first success.

    That of tencentcloud-sdk-python-common 3.1 does not: it keeps the first failure, goes on, and raises it in the end.
    """

    tried_again = 0

    def send_request(self, fn: Callable[[], Any]) -> Any:
        for _ in range(20):
            try:
                return fn()
            except TencentCloudSDKException as error:
                if not self.should_retry(None, error):
                    raise
                self.tried_again += 1
                time.sleep(0.3)
        return fn()


def patient(client: TencentClient) -> TencentClient:
    """Let Tencent's SDK ask again when it asked too often."""
    client.sdk.profile.retryer = Retryer()
    return client


# --- how often ------------------------------------------------------------------------------------------------


def test_both_sdks_are_refused_beyond_the_rate_and_only_the_account_that_asks(guarded: RunningService) -> None:
    modest = guarded.client(guarded.instance.another_credential("modest"))
    tencent, huawei = guarded.client(), guarded.huawei()
    assert refused_in_the_end(tencent, partial(tencent.call, "ListKeys", Limit=1)) == "RequestLimitExceeded"
    assert modest.call("ListKeys", Limit=1).TotalCount == 0, "another account has a rate of its own"
    assert tencent.call("ListKeyDetail", Limit=2).RequestId, "and so has another action"
    assert refused_in_the_end(huawei, partial(huawei.call, "list_keys", limit="1")) == "APIGW.0308"
    assert (huawei.answer.status_code, huawei.answer.headers["Retry-After"]) == (429, "1")


def refused_in_the_end(client: CloudClient, ask: Callable[[], object]) -> str:
    """Return the code with which a client is refused that goes on asking."""
    for _ in range(20 * RATE):
        with contextlib.suppress(pytest.fail.Exception):  # granted
            return client.failure(ask).code
    pytest.fail("it was granted each time")


def test_what_the_sdk_retries_gets_through(guarded: RunningService) -> None:
    client = patient(guarded.client())
    for _ in range(3 * RATE):
        assert client.call("ListKeys", Limit=3).RequestId
    assert client.sdk.profile.retryer.tried_again, "the control: it had to"


# --- the action of a signature --------------------------------------------------------------------------------


def through(tap: Wiretap, service: RunningService) -> TencentClient:
    """Return the unmodified SDK, talking to the service through whoever reads along."""
    return patient(TencentClient(tap.address, service.instance.credential(), service.instance.algorithm))


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
def test_by_default_whoever_changes_the_traffic_can_make_one_action_another(
    service: RunningService, client: TencentClient
) -> None:
    """What SECURITY.md says of the default: TLS or loopback is the defence, not the signature."""
    key_id = client.external_key()
    client.bring(key_id, secrets.token_bytes(32))
    with Wiretap(service.endpoint) as tap:
        through(tap, service).call("DescribeKey", KeyId=key_id)
        swapped = tap.requests[-1].send(service.endpoint, X_Tc_Action="DeleteImportedKeyMaterial")
    assert "Error" not in swapped.response
    assert client.state(key_id) == "PendingImport"


def test_with_the_switch_a_signature_serves_its_first_action_only(guarded: RunningService) -> None:
    client = patient(guarded.client())
    key_id = client.external_key()
    client.bring(key_id, secrets.token_bytes(32))
    with Wiretap(guarded.endpoint) as tap:
        through(tap, guarded).call("DescribeKey", KeyId=key_id)
        captured = tap.requests[-1]
    swapped = captured.send(guarded.endpoint, X_Tc_Action="DeleteImportedKeyMaterial")
    assert swapped.error[0] == "AuthFailure.SignatureFailure"
    again = captured.send(guarded.endpoint)
    assert again.response["KeyMetadata"]["KeyState"] == "Enabled", (
        "the same request may be repeated, and nothing is lost"
    )


def test_what_the_switch_costs_a_script(guarded: RunningService) -> None:
    """Two actions on one key within one second: one signature, so that the second is taken for a swap."""
    client = patient(guarded.client())
    key_id = client.external_key()
    client.bring(key_id, secrets.token_bytes(32))

    def second_action_right_after_the_first() -> str | None:
        until(lambda: time.time() % 1 < 0.3, "a second's beginning")
        second = int(time.time())
        client.call("DescribeKey", KeyId=key_id)
        try:
            client.call("DisableKey", KeyId=key_id)
        except TencentCloudSDKException as error:
            return str(error.get_code())
        assert int(time.time()) > second, "within one second both were served"
        client.call("EnableKey", KeyId=key_id)
        return None

    refused = until(second_action_right_after_the_first, "two actions within one second")
    assert refused == "AuthFailure.SignatureFailure"
    for action in ("DisableKey", "DescribeKey"):
        now = int(time.time())
        until(lambda now=now: int(time.time()) > now, "the next second")  # type: ignore[misc]
        answer = client.call(action, KeyId=key_id)
    assert answer.KeyMetadata.KeyState == "Disabled"


def test_a_client_that_signs_the_action_is_held_to_it_and_pays_nothing(guarded: RunningService) -> None:
    key_id = patient(guarded.client()).external_key()
    strict = ("content-type", "host", "x-tc-action")
    keys, at = guarded.instance.credential(), int(time.time())

    def send(action: str, sent: str | None = None) -> raw.Answer:
        changed = {} if sent is None else {"X-TC-Action": sent}
        return raw.signed(guarded.endpoint, keys, action, {"KeyId": key_id}, sent=changed, at=at, signed=strict)

    assert send("DescribeKey", "DeleteImportedKeyMaterial").error[0] == "AuthFailure.SignatureFailure"
    assert "Error" not in send("DescribeKey").response
    assert send("EnableKey").error[0] == "ResourceUnavailable.CmkStateNotSupport", "it was believed"


def test_what_was_signed_before_the_web_process_started_is_not_believed(guarded: RunningService) -> None:
    """It has forgotten which actions they served."""
    keys, at = guarded.instance.credential(), int(time.time())
    assert "Error" not in raw.signed(guarded.endpoint, keys, "GetRegions", {}, at=at).response
    (web,) = guarded.pids("web")
    os.kill(web, signal.SIGKILL)
    until(lambda: guarded.pids("web") not in ([], [web]), "another web process")
    guarded.until_ready()
    assert raw.signed(guarded.endpoint, keys, "GetRegions", {}, at=at).error[0] == "AuthFailure.SignatureExpire"
    until_believed(guarded)
    assert raw.signed(guarded.endpoint, keys, "GetRegions", {}, at=at).error[0] == "AuthFailure.SignatureExpire"


# --- failed imports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cloud", ["tencent", "huawei"])
@pytest.mark.parametrize("algorithm", [OAEP, PKCS1])
def test_what_does_not_unwrap_is_told_in_one_way_and_never_at_once(
    cloud: str, algorithm: str, guarded: RunningService
) -> None:
    keys = guarded.instance.credential()
    client = patient(guarded.client())
    key_id, material = client.external_key(), secrets.token_bytes(32)
    client.bring(key_id, material)
    client.delete_material(key_id)
    parameters = client.parameters(key_id, algorithm)

    def attempt(kind: str) -> Told:
        sent = ciphertext(kind, parameters.public_key, algorithm, material)
        return told(cloud, guarded.endpoint, keys, key_id, parameters, sent)

    alike = UNDECRYPTABLE[algorithm] + (JUDGED if algorithm == PKCS1 else ())
    answers = {kind: attempt(kind) for kind in alike}
    assert len({each.said for each in answers.values()}) == 1, answers
    if algorithm == OAEP:
        judged = {kind: attempt(kind) for kind in JUDGED}
        assert judged["too short"].said == judged["too long"].said != judged["other material"].said, "the control"
        answers |= judged
    for kind, answer in answers.items():
        assert answer.seconds >= DEADLINE_SECONDS, kind
    assert guarded.attempts(key_id) == len(answers) + 1, "all of them were tried"

    def imported_at_once() -> bool:
        parameters = client.parameters(key_id, algorithm)
        encrypted = client.wrapped(parameters, material, algorithm)
        started = time.monotonic()
        client.import_(key_id, parameters, encrypted)
        seconds = time.monotonic() - started
        client.delete_material(key_id)
        return seconds < DEADLINE_SECONDS

    until(imported_at_once, "the control: a success that is not held back, which one held back never is")
