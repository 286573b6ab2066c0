"""Requests to Tencent's API that are refused for what they are: signature, action, fields, body."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from tencentcloud.common.common_client import CommonClient

from tests.e2e.malformed_bodies import MALFORMED, OVERSIZED
from tests.e2e.tencent_client import TencentClient
from tests.e2e.ways import TENCENT, Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.worlds import TencentWorld

ANY_KEY: Final = "0d0466b0-e727-4d9c-b35d-f84bb474a37f"
INVALID: Final = "InvalidParameter"

# --- who are you ----------------------------------------------------------------------------------------


def _with_keys(world: TencentWorld, **changed: str) -> TencentClient:
    return TencentClient(world.service.endpoint, {**world.client.keys, **changed}, world.client.algorithm)


@TENCENT.reaches("AuthFailure.SecretIdNotFound")
def an_unknown_secret_id(world: TencentWorld) -> Attempt:
    client = _with_keys(world, secret_id="AKID" + "x" * 32)
    return Attempt(lambda: world.sdk("GetRegions", client), says="hsmkms credential create")


@TENCENT.reaches("AuthFailure.SignatureFailure")
def a_wrong_secret_key(world: TencentWorld) -> Attempt:
    client = _with_keys(world, secret_key="wrong")
    return Attempt(lambda: world.sdk("GetRegions", client), says="secret key")


@TENCENT.reaches("AuthFailure.SignatureFailure")
def another_credentials_secret_key(world: TencentWorld) -> Attempt:
    client = _with_keys(world, secret_key=world.stranger.keys["secret_key"])
    return Attempt(lambda: world.sdk("GetRegions", client))


@TENCENT.reaches("AuthFailure.SignatureFailure")
def an_unsigned_payload(world: TencentWorld) -> Attempt:
    client = _with_keys(world)
    client.sdk.profile.unsignedPayload = True
    return Attempt(lambda: world.sdk("GetRegions", client), says="unsigned")


@TENCENT.reaches("AuthFailure.SignatureFailure")
def a_body_changed_after_signing(world: TencentWorld) -> Attempt:
    key_id = world.enabled_key()
    body = json.dumps({"KeyId": key_id}).encode()
    return Attempt(lambda: world.raw("DisableKey", body, payload=body + b" "), key_id)


@TENCENT.reaches("AuthFailure.SignatureFailure")
def a_host_header_changed_after_signing(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, sent={"Host": "127.0.0.1:1"}), says="Host")


@TENCENT.reaches("AuthFailure.SignatureFailure")
def the_date_of_another_day(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, date="2019-01-18"), says="UTC date")


@TENCENT.reaches("AuthFailure.SignatureExpire")
def a_timestamp_of_the_past(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, at=int(time.time()) - 310), says="clock")


@TENCENT.reaches("AuthFailure.SignatureExpire")
def a_timestamp_of_the_future(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, at=int(time.time()) + 310), says="clock")


@TENCENT.reaches("AuthFailure.InvalidAuthorization")
def no_authorization(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"Authorization": ""}), says="TC3-HMAC-SHA256")


@TENCENT.reaches("AuthFailure.InvalidAuthorization")
def an_authorization_of_another_form(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"Authorization": "TC3-HMAC-SHA256 Credential=x"}))


@TENCENT.reaches("AuthFailure.InvalidAuthorization")
def a_host_that_is_not_signed(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, signed=("content-type",)), says="host")


@TENCENT.reaches("AuthFailure.InvalidAuthorization")
def temporary_credentials(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"X-TC-Token": "t"}), says="X-TC-Token")


def _of_signature_v1(method: str) -> Callable[[TencentWorld], Attempt]:
    def prepare(world: TencentWorld) -> Attempt:
        client = _with_keys(world)
        client.sdk.profile.signMethod = method
        return Attempt(lambda: world.sdk("GetRegions", client), says="v1 is not offered")

    return prepare


for _method in ("HmacSHA1", "HmacSHA256"):
    TENCENT.add("AuthFailure.InvalidAuthorization", f"signature_v1_{_method}", _of_signature_v1(_method))


# --- which action ---------------------------------------------------------------------------------------


@TENCENT.reaches("UnsupportedProtocol")
def get_through_the_sdk(world: TencentWorld) -> Attempt:
    key_id = world.enabled_key()
    client = world.service.client(world.client.keys, reqMethod="GET")
    return Attempt(lambda: world.sdk("DisableKey", client, KeyId=key_id), key_id, says="POST")


@TENCENT.reaches("UnsupportedProtocol")
def put(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, method="PUT"))


@TENCENT.reaches("InvalidAction")
def an_action_that_does_not_exist(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.json("ImportEverything", {}))


@TENCENT.reaches("InvalidAction")
def an_action_in_lower_case(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("getRegions", {}))


@TENCENT.reaches("NoSuchVersion")
def another_version(world: TencentWorld) -> Attempt:
    sdk = world.client.sdk
    common = CommonClient("kms", "2020-01-01", sdk.credential, sdk.region, sdk.profile)
    return Attempt(lambda: world.client.failure(common.call_json, "GetRegions", {}), says="2019-01-18")


# --- which fields ---------------------------------------------------------------------------------------


def sends(action: str, members: dict[str, Any], says: str) -> Callable[[TencentWorld], Attempt]:
    """Return how a request of these members is prepared."""
    return lambda world: Attempt(lambda: world.json(action, members), says=says)


_REQUIRED: Final[dict[str, dict[str, Any]]] = {
    "CreateKey": {"Alias": "a"},
    "DescribeKey": {"KeyId": ANY_KEY},
    "DescribeKeys": {"KeyIds": [ANY_KEY]},
    "GetParametersForImport": {
        "KeyId": ANY_KEY,
        "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
        "WrappingKeySpec": "RSA_2048",
    },
    "ImportKeyMaterial": {"KeyId": ANY_KEY, "ImportToken": "dHR0", "EncryptedKeyMaterial": "QUJD"},
    "DeleteImportedKeyMaterial": {"KeyId": ANY_KEY},
    "EnableKey": {"KeyId": ANY_KEY},
    "DisableKey": {"KeyId": ANY_KEY},
}


def add_required(required: dict[str, dict[str, Any]]) -> None:
    """Register ways of leaving out what actions require, and of adding what they do not have."""
    for action, members in required.items():
        for field in members:
            rest = {name: value for name, value in members.items() if name != field}
            TENCENT.add("MissingParameter", f"{action}_without_{field}", sends(action, rest, field))
            TENCENT.add("MissingParameter", f"{action}_with_null_{field}", sends(action, {**rest, field: None}, field))
        more = {**members, "Surprise": 1}
        TENCENT.add("UnknownParameter", f"{action}_with_another_field", sends(action, more, "Surprise"))


add_required(_REQUIRED)
add_required({name: {} for name in ("ListKeys", "ListKeyDetail", "GetServiceStatus", "GetRegions", "ListAlgorithms")})


@TENCENT.reaches("MissingParameter")
def no_timestamp(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"X-TC-Timestamp": None}), says="X-TC-Timestamp")


@TENCENT.reaches("MissingParameter")
def no_action(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"X-TC-Action": None}), says="X-TC-Action")


@TENCENT.reaches("MissingParameter")
def no_version(world: TencentWorld) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"X-TC-Version": None}), says="X-TC-Version")


_INVALID_FIELDS: Final[tuple[tuple[str, str, object], ...]] = (
    ("CreateKey", "Alias", 5),
    ("CreateKey", "Description", "x" * 1025),
    ("CreateKey", "Description", "\0"),
    ("CreateKey", "Type", "two"),
    ("CreateKey", "Type", 2.0),
    ("CreateKey", "Type", True),
    ("CreateKey", "Type", -1),
    ("CreateKey", "HsmClusterId", "cls-1"),
    ("CreateKey", "Tags", [{"TagKey": "a", "TagValue": ""}]),
    ("CreateKey", "Tags", [{"TagKey": "project", "TagValue": "b"}]),
    ("CreateKey", "Tags", [{"TagKey": "a ", "TagValue": "b"}]),
    ("CreateKey", "Tags", [{"TagKey": "a" * 128, "TagValue": "b"}]),
    ("CreateKey", "Tags", [{"TagKey": str(number), "TagValue": "b"} for number in range(51)]),
    ("DescribeKey", "KeyId", 5),
    ("DescribeKey", "KeyId", [ANY_KEY]),
    ("DescribeKey", "MemberAccount", {"MemberUin": 1}),
    ("DescribeKeys", "KeyIds", ANY_KEY),
    ("DescribeKeys", "KeyIds", []),
    ("DescribeKeys", "KeyIds", [str(uuid.UUID(int=number)) for number in range(101)]),
    ("EnableKey", "MemberAccount", {"MemberUin": 1}),
    ("DisableKey", "MemberAccount", {"MemberUin": 1}),
    ("ListKeys", "Limit", 0),
    ("ListKeys", "Limit", 201),
    ("ListKeys", "Limit", "9" * 30),
    ("ListKeys", "Offset", -1),
    ("ListKeys", "Offset", 2**31),
    ("ListKeys", "Role", 2),
    ("ListKeys", "HsmClusterId", "cls-1"),
    ("ListKeyDetail", "Limit", 201),
    ("ListKeyDetail", "OrderType", 2),
    ("ListKeyDetail", "KeyState", 6),
    ("ListKeyDetail", "Origin", "external"),
    ("ListKeyDetail", "KeyUsage", "ANY"),
    ("ListKeyDetail", "TagFilters", [{"TagKey": ""}]),
    ("ListKeyDetail", "TagFilters", [{"TagKey": "a", "TagValue": "b"}]),
    ("ListKeyDetail", "HsmClusterId", "cls-1"),
    ("ListKeyDetail", "MemberAccounts", [{"MemberUin": 1}]),
)
for _number, (_action, _field, _value) in enumerate(_INVALID_FIELDS):
    _members = {**_REQUIRED.get(_action, {}), _field: _value}
    TENCENT.add(INVALID, f"{_action}_{_field}_{_number}", sends(_action, _members, _field))

_BAD_ALIASES: Final = ("", "kms-mine", "-a", "_a", "a" * 61, "a b", "\u94a5\u5319", "a\n")
for _number, _alias in enumerate(_BAD_ALIASES):
    TENCENT.add(
        "InvalidParameterValue.InvalidAlias",
        f"alias_{_number}",
        sends("CreateKey", {"Alias": _alias, "Type": 2}, "alias"),
    )
TENCENT.add("InvalidParameterValue.InvalidType", "type_3", sends("CreateKey", {"Alias": "a", "Type": 3}, "EXTERNAL"))
TENCENT.add(
    "InvalidParameterValue.InvalidKeyUsage",
    "usage_of_no_kind",
    sends("CreateKey", {"Alias": "a", "KeyUsage": "ANY"}, "ENCRYPT_DECRYPT"),
)
TENCENT.add(
    "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion",
    "usage_of_another_kind",
    sends("CreateKey", {"Alias": "a", "KeyUsage": "ASYMMETRIC_DECRYPT_RSA_2048"}, "ENCRYPT_DECRYPT"),
)
TENCENT.add(
    "InvalidParameterValue.DuplicatedKeyId",
    "a_key_id_twice",
    sends("DescribeKeys", {"KeyIds": [ANY_KEY, ANY_KEY]}, "twice"),
)


@TENCENT.reaches("InvalidParameterValue.AliasAlreadyExists")
def an_alias_that_is_taken(world: TencentWorld) -> Attempt:
    key_id = world.client.external_key()
    alias = world.client.call("DescribeKey", KeyId=key_id).KeyMetadata.Alias
    return Attempt(lambda: world.sdk("CreateKey", Alias=alias, Type=2), key_id, says="another")


# --- which body -----------------------------------------------------------------------------------------


def _sends_body(body: bytes) -> Callable[[TencentWorld], Attempt]:
    return lambda world: Attempt(lambda: world.raw("CreateKey", body))


for _name, _body in {**MALFORMED, "more_than_64_kib": OVERSIZED}.items():
    TENCENT.add(INVALID, f"body_{_name}", _sends_body(_body))
