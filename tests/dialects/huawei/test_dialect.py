"""Whole requests, bytes to bytes, and the order of checks."""

from __future__ import annotations

import json
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hsmkms.core import errors
from hsmkms.core.credentials import Caller, Role
from hsmkms.core.ids import Account, AccountName, RequestId
from hsmkms.core.material import Edition
from hsmkms.core.secrets import Plaintext
from hsmkms.dialects.base import NO_KEYS, Reply, RequestHead
from hsmkms.dialects.huawei.dialect import HuaweiDialect
from hsmkms.service import commands
from tests.dialects.huawei.signing import PROJECT, Signer
from tests.dialects.scripted_service import (
    ACCESS_ID,
    ACCOUNT,
    AUTH_TOKEN,
    KEY_ID,
    TOKEN_ACCESS_ID,
    ScriptedService,
    StoppedClock,
    shown,
)

REQUEST_ID = RequestId("5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11")
RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "huawei" / "sdk-hmac-sha256.json").read_text(encoding="utf-8")
)
OURS = {"X-Project-Id": ACCOUNT.name}
BY_ID = {"key_id": KEY_ID}
TOKEN = AUTH_TOKEN.reveal().decode()


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def dialect(service: ScriptedService) -> HuaweiDialect:
    return HuaweiDialect(service, StoppedClock(), Edition.FIPS)


def signed(
    operation: str,
    body: object = None,
    *,
    headers: dict[str, str] | None = None,
    **how: Any,  # noqa: ANN401
) -> tuple[RequestHead, bytes]:
    path = how.pop("path", f"/v1.0/acme/kms/{operation}")
    return Signer(path=path, **how).sign(body, OURS | (headers or {}))


def shows_token(
    target: str = "/v1.0/acme/kms/describe-key",
    body: bytes = json.dumps(BY_ID).encode(),
    *,
    method: str = "POST",
    tokens: tuple[str, ...] = (TOKEN,),
    more: tuple[tuple[str, str], ...] = (),
) -> tuple[RequestHead, bytes]:
    headers = (("Host", "h"), *(("x-auth-token", each) for each in tokens), *more)
    return RequestHead(method, target, headers), body


def answer(reply: Reply) -> Any:  # noqa: ANN401
    later = (("Retry-After", "1"),) if reply.status == HTTPStatus.SERVICE_UNAVAILABLE else ()
    assert reply.headers == (("Content-Type", "application/json"), ("X-Request-Id", REQUEST_ID), *later)
    return json.loads(reply.body)


async def refused(dialect: HuaweiDialect, head: RequestHead, body: bytes) -> tuple[int, str, str]:
    reply = await dialect.answer(head, body, REQUEST_ID)
    whole = answer(reply)
    said = whole if "error_code" in whole else whole["error"]
    assert reply.facts["code"] == said["error_code"]
    return reply.status, said["error_code"], said["error_msg"]


async def code_of(dialect: HuaweiDialect, head: RequestHead, body: bytes) -> str:
    return (await refused(dialect, head, body))[1]


@pytest.mark.parametrize(
    ("recorded", "command"),
    [
        (RECORDED[0], commands.CreateKey),
        (RECORDED[1], commands.GetImportParameters),
        (RECORDED[5], commands.DescribeKey),
    ],
)
async def test_recorded_requests_reach_the_service(
    recorded: dict[str, Any], command: type, service: ScriptedService, dialect: HuaweiDialect
) -> None:
    request = recorded["request"]
    service.account = Account(9, AccountName(PROJECT))
    service.outcome = errors.KeyNotFound()
    head = RequestHead(request["method"], request["target"], tuple(map(tuple, request["headers"])))
    assert dialect.claims(head)
    assert await code_of(dialect, head, request["body"].encode()) == "KMS.0207"
    [(caller, asked)] = service.asked
    assert caller == Caller(service.account, ACCESS_ID, frozenset({Role.IMPORTER}), REQUEST_ID)
    assert type(asked) is command


