from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hsmkms.client import api
from hsmkms.client.api import PAUSES_SECONDS, Refusal
from hsmkms.client.credential import ClientCredential
from hsmkms.core.errors import ServiceRefused, ServiceUnreachable
from hsmkms.core.ids import AccessId, from_seconds
from hsmkms.core.secrets import SecretKey
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.tencent import auth
from hsmkms.service.commands import OpenCredential
from tests.client.played import CREDENTIAL, REQUEST_ID, SILENCE, UNAVAILABLE, Caller, Reply, answer, playing, refusal
from tests.dialects.scripted_service import ACCOUNT

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "tencent" / "tc3.json").read_text(encoding="utf-8")
)
POSTED = [each for each in VECTORS if each["request"]["method"] == "POST" and each["request"]["target"] == "/"]

# --- signing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", POSTED, ids=range(len(POSTED)))
def test_the_signature_is_the_one_that_the_official_sdk_makes(vector: dict[str, Any]) -> None:
    sent = dict(vector["request"]["headers"])
    (names,) = re.findall(r"SignedHeaders=([^,]*)", sent["Authorization"])
    keys = ClientCredential(AccessId(vector["secret_id"]), SecretKey(vector["secret_key"].encode()))
    head = api.signed(
        sent["X-TC-Action"],
        vector["request"]["body"].encode(),
        sent["Host"],
        keys,
        int(sent["X-TC-Timestamp"]),
        tuple(names.split(";")),
    )
    assert head.values("authorization") == (sent["Authorization"],)


def test_there_are_vectors_of_every_call_of_an_import() -> None:
    actions = {dict(each["request"]["headers"])["X-TC-Action"] for each in POSTED}
    assert {"CreateKey", "GetParametersForImport", "ImportKeyMaterial"} <= actions


def test_what_is_sent_is_verified_by_the_service_and_the_action_is_signed() -> None:
    with playing({"DescribeKey": [answer()]}) as played:
        Caller(played).api().call("DescribeKey", KeyId="k")
    (request,) = played.requests
    head = RequestHead("POST", "/", request.headers)
    now = from_seconds(int(head.values("x-tc-timestamp")[0]))
    claim = auth.read_claim(head, now)
    credential = OpenCredential(ACCOUNT, frozenset(), CREDENTIAL.secret_key)
    assert auth.verify(head, request.body, claim, credential) is credential
    assert claim.signed_headers == ("content-type", "host", "x-tc-action")


# --- answers -----------------------------------------------------------------------------------------------


def test_an_answer_is_what_is_in_the_envelope() -> None:
    with playing({"DescribeKey": [answer(A=1)]}) as played:
        assert Caller(played).api().call("DescribeKey") == {"A": 1, "RequestId": REQUEST_ID}


def test_a_refusal_is_said_with_its_code_and_request_id() -> None:
    with playing({"DescribeKey": [refusal("ResourceUnavailable.CmkNotFound", "There is no such key.")]}) as played:
        caller = Caller(played)
        with pytest.raises(ServiceRefused) as caught:
            caller.api().call("DescribeKey")
    assert caught.value.message == (
        "The service refused DescribeKey: There is no such key. "
        f"(ResourceUnavailable.CmkNotFound, request id {REQUEST_ID})"
    )
    assert len(played.requests) == 1
    assert caller.paused == []


def test_what_a_service_says_cannot_steer_a_terminal() -> None:
    with playing({"DescribeKey": [refusal("X\x1b[2J", "\x1b]0;title\x07" + "y" * 5000)]}) as played:
        answered = Caller(played).api().ask("DescribeKey")
    assert isinstance(answered, Refusal)
    assert (answered.code.isprintable(), answered.message.isprintable()) == (True, True)
    assert len(answered.message) == 500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"Response": 1}',
        b'{"Response": {"Error": "X"}}',
        b'{"Response": {"Error": {"Code": 5}}}',
        b'{"Response": {}, "Response": {}}',
    ],
)
def test_what_is_no_answer_of_this_api_is_not_believed(body: bytes) -> None:
    with playing({"DescribeKey": [Reply(body)]}) as played, pytest.raises(ServiceUnreachable, match="not of this API"):
        Caller(played).api().call("DescribeKey")
    assert len(played.requests) == 1


def test_members_must_be_of_their_type() -> None:
    members: dict[str, Any] = {"Text": "t", "Number": 5}
    assert (api.member(members, "Text", str), api.member(members, "Number", int)) == ("t", 5)
    wrong: tuple[tuple[str, type], ...] = (("Number", str), ("None", str), ("Text", int), ("None", int))
    for name, kind in wrong:
        with pytest.raises(ServiceUnreachable, match=f"{name} is absent from it, or of the wrong type"):
            api.member(members, name, kind)


# --- trying again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passing", [SILENCE, refusal(UNAVAILABLE), Reply(b"", status=503), Reply(b"{", missing=9)])
def test_what_passes_is_waited_for_and_the_request_stays_the_same(passing: Reply) -> None:
    with playing({"ImportKeyMaterial": [passing, passing, answer()]}) as played:
        caller = Caller(played)
        caller.api().call("ImportKeyMaterial", ImportToken="t", ValidTo=5)
    assert len(played.requests) == 3
    assert len({each.body for each in played.requests}) == 1
    assert caller.paused == [0.5, 1.0]
    assert [what for what, _ in caller.tell.steps] == ["waiting", "waiting"]


@pytest.mark.parametrize("passing", [SILENCE, refusal(UNAVAILABLE)])
def test_it_ends(passing: Reply) -> None:
    with playing({"ImportKeyMaterial": [passing]}) as played:
        caller = Caller(played)
        with pytest.raises(
            ServiceUnreachable, match=r"There was no answer to ImportKeyMaterial .*Run the same command"
        ):
            caller.api().call("ImportKeyMaterial")
    assert len(played.requests) == 3
    assert caller.paused == [0.5, 1.0]


def test_pauses_grow_and_end() -> None:
    assert list(PAUSES_SECONDS) == sorted(PAUSES_SECONDS)
    assert 15 < sum(PAUSES_SECONDS) < 60


@pytest.mark.parametrize(
    "code", ["InternalError", "InvalidParameter", "UnsupportedOperation", "AuthFailure.SignatureFailure"]
)
def test_nothing_else_is_tried_again(code: str) -> None:
    with playing({"ImportKeyMaterial": [refusal(code), answer()]}) as played:
        caller = Caller(played)
        answered = caller.api().ask("ImportKeyMaterial")
    assert isinstance(answered, Refusal)
    assert (answered.code, len(played.requests), caller.paused) == (code, 1, [])
