"""Requests that are refused for what they are: signature, action, fields, body."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e.running import Client
from tests.e2e.ways import Attempt, Failure, World, add, reaches

if TYPE_CHECKING:
    from collections.abc import Callable

ANY_KEY: Final = "0d0466b0-e727-4d9c-b35d-f84bb474a37f"
INVALID: Final = "InvalidParameter"

# --- who are you ----------------------------------------------------------------------------------------


def _with_keys(world: World, **changed: str) -> Client:
    return Client(world.service.endpoint, {**world.client.keys, **changed}, world.client.algorithm)


@reaches("AuthFailure.SecretIdNotFound")
def an_unknown_secret_id(world: World) -> Attempt:
    client = _with_keys(world, secret_id="AKID" + "x" * 32)
    return Attempt(lambda: world.sdk("GetRegions", client), says="hsmkms credential create")


@reaches("AuthFailure.SignatureFailure")
def a_wrong_secret_key(world: World) -> Attempt:
    client = _with_keys(world, secret_key="wrong")
    return Attempt(lambda: world.sdk("GetRegions", client), says="secret key")


@reaches("AuthFailure.SignatureFailure")
def another_credentials_secret_key(world: World) -> Attempt:
    client = _with_keys(world, secret_key=world.stranger.keys["secret_key"])
    return Attempt(lambda: world.sdk("GetRegions", client))


@reaches("AuthFailure.SignatureFailure")
def an_unsigned_payload(world: World) -> Attempt:
    client = _with_keys(world)
    client.sdk.profile.unsignedPayload = True
    return Attempt(lambda: world.sdk("GetRegions", client), says="unsigned")


@reaches("AuthFailure.SignatureFailure")
def a_body_changed_after_signing(world: World) -> Attempt:
    key_id = world.enabled_key()
    body = json.dumps({"KeyId": key_id}).encode()
    return Attempt(lambda: world.raw("DisableKey", body, payload=body + b" "), key_id)


@reaches("AuthFailure.SignatureFailure")
def a_host_header_changed_after_signing(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, sent={"Host": "127.0.0.1:1"}), says="Host")


@reaches("AuthFailure.SignatureFailure")
def the_date_of_another_day(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, date="2019-01-18"), says="UTC date")


@reaches("AuthFailure.SignatureExpire")
def a_timestamp_of_the_past(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, at=int(time.time()) - 310), says="clock")


@reaches("AuthFailure.SignatureExpire")
def a_timestamp_of_the_future(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, at=int(time.time()) + 310), says="clock")


@reaches("AuthFailure.InvalidAuthorization")
def no_authorization(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"Authorization": ""}), says="TC3-HMAC-SHA256")


@reaches("AuthFailure.InvalidAuthorization")
def an_authorization_of_another_form(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"Authorization": "TC3-HMAC-SHA256 Credential=x"}))


@reaches("AuthFailure.InvalidAuthorization")
def a_host_that_is_not_signed(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, signed=("content-type",)), says="host")


@reaches("AuthFailure.InvalidAuthorization")
def temporary_credentials(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"X-TC-Token": "t"}), says="X-TC-Token")


def _of_signature_v1(method: str) -> Callable[[World], Attempt]:
    def prepare(world: World) -> Attempt:
        client = _with_keys(world)
        client.sdk.profile.signMethod = method
        return Attempt(lambda: world.sdk("GetRegions", client), says="v1 is not offered")

    return prepare


for _method in ("HmacSHA1", "HmacSHA256"):
    add("AuthFailure.InvalidAuthorization", f"signature_v1_{_method}", _of_signature_v1(_method))


# --- which action ---------------------------------------------------------------------------------------


@reaches("UnsupportedProtocol")
def get_through_the_sdk(world: World) -> Attempt:
    key_id = world.enabled_key()
    client = world.service.client(world.client.keys, reqMethod="GET")
    return Attempt(lambda: world.sdk("DisableKey", client, KeyId=key_id), key_id, says="POST")


@reaches("UnsupportedProtocol")
def put(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, method="PUT"))


@reaches("InvalidAction")
def an_action_that_does_not_exist(world: World) -> Attempt:
    return Attempt(lambda: world.json("ImportEverything", {}))


@reaches("InvalidAction")
def an_action_in_lower_case(world: World) -> Attempt:
    return Attempt(lambda: world.raw("getRegions", {}))


@reaches("NoSuchVersion")
def another_version(world: World) -> Attempt:
    sdk = world.client.sdk
    common = CommonClient("kms", "2020-01-01", sdk.credential, sdk.region, sdk.profile)

    def send() -> Failure:
        try:
            answer = common.call_json("GetRegions", {})
        except TencentCloudSDKException as error:
            return Failure(error.get_code(), error.get_message())
        raise AssertionError(answer)

    return Attempt(send, says="2019-01-18")


# --- which fields ---------------------------------------------------------------------------------------


def _sends(action: str, members: dict[str, Any], says: str) -> Callable[[World], Attempt]:
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
for _action, _members in _REQUIRED.items():
    for _field in _members:
        _rest = {name: value for name, value in _members.items() if name != _field}
        add("MissingParameter", f"{_action}_without_{_field}", _sends(_action, _rest, _field))
        add("MissingParameter", f"{_action}_with_null_{_field}", _sends(_action, {**_rest, _field: None}, _field))
for _action in (*_REQUIRED, "ListKeys", "ListKeyDetail", "GetServiceStatus", "GetRegions", "ListAlgorithms"):
    _members = {**_REQUIRED.get(_action, {}), "Surprise": 1}
    add("UnknownParameter", f"{_action}_with_another_field", _sends(_action, _members, "Surprise"))


@reaches("MissingParameter")
def no_timestamp(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"X-TC-Timestamp": None}), says="X-TC-Timestamp")


@reaches("MissingParameter")
def no_action(world: World) -> Attempt:
    return Attempt(lambda: world.raw("GetRegions", {}, {"X-TC-Action": None}), says="X-TC-Action")


@reaches("MissingParameter")
def no_version(world: World) -> Attempt:
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
    ("CreateKey", "Tags", [{"TagKey": "a", "TagValue": "b"}]),
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
    ("ListKeyDetail", "TagFilters", [{"TagKey": "a"}]),
    ("ListKeyDetail", "HsmClusterId", "cls-1"),
    ("ListKeyDetail", "MemberAccounts", [{"MemberUin": 1}]),
)
for _number, (_action, _field, _value) in enumerate(_INVALID_FIELDS):
    _members = {**_REQUIRED.get(_action, {}), _field: _value}
    add(INVALID, f"{_action}_{_field}_{_number}", _sends(_action, _members, _field))

_BAD_ALIASES: Final = ("", "kms-mine", "-a", "_a", "a" * 61, "a b", "\u94a5\u5319", "a\n")
for _number, _alias in enumerate(_BAD_ALIASES):
    add(
        "InvalidParameterValue.InvalidAlias",
        f"alias_{_number}",
        _sends("CreateKey", {"Alias": _alias, "Type": 2}, "alias"),
    )
add("InvalidParameterValue.InvalidType", "type_3", _sends("CreateKey", {"Alias": "a", "Type": 3}, "EXTERNAL"))
add(
    "InvalidParameterValue.InvalidKeyUsage",
    "usage_of_no_kind",
    _sends("CreateKey", {"Alias": "a", "KeyUsage": "ANY"}, "ENCRYPT_DECRYPT"),
)
add(
    "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion",
    "usage_of_another_kind",
    _sends("CreateKey", {"Alias": "a", "KeyUsage": "ASYMMETRIC_DECRYPT_RSA_2048"}, "ENCRYPT_DECRYPT"),
)
add(
    "InvalidParameterValue.DuplicatedKeyId",
    "a_key_id_twice",
    _sends("DescribeKeys", {"KeyIds": [ANY_KEY, ANY_KEY]}, "twice"),
)


@reaches("InvalidParameterValue.AliasAlreadyExists")
def an_alias_that_is_taken(world: World) -> Attempt:
    key_id = world.client.external_key()
    alias = world.client.call("DescribeKey", KeyId=key_id).KeyMetadata.Alias
    return Attempt(lambda: world.sdk("CreateKey", Alias=alias, Type=2), key_id, says="another")


# --- which body -----------------------------------------------------------------------------------------

_BODIES: Final = {
    "duplicate_members": b'{"Alias": "a", "Alias": "b", "Type": 2}',
    "duplicate_members_inside": b'{"Alias": "a", "Tags": [{"a": 1, "a": 2}]}',
    "nan": b'{"Alias": "a", "Type": NaN}',
    "infinity": b'{"Alias": "a", "Type": -Infinity}',
    "a_number_out_of_range": b'{"Alias": "a", "Type": 1e999}',
    "an_endless_integer": b'{"Alias": "a", "Type": ' + b"9" * 5000 + b"}",
    "nesting_of_17_levels": b'{"Tags": ' + b"[" * 16 + b"]" * 16 + b"}",
    "nesting_without_end": b"[" * 60_000,
    "an_array": b'["Alias"]',
    "a_string": b'"Alias"',
    "null": b"null",
    "nothing": b"",
    "two_values": b'{"Alias": "a"} {}',
    "not_json": b"Alias=a",
    "not_utf8": b'{"Alias": "\xff"}',
    "utf16": '{"Alias": "a"}'.encode("utf-16"),
    "half_a_surrogate_pair": b'{"Alias": "a", "Description": "\\ud800"}',
    "more_than_64_kib": b'{"Alias": "a", "Description": "' + b"x" * 65_536 + b'"}',
}


def _sends_body(body: bytes) -> Callable[[World], Attempt]:
    return lambda world: Attempt(lambda: world.raw("CreateKey", body))


for _name, _body in _BODIES.items():
    add(INVALID, f"body_{_name}", _sends_body(_body))