async def test_the_service_is_told_where_a_claim_and_an_auth_token_came_from(
    service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.outcome = errors.KeyNotFound()
    for (head, body), source in ((signed("describe-key", BY_ID), "192.0.2.1"), (shows_token(), "192.0.2.2")):
        await dialect.answer(replace(head, source=source), body, REQUEST_ID)
    assert service.sources == ["192.0.2.1", "192.0.2.2"]


async def test_the_exact_bytes_of_an_answer(service: ScriptedService, dialect: HuaweiDialect) -> None:
    service.outcome = shown()
    reply = await dialect.answer(*signed("enable-key", BY_ID), REQUEST_ID)
    assert (reply.status, reply.body) == (
        200,
        b'{"key_info": {"key_id": "0d0466b0-e727-4d9c-b35d-f84bb474a37f", "key_state": "2"}}',
    )
    assert answer(reply)
    assert reply.facts == {"code": "OK", "action": "enable-key", "account": "acme", "access_id": "AKIDEXAMPLE"}


async def test_the_exact_bytes_of_a_refusal(service: ScriptedService, dialect: HuaweiDialect) -> None:
    service.outcome = errors.KeyNotFound()
    reply = await dialect.answer(*signed("describe-key", BY_ID), REQUEST_ID)
    assert (reply.status, reply.body) == (
        404,
        b'{"error": {"error_code": "KMS.0207", "error_msg": "There is no such key in this account."}}',
    )
    assert reply.facts == {
        "code": "KMS.0207",
        "fault": "KeyNotFound",
        "action": "describe-key",
        "account": "acme",
        "access_id": "AKIDEXAMPLE",
    }


async def test_the_exact_bytes_of_a_refusal_of_the_gateway(dialect: HuaweiDialect) -> None:
    reply = await dialect.answer(*signed("enable-key-rotation", {}), REQUEST_ID)
    assert reply.status == 404
    assert reply.body == (
        b'{"error_code": "APIGW.0101", "error_msg": "This action does not exist or is not offered by this service.", '
        b'"request_id": "5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11"}'
    )
    facts = {"code": "APIGW.0101", "fault": "ActionUnknown", "account": "acme", "access_id": "AKIDEXAMPLE"}
    assert reply.facts == facts


async def test_what_is_found_before_the_dialect_is_said_in_its_words(dialect: HuaweiDialect) -> None:
    head, _body = signed("create-key", {})
    reply = dialect.refuse(head, errors.BodyTooLarge(), REQUEST_ID)
    assert (reply.status, answer(reply)["error"]["error_code"]) == (400, "KMS.0203")
    assert reply.facts == {"code": "KMS.0203", "fault": "BodyTooLarge", "action": "create-key"}


async def test_what_needs_no_service_asks_for_none(service: ScriptedService, dialect: HuaweiDialect) -> None:
    request = signed("", path="/v3/projects", method="GET", query=(("name", "cn-north-7"),))
    [project] = answer(await dialect.answer(*request, REQUEST_ID))["projects"]
    assert (project["id"], project["name"]) == ("acme", "cn-north-7")
    assert not service.asked


async def test_a_kind_of_key_that_nobody_has_is_asked_for_all_the_same(
    service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.outcome = commands.KeysShown(0, ())
    listed = answer(await dialect.answer(*signed("list-keys", {"key_state": "1", "marker": "5"}), REQUEST_ID))
    assert listed == {"keys": [], "key_details": [], "next_marker": "", "truncated": "false", "total": 0}
    assert [command for _, command in service.asked] == [NO_KEYS], "or who may not list would hear something"


# --- who asks ------------------------------------------------------------------------------------------


async def test_an_auth_token_is_its_holders(service: ScriptedService, dialect: HuaweiDialect) -> None:
    service.outcome = shown()
    reply = await dialect.answer(*shows_token(), REQUEST_ID)
    assert answer(reply)["key_info"]["key_id"] == KEY_ID
    assert service.asked[0][0] == Caller(ACCOUNT, TOKEN_ACCESS_ID, frozenset({Role.USER}), REQUEST_ID)
    assert reply.facts["access_id"] == TOKEN_ACCESS_ID


@pytest.mark.parametrize("tokens", [("nobodys",), ("",), (TOKEN, TOKEN), ("t" * 8000,), ("\xe9",)])
async def test_an_auth_token_that_is_nobodys_is_refused(
    tokens: tuple[str, ...], service: ScriptedService, dialect: HuaweiDialect
) -> None:
    status, code, message = await refused(dialect, *shows_token(tokens=tokens))
    assert (status, code) == (401, "KMS.0301")
    assert not any(each and each in message for each in tokens)
    assert not service.asked


async def test_with_a_signature_the_auth_token_does_not_count(service: ScriptedService, dialect: HuaweiDialect) -> None:
    service.outcome = shown()
    await dialect.answer(*signed("describe-key", BY_ID, headers={"X-Auth-Token": "nobodys"}), REQUEST_ID)
    assert service.asked[0][0].access_id == ACCESS_ID
    forged = signed("describe-key", BY_ID, headers={"X-Auth-Token": TOKEN}, secret="another")
    assert await code_of(dialect, *forged) == "APIGW.0301"


async def test_an_authorization_of_another_scheme_leaves_it_to_the_auth_token(
    service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.outcome = shown()
    for other in ("Basic eDp5", "Bearer x"):
        request = shows_token(more=(("Authorization", other),))
        assert (await dialect.answer(*request, REQUEST_ID)).status == 200


@pytest.mark.parametrize("scheme", ["sdk-hmac-sha256", "SDK-FOO", "v11-hmac-sha256"])
async def test_a_signature_of_whatever_algorithm_decides_beside_an_auth_token(
    scheme: str, dialect: HuaweiDialect
) -> None:
    request = shows_token(more=(("Authorization", f"{scheme} Access=AKIDEXAMPLE"),))
    assert await code_of(dialect, *request) == "APIGW.0301"


async def test_who_shows_nothing_is_told_both_ways(dialect: HuaweiDialect) -> None:
    status, code, message = await refused(dialect, *shows_token(tokens=()))
    assert (status, code) == (401, "APIGW.0301")
    assert message.startswith("Incorrect IAM authentication information: ")
    assert "SDK-HMAC-SHA256" in message
    assert "X-Auth-Token" in message


async def test_an_unknown_access_key_is_refused_as_a_wrong_signature_is(dialect: HuaweiDialect) -> None:
    for request in (
        signed("describe-key", BY_ID, access_id="AKIDUNKNOWN"),
        signed("describe-key", BY_ID, secret="another"),
    ):
        assert (await refused(dialect, *request))[:2] == (401, "APIGW.0301")


@pytest.mark.parametrize("request_", [signed("describe-key", BY_ID), shows_token()])
async def test_a_token_that_cannot_open_the_secret_is_no_fault_of_the_caller(
    request_: tuple[RequestHead, bytes], service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.secret_fault = errors.TokenGaveNoAnswer()
    assert (await refused(dialect, *request_))[:2] == (503, "KMS.0102")


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
    how: dict[str, Any], fault: str, dialect: HuaweiDialect
) -> None:
    facts = (await dialect.answer(*signed("describe-key", BY_ID, **how), REQUEST_ID)).facts
    claimed = {"claimed_access_id": how["access_id"], "action": "describe-key"}
    assert facts == {"code": "APIGW.0301", "fault": fault} | claimed


async def test_of_an_auth_token_nothing_is_in_the_facts(dialect: HuaweiDialect) -> None:
    facts = {"code": "KMS.0301", "fault": "AuthTokenUnknown", "action": "describe-key"}
    assert (await dialect.answer(*shows_token(tokens=("nobodys",)), REQUEST_ID)).facts == facts


# --- the versions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "name"), [("/", "versions"), ("/v1.0", "version"), ("/v1.0/", "version")])
async def test_the_versions_are_for_everybody(target: str, name: str, dialect: HuaweiDialect) -> None:
    reply = await dialect.answer(*shows_token(target, b"", method="GET", tokens=()), REQUEST_ID)
    assert (reply.status, set(answer(reply)), reply.facts) == (200, {name}, {"code": "OK", "action": name})


@pytest.mark.parametrize("target", ["/", "/v1.0"])
async def test_credentials_shown_with_the_versions_are_verified(target: str, dialect: HuaweiDialect) -> None:
    assert (await dialect.answer(*signed("", path=target, method="GET"), REQUEST_ID)).status == 200
    assert await code_of(dialect, *signed("", path=target, method="GET", secret="another")) == "APIGW.0301"
    assert await code_of(dialect, *shows_token(target, b"", method="GET", tokens=("nobodys",))) == "KMS.0301"


# --- the account ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "projects"),
    [
        ("/v1.0/other/kms/describe-key", ()),
        ("/v1.0/ACME/kms/describe-key", ()),
        ("/v1.0/%7Bproject_id%7D/kms/describe-key", ()),
        ("/v1.0/other/kms/describe-key", ("acme",)),
        ("/v1.0/acme/kms/describe-key", ("other",)),
        ("/v1.0/acme/kms/describe-key", ("",)),
        ("/v1.0/acme/kms/describe-key", ("acme", "other")),
        ("/v1.0/other/kms/no-such-operation", ()),
        ("/v2/other/kms/regions", ()),
        ("/v3/projects", ("other",)),
    ],
)
async def test_another_project_than_the_account_is_refused(
    target: str, projects: tuple[str, ...], service: ScriptedService, dialect: HuaweiDialect
) -> None:
    request = shows_token(target, b"not JSON", more=tuple(("X-Project-Id", each) for each in projects))
    status, code, message = await refused(dialect, *request)
    assert (status, code) == (403, "APIGW.0302")
    assert "BasicCredentials(ak, sk, 'acme')" in message
    assert not service.asked


@pytest.mark.parametrize("target", ["/v1.0/acme/kms/describe-key", "/v1.0/%61cme/kms/describe-key/"])
@pytest.mark.parametrize("projects", [(), ("acme",), ("acme", "acme")])
async def test_the_account_is_the_project(
    target: str, projects: tuple[str, ...], service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.outcome = shown()
    request = shows_token(target, more=tuple(("X-Project-Id", each) for each in projects))
    assert (await dialect.answer(*request, REQUEST_ID)).status == 200


# --- the order -----------------------------------------------------------------------------------------

# Each request has the fault of its line and those of all lines below it: the first is the one answered.
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("not of the form", {"signed": ("host",)}),
    ("expired", {"at": 1}),
    ("unknown or forged", {"secret": "another"}),
    ("APIGW.0302", {"headers": {"X-Project-Id": "other"}}),
    ("APIGW.0101", {"operation": "no-such-operation"}),
    ("KMS.0202", {"body": b"not JSON"}),
]
CODES = {"not of the form": "SignedHeaders", "expired": "clock", "unknown or forged": "does not match"}


@pytest.mark.parametrize("first", range(len(FAULTS)), ids=[each[0] for each in FAULTS])
async def test_the_order_of_checks(first: int, service: ScriptedService, dialect: HuaweiDialect) -> None:
    wrong: dict[str, Any] = {"operation": "describe-key"}
    for _name, fault in FAULTS[first:]:
        wrong |= fault
    _status, code, message = await refused(dialect, *signed(wrong.pop("operation"), **wrong))
    name = FAULTS[first][0]
    assert name == code or (code == "APIGW.0301" and CODES[name] in message)
    assert not service.asked


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "KMS.0202"),
        (b"[]", "KMS.0202"),
        (b'{"key_id":"x","key_id":"x"}', "KMS.0202"),
        (b"{}", "KMS.0204"),
        (b'{"key_id":null}', "KMS.0204"),
        (b'{"key_id":"x","more":1}', "KMS.0308"),
        (b'{"key_id":1}', "KMS.0205"),
        (b'{"key_id":"x"}', "KMS.0205"),
        (b'{"key_id":"x","sequence":"x"}', "KMS.0206"),
        (json.dumps({"key_id": KEY_ID.replace("e", "z")}).encode(), "KMS.0207"),
    ],
)
async def test_a_wrong_body_never_reaches_the_service(
    body: bytes, code: str, service: ScriptedService, dialect: HuaweiDialect
) -> None:
    assert await code_of(dialect, *signed("describe-key", body)) == code
    assert not service.asked


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1.0/acme/kms/describe-key"),
        ("PUT", "/v1.0/acme/kms/describe-key"),
        ("POST", "/v1.0/acme/kms/user-quotas"),
        ("POST", "/v1.0/acme/kms/enable-key-rotation"),
        ("POST", "/v1.0/acme/kms/create-grant"),
        ("GET", "/v2/acme/kms/regions"),
        ("GET", "/v1.0/x"),
        ("POST", "/v1.0/a%2Fb/kms/describe-key"),
        ("POST", "/"),
        ("GET", "/elsewhere"),
    ],
)
async def test_no_such_api(method: str, target: str, dialect: HuaweiDialect) -> None:
    assert (await refused(dialect, *shows_token(target, method=method)))[:2] == (404, "APIGW.0101")


