"""Whose a request is: every combination of what tells the clouds apart."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.ids import RequestId
from hsmkms.core.material import Edition
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.huawei.dialect import HuaweiDialect
from hsmkms.dialects.tencent.dialect import TencentDialect
from tests.dialects.scripted_service import ScriptedService, StoppedClock

if TYPE_CHECKING:
    from hsmkms.dialects.base import Dialect

HUAWEI: Final = HuaweiDialect(ScriptedService(), StoppedClock(), Edition.FIPS)
TENCENT: Final = TencentDialect(ScriptedService(), StoppedClock(), Edition.FIPS)

TC3 = ("TC3-HMAC-SHA256 Credential=x", "tc3-hmac-sha256 Credential=x", "TC3-FOO")
SDK = (
    "SDK-HMAC-SHA256 Access=x",
    "SDK-HMAC-SM3 Access=x",
    "SDK-SM2-SM3 Access=x",
    "V11-HMAC-SHA256 Access=x",
    "sdk-hmac-sha256 Access=x",
    "v11-hmac-sha256 Access=x",
    "SDK-FOO",
)
AWS = ("AWS4-HMAC-SHA256 x", "aws4-hmac-sha256 x")
NOBODYS = ("Basic eDp5", "Bearer x", "", "SDK", "Basic SDK-HMAC-SHA256")
AUTHORIZATIONS: Final = (
    (),
    *((each,) for each in (*TC3, *SDK, *AWS, *NOBODYS)),
    (TC3[0], SDK[0]),
    (NOBODYS[0], SDK[0]),
)
HEADERS: Final = ((), ("X-TC-Action",), ("X-Auth-Token",), ("X-TC-Action", "X-Auth-Token"))
TARGETS: Final = (
    "/",
    "/?Action=DescribeKey",
    "/v1.0",
    "/v1.0/a/kms/list-keys",
    "/v2/a",
    "/v3/projects",
    "/v1.0?Action=x",
)
ALL: Final = [
    RequestHead(method, target, (*(("Authorization", each) for each in schemes), *((name, "x") for name in names)))
    for method, target, schemes, names in product(("GET", "POST"), TARGETS, AUTHORIZATIONS, HEADERS)
]


def claimants(head: RequestHead) -> list[Dialect]:
    return [dialect for dialect in (HUAWEI, TENCENT) if dialect.claims(head)]


def signed(head: RequestHead) -> bool:
    return bool(set(head.values("authorization")) & {*TC3, *SDK, *AWS})


def test_no_request_is_claimed_by_both() -> None:
    assert not [head for head in ALL if len(claimants(head)) > 1]


def test_a_request_that_one_cloud_signed_is_never_anothers() -> None:
    for head in ALL:
        schemes = set(head.values("authorization"))
        if schemes & set(TC3):
            assert claimants(head) == [TENCENT]
        elif schemes & set(SDK):
            assert claimants(head) == [HUAWEI]
        elif schemes & set(AWS):
            assert claimants(head) == []


def test_without_a_signature_the_auth_token_decides_then_the_headers() -> None:
    for head in ALL:
        if not signed(head):
            if head.values("x-auth-token"):
                assert claimants(head) == [HUAWEI]
            elif head.values("x-tc-action"):
                assert claimants(head) == [TENCENT]


PATHS: Final[list[tuple[str, str, list[Dialect]]]] = [
    ("GET", "/", [HUAWEI]),
    ("GET", "/?x=1", [HUAWEI]),
    ("POST", "/", [TENCENT]),
    ("GET", "/?Action=DescribeKey", [TENCENT]),
    ("GET", "/?NoAction=x", [HUAWEI]),
    ("PUT", "/", []),
    ("GET", "/v1.0", [HUAWEI]),
    ("GET", "/v1.0/", [HUAWEI]),
    ("DELETE", "/v1.0/a/kms/create-key", [HUAWEI]),
    ("POST", "/v1.0/a/kms/create-key?Action=x", [TENCENT]),
    ("GET", "/v2/a/kms/regions", [HUAWEI]),
    ("GET", "/v3/projects", [HUAWEI]),
    ("GET", "/v1.00", []),
    ("GET", "/v10/x", []),
    ("GET", "/v2", []),
    ("GET", "/x/v1.0/", []),
    ("GET", "//v1.0/", []),
]


@pytest.mark.parametrize("authorization", [None, *NOBODYS])
@pytest.mark.parametrize(("method", "target", "owner"), PATHS)
def test_without_credentials_of_a_cloud_the_path_decides(
    method: str, target: str, owner: list[Dialect], authorization: str | None
) -> None:
    headers = (("Host", "h"), *(() if authorization is None else (("Authorization", authorization),)))
    assert claimants(RequestHead(method, target, headers)) == owner


@pytest.mark.parametrize("authorization", ["Basic eDp5", "Bearer x", "SDK-FOO", "sdk-hmac-sha256 Access=x", ""])
@pytest.mark.parametrize("target", ["/v1.0/acme/kms/list-keys", "/v3/projects"])
async def test_a_wrong_scheme_on_a_path_of_huaweis_is_told_both_ways(authorization: str, target: str) -> None:
    head = RequestHead("POST", target, (("Host", "h"), ("Authorization", authorization)))
    assert claimants(head) == [HUAWEI]
    reply = await HUAWEI.answer(head, b"{}", RequestId("r"))
    said = json.loads(reply.body)
    assert (reply.status, said["error_code"]) == (401, "APIGW.0301")
    assert ("X-Request-Id", "r") in reply.headers
    assert "SDK-HMAC-SHA256 Access=" in said["error_msg"]
    assert "X-Auth-Token" in said["error_msg"]
