"""Whole requests, bytes to bytes, and the order of checks."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsmkms.core import errors
from hsmkms.core.credentials import Caller, Role
from hsmkms.core.ids import RequestId
from hsmkms.core.keys import KeyAction, KeyState
from hsmkms.core.material import Edition
from hsmkms.core.secrets import Plaintext
from hsmkms.dialects.base import NO_KEYS, Reply, RequestHead
from hsmkms.dialects.tencent.dialect import TencentDialect
from hsmkms.service import commands
from tests.dialects.scripted_service import ACCESS_ID, ACCOUNT, KEY_ID, ScriptedService, StoppedClock, shown
from tests.dialects.tencent.signing import Signer

REQUEST_ID = RequestId("5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11")
RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "tencent" / "tc3.json").read_text(encoding="utf-8")
)


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def dialect(service: ScriptedService) -> TencentDialect:
    return TencentDialect(service, StoppedClock(), Edition.FIPS)


def response(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200
    assert reply.headers == (("Content-Type", "application/json"),)
    whole = json.loads(reply.body)
    assert set(whole) == {"Response"}
    assert whole["Response"].pop("RequestId") == REQUEST_ID
    answer: dict[str, Any] = whole["Response"]
    return answer


async def code_of(dialect: TencentDialect, head: RequestHead, body: bytes) -> str:
    answer = response(await dialect.answer(head, body, REQUEST_ID))
    assert set(answer) == {"Error"}
    assert set(answer["Error"]) == {"Code", "Message"}
    return str(answer["Error"]["Code"])


@pytest.mark.parametrize(
    ("recorded", "command"),
    list(
        zip(
            RECORDED[1:4],
            [commands.GetImportParameters, commands.ImportMaterial, commands.DeleteMaterial],
            strict=True,
        )
    ),
)
async def test_recorded_requests_reach_the_service(
    recorded: dict[str, Any], command: type, service: ScriptedService, dialect: TencentDialect
) -> None:
    request = recorded["request"]
    service.outcome = errors.KeyNotFound()
    head = RequestHead(request["method"], request["target"], tuple(map(tuple, request["headers"])))
    assert dialect.claims(head)
    assert await code_of(dialect, head, request["body"].encode()) == "ResourceUnavailable.CmkNotFound"
    [(caller, asked)] = service.asked
    assert caller == Caller(ACCOUNT, ACCESS_ID, frozenset({Role.IMPORTER}), REQUEST_ID)
    assert type(asked) is command
    assert getattr(asked, "key_id", None) == KEY_ID


async def test_the_exact_bytes_of_an_answer(service: ScriptedService, dialect: TencentDialect) -> None:
    service.outcome = commands.KeysShown(1, [shown()])
    reply = await dialect.answer(*Signer().sign("ListKeys", {}), REQUEST_ID)
    assert reply.body == (
        b'{"Response": {"Keys": [{"KeyId": "0d0466b0-e727-4d9c-b35d-f84bb474a37f"}], "TotalCount": 1, '
        b'"RequestId": "5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11"}}'
    )
    assert reply.facts == {"code": "OK", "action": "ListKeys", "account": "acme", "access_id": "AKIDEXAMPLE"}


async def test_the_exact_bytes_of_a_refusal(service: ScriptedService, dialect: TencentDialect) -> None:
    service.outcome = errors.KeyNotFound()
    reply = await dialect.answer(*Signer().sign("DescribeKey", {"KeyId": KEY_ID}), REQUEST_ID)
    assert reply.body == (
        b'{"Response": {"Error": {"Code": "ResourceUnavailable.CmkNotFound", "Message": "There is no such key in '
        b'this account."}, "RequestId": "5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11"}}'
    )
    assert reply.facts == {
        "code": "ResourceUnavailable.CmkNotFound",
        "fault": "KeyNotFound",
        "action": "DescribeKey",
        "account": "acme",
        "access_id": "AKIDEXAMPLE",
    }


async def test_what_needs_no_service_asks_for_none(service: ScriptedService, dialect: TencentDialect) -> None:
    assert response(await dialect.answer(*Signer().sign("GetRegions", {}), REQUEST_ID)) == {"Regions": ["on-prem"]}
    assert not service.asked


async def test_a_kind_of_key_that_nobody_has_is_asked_for_all_the_same(
    service: ScriptedService, dialect: TencentDialect
) -> None:
    service.outcome = commands.KeysShown(0, ())
    listed = await dialect.answer(*Signer().sign("ListKeys", {"Role": 1}), REQUEST_ID)
    assert response(listed) == {"Keys": [], "TotalCount": 0}
    assert [command for _, command in service.asked] == [NO_KEYS], "or who may not list would hear something"


async def test_a_plaintext_is_in_the_body_of_the_reply_and_nowhere_else(
    service: ScriptedService, dialect: TencentDialect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service.outcome = commands.Decrypted(KEY_ID, Plaintext(b"needle"))
    reply = await dialect.answer(*Signer().sign("Decrypt", {"CiphertextBlob": "MII="}), REQUEST_ID)
    assert response(reply) == {"KeyId": KEY_ID, "Plaintext": "bmVlZGxl"}
    assert "bmVlZGxl" not in f"{reply!r} {reply.facts} {caplog.records} {caplog.text}"
    service.outcome = errors.KeyStateForbids(KeyState.DISABLED, KeyAction.ENCRYPT, [KeyState.ENABLED])
    request = Signer().sign("Encrypt", {"KeyId": KEY_ID, "Plaintext": "bmVlZGxl"})
    refused = await dialect.answer(*request, REQUEST_ID)
    assert response(refused)["Error"]["Code"] == "ResourceUnavailable.CmkDisabled"
    assert "bmVlZGxl" not in f"{refused.body!r} {refused!r} {refused.facts} {caplog.records} {caplog.text}"


# Each request has the fault of its line and those of all lines below it: the first is the one answered.
FAULTS: list[tuple[str, dict[str, Any], dict[str, str | None]]] = [
    ("UnsupportedProtocol", {"method": "GET"}, {}),
    ("AuthFailure.InvalidAuthorization", {"signed": ("host",)}, {}),
    ("AuthFailure.SignatureExpire", {"at": 1}, {}),
    ("AuthFailure.SignatureFailure", {"secret": "another"}, {}),
    ("NoSuchVersion", {}, {"X-TC-Version": "2018-01-01"}),
    ("InvalidAction", {}, {"X-TC-Action": "Missing"}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)), ids=[each[0] for each in FAULTS])
async def test_the_order_of_checks(first: int, service: ScriptedService, dialect: TencentDialect) -> None:
    wrong: dict[str, Any] = {}
    headers: dict[str, str | None] = {}
    for _code, signer_fault, header_fault in FAULTS[first:]:
        wrong |= signer_fault
        headers |= header_fault
    head, body = Signer(**wrong).sign("DescribeKey", b"not JSON", headers)
    assert await code_of(dialect, head, body) == FAULTS[first][0]
    assert not service.asked


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not JSON", "InvalidParameter"),
        (b'{"KeyId":"x","KeyId":"x"}', "InvalidParameter"),
        (b"{}", "MissingParameter"),
        (b'{"KeyId":"x","More":1}', "UnknownParameter"),
        (b'{"KeyId":1}', "InvalidParameter"),
        (b'{"KeyId":"x"}', "InvalidParameterValue.InvalidKeyId"),
    ],
)
async def test_a_wrong_body_never_reaches_the_service(
    body: bytes, code: str, service: ScriptedService, dialect: TencentDialect
) -> None:
    assert await code_of(dialect, *Signer().sign("DescribeKey", body)) == code
    assert not service.asked


@pytest.mark.parametrize("name", ["X-TC-Action", "X-TC-Version", "X-TC-Timestamp"])
async def test_a_common_parameter_that_is_absent_is_named(name: str, dialect: TencentDialect) -> None:
    answer = response(await dialect.answer(*Signer().sign("GetRegions", {}, {name: None}), REQUEST_ID))
    assert answer["Error"]["Code"] == "MissingParameter"
    assert name in answer["Error"]["Message"]


async def test_an_action_sent_twice_is_refused(dialect: TencentDialect) -> None:
    head, body = Signer().sign("DescribeKey", {"KeyId": KEY_ID})
    doubled = RequestHead(head.method, head.target, (*head.headers, ("x-tc-action", "EnableKey")))
    assert await code_of(dialect, doubled, body) == "InvalidParameter"


async def test_the_service_is_told_where_a_claim_came_from(service: ScriptedService, dialect: TencentDialect) -> None:
    service.outcome = errors.KeyNotFound()
    head, body = Signer().sign("ListKeys", {})
    await dialect.answer(replace(head, source="192.0.2.1"), body, REQUEST_ID)
    assert service.sources == ["192.0.2.1"]


async def test_an_unknown_secret_id_is_told_apart_from_a_wrong_signature(dialect: TencentDialect) -> None:
    request = Signer(access_id="AKIDUNKNOWN").sign("GetRegions", {})
    assert await code_of(dialect, *request) == "AuthFailure.SecretIdNotFound"


async def test_a_token_that_cannot_open_the_secret_is_no_fault_of_the_caller(
    service: ScriptedService, dialect: TencentDialect
) -> None:
    service.secret_fault = errors.TokenGaveNoAnswer()
    request = Signer().sign("GetRegions", {})
    assert await code_of(dialect, *request) == "UnsupportedOperation.ServiceTemporaryUnavailable"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "post"])
async def test_only_post_is_spoken(method: str, dialect: TencentDialect) -> None:
    assert await code_of(dialect, *Signer(method=method).sign("GetRegions", {})) == "UnsupportedProtocol"


async def test_signature_v1_is_refused(dialect: TencentDialect) -> None:
    body = b"Action=DescribeKey&SecretId=AKIDEXAMPLE&Signature=po%2FH&SignatureMethod=HmacSHA256&Version=2019-01-18"
    head = RequestHead("POST", "/", (("Content-Type", "application/x-www-form-urlencoded"), ("Host", "h")))
    assert dialect.claims(head)
    assert await code_of(dialect, head, body) == "AuthFailure.InvalidAuthorization"


@pytest.mark.parametrize(
    ("head", "claimed"),
    [
        (RequestHead("POST", "/", (("authorization", "TC3-HMAC-SHA256 x"),)), True),
        (RequestHead("GET", "/x", (("x-tc-action", "DescribeKey"),)), True),
        (RequestHead("GET", "/?Version=1&Action=DescribeKey", ()), True),
        (RequestHead("POST", "/", ()), True),
        (RequestHead("GET", "/", ()), False),
        (RequestHead("GET", "/?NoAction=x", ()), False),
        (RequestHead("POST", "/v1.0/acme/kms/create-key", ()), False),
        (RequestHead("POST", "/", (("Authorization", "AWS4-HMAC-SHA256 x"),)), False),
        (RequestHead("POST", "/", (("Authorization", "SDK-HMAC-SHA256 x"),)), False),
        (RequestHead("POST", "/", (("X-Auth-Token", "x"),)), False),
        (RequestHead("POST", "/", (("authorization", "tc3-hmac-sha256 x"),)), True),
        (RequestHead("POST", "/", (("Authorization", "Bearer x"),)), True),
    ],
)
def test_what_is_this_dialects(head: RequestHead, claimed: bool, dialect: TencentDialect) -> None:
    assert dialect.claims(head) is claimed


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ({"access_id": "AKIDUNKNOWN"}, "CredentialUnknown"),
        ({"access_id": "AKIDUNKNOWN", "signed": ("host",)}, "AuthorizationMalformed"),
        ({"access_id": "AKIDUNKNOWN", "at": 1}, "SignatureExpired"),
        ({"access_id": "AKIDEXAMPLE", "secret": "another"}, "SignatureMismatch"),
    ],
)
async def test_who_was_not_believed_is_named_in_the_facts(
    how: dict[str, Any], fault: str, dialect: TencentDialect
) -> None:
    head, body = Signer(**how).sign("GetRegions", {})
    facts = (await dialect.answer(head, body, REQUEST_ID)).facts
    assert (facts["fault"], facts["claimed_access_id"]) == (fault, how["access_id"])
    assert set(facts) == {"code", "fault", "claimed_access_id", "action"}


async def test_a_fault_that_is_not_of_authentication_names_no_claim(dialect: TencentDialect) -> None:
    head, body = Signer(method="GET").sign("GetRegions", {})
    facts = {"code": "UnsupportedProtocol", "fault": "ProtocolUnsupported", "action": "GetRegions"}
    assert (await dialect.answer(head, body, REQUEST_ID)).facts == facts