@pytest.mark.parametrize(
    ("operation", "code"), [("create-datakey", "KMS.1901"), ("create-datakey-without-plaintext", "KMS.2001")]
)
async def test_a_field_is_refused_by_the_code_of_the_operation(
    operation: str, code: str, service: ScriptedService, dialect: HuaweiDialect
) -> None:
    assert await code_of(dialect, *signed(operation, BY_ID | {"datakey_length": "7"})) == code
    assert not service.asked


async def test_a_wrong_length_of_a_data_key_is_found_with_its_plaintext_and_does_not_show_it(
    service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.outcome = commands.Decrypted(KEY_ID, Plaintext(b"ABC"))
    members = BY_ID | {"cipher_text": "484B4D53", "datakey_cipher_length": "4"}
    reply = await dialect.answer(*signed("decrypt-datakey", members), REQUEST_ID)
    assert (reply.status, reply.facts["code"]) == (400, "KMS.2202")
    assert b"414243" not in reply.body


@pytest.mark.parametrize("cipher_text", ["SEtN", "QUI", "not base64"])
async def test_whatever_does_not_decrypt_is_one_refusal(
    cipher_text: str, service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.outcome = errors.CiphertextInvalid()
    said = await refused(dialect, *signed("decrypt-data", {"cipher_text": cipher_text}))
    assert said == (400, "KMS.0308", errors.CiphertextInvalid.text)


@pytest.mark.parametrize(("wait", "told"), [(0.004, "1"), (1.0, "1"), (19.2, "20")])
async def test_whoever_asks_too_often_is_told_when_to_ask_again(
    wait: float, told: str, service: ScriptedService, dialect: HuaweiDialect
) -> None:
    service.outcome = errors.RequestRateExceeded("describe-key", wait)
    reply = await dialect.answer(*signed("describe-key", BY_ID), REQUEST_ID)
    assert (reply.status, json.loads(reply.body)["error_code"]) == (429, "APIGW.0308")
    assert reply.headers[-1] == ("Retry-After", told)
