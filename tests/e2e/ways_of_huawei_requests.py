"""Requests to Huawei's API that are refused for what they are: signature, project, path, body, fields."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from huaweicloudsdkcore.signer.algorithm import SigningAlgorithm

from tests.dialects.huawei.signing import written
from tests.e2e import raw
from tests.e2e.malformed_bodies import MALFORMED, OVERSIZED
from tests.e2e.ways import HUAWEI, Attempt
from tests.e2e.worlds import told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.huawei_client import HuaweiClient
    from tests.e2e.worlds import HuaweiWorld

ANY_KEY: Final = "0d0466b0-e727-4d9c-b35d-f84bb474a37f"
NOT_AUTHENTICATED: Final = "APIGW.0301"
NO_SUCH_API: Final = "APIGW.0101"
INVALID: Final = "KMS.0308"

# --- who are you ----------------------------------------------------------------------------------------


def _asks(world: HuaweiWorld, client: HuaweiClient, says: str) -> Attempt:
    return Attempt(lambda: world.sdk("show_user_instances", client), says=says)


@HUAWEI.reaches(NOT_AUTHENTICATED)
def an_unknown_access_key(world: HuaweiWorld) -> Attempt:
    return _asks(world, world.with_other_keys(secret_id="AKID" + "x" * 32), "hsmkms credential create")


@HUAWEI.reaches(NOT_AUTHENTICATED)
def a_wrong_secret_key(world: HuaweiWorld) -> Attempt:
    return _asks(world, world.with_other_keys(secret_key="wrong"), "Incorrect IAM authentication information")


@HUAWEI.reaches(NOT_AUTHENTICATED)
def another_credentials_secret_key(world: HuaweiWorld) -> Attempt:
    return _asks(world, world.with_other_keys(secret_key=world.stranger.keys["secret_key"]), "secret key")


@HUAWEI.reaches(NOT_AUTHENTICATED)
def temporary_credentials(world: HuaweiWorld) -> Attempt:
    client = world.with_other_keys()
    client.credentials.with_security_token("t")
    return _asks(world, client, "X-Security-Token")


def _signed_by(algorithm: SigningAlgorithm) -> Callable[[HuaweiWorld], Attempt]:
    def prepare(world: HuaweiWorld) -> Attempt:
        client = world.service.huawei(world.client.keys, signing_algorithm=algorithm)
        return _asks(world, client, "SDK-HMAC-SHA256")

    return prepare


for _algorithm in SigningAlgorithm:
    if _algorithm is not SigningAlgorithm.get_default():
        HUAWEI.add(NOT_AUTHENTICATED, f"signed_by_{_algorithm.name}", _signed_by(_algorithm))


@HUAWEI.reaches(NOT_AUTHENTICATED)
def a_derived_key(world: HuaweiWorld) -> Attempt:
    client = world.with_other_keys()
    client.credentials.with_derived_predicate(lambda _request: True)._process_derived_auth_params("kms", "any")
    return _asks(world, client, "SDK-HMAC-SHA256")


def _dated(seconds: int) -> Callable[[HuaweiWorld], Attempt]:
    def prepare(world: HuaweiWorld) -> Attempt:
        client = world.with_other_keys()
        client.sdk.preset_headers["X-Sdk-Date"] = written(int(time.time()) + seconds)
        return _asks(world, client, "clock")

    return prepare


HUAWEI.add(NOT_AUTHENTICATED, "a_date_of_the_past", _dated(-910))
HUAWEI.add(NOT_AUTHENTICATED, "a_date_of_the_future", _dated(910))


@HUAWEI.reaches(NOT_AUTHENTICATED)
def a_body_changed_after_signing(world: HuaweiWorld) -> Attempt:
    key_id, spared = world.enabled_key(), world.client.external_key()
    body = json.dumps({"key_id": key_id}).encode()
    return Attempt(lambda: world.raw("disable-key", {"key_id": spared}, sent_body=body), key_id, says="signature")


@HUAWEI.reaches(NOT_AUTHENTICATED)
def an_unsigned_payload(world: HuaweiWorld) -> Attempt:
    key_id = world.enabled_key()
    declared = {"X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"}
    return Attempt(lambda: world.raw("disable-key", {"key_id": key_id}, declared), key_id, says="unsigned")


@HUAWEI.reaches(NOT_AUTHENTICATED)
def a_host_that_is_not_signed(world: HuaweiWorld) -> Attempt:
    return Attempt(lambda: world.raw("list-keys", {}, signed=("x-sdk-date",)), says="host")


@HUAWEI.reaches(NOT_AUTHENTICATED)
def a_host_header_changed_after_signing(world: HuaweiWorld) -> Attempt:
    return Attempt(lambda: world.raw("list-keys", {}, sent={"Host": "127.0.0.1:1"}))


@HUAWEI.reaches(NOT_AUTHENTICATED)
def no_authentication(world: HuaweiWorld) -> Attempt:
    return _authorized_by(None)(world)


def _authorized_by(authorization: str | None) -> Callable[[HuaweiWorld], Attempt]:
    def prepare(world: HuaweiWorld) -> Attempt:
        endpoint, account = world.service.endpoint, world.client.keys["account"]
        headers = {"Host": endpoint} | ({"Authorization": authorization} if authorization else {})
        path = f"/v1.0/{account}/kms/list-keys"
        return Attempt(lambda: told(raw.send(endpoint, "POST", path, headers, b"{}")), says="SDK-HMAC-SHA256")

    return prepare


for _scheme in ("Basic", "Bearer", "SDK-FOO", "sdk-hmac-sha256"):
    HUAWEI.add(NOT_AUTHENTICATED, f"the_scheme_{_scheme}", _authorized_by(f"{_scheme} dGVzdDp0ZXN0"))


@HUAWEI.reaches("KMS.0301")
def an_unknown_auth_token(world: HuaweiWorld) -> Attempt:
    endpoint, account = world.service.endpoint, world.client.keys["account"]
    return Attempt(
        lambda: told(raw.with_token(endpoint, account, "unknown", "list-keys", {})), says="hsmkms credential create"
    )


@HUAWEI.reaches("KMS.0301")
def a_secret_key_as_auth_token(world: HuaweiWorld) -> Attempt:
    endpoint, keys = world.service.endpoint, world.client.keys
    return Attempt(lambda: told(raw.with_token(endpoint, keys["account"], keys["secret_key"], "list-keys", {})))


@HUAWEI.reaches("APIGW.0302")
def the_project_of_another_account(world: HuaweiWorld) -> Attempt:
    account = world.stranger.keys["account"]
    return _asks(world, world.with_other_keys(account=account), world.client.keys["account"])


@HUAWEI.reaches("APIGW.0302")
def a_project_that_does_not_exist(world: HuaweiWorld) -> Attempt:
    return _asks(world, world.with_other_keys(account="0" * 8), "project_id")


# --- which operation ------------------------------------------------------------------------------------


@HUAWEI.reaches(NO_SUCH_API)
def an_operation_that_is_not_offered(world: HuaweiWorld) -> Attempt:
    key_id = world.enabled_key()
    return Attempt(lambda: world.sdk("enable_key_rotation", key_id=key_id), key_id)


@HUAWEI.reaches(NO_SUCH_API)
def an_operation_of_another_version(world: HuaweiWorld) -> Attempt:
    return Attempt(lambda: world.sdk("list_support_regions"))


@HUAWEI.reaches(NO_SUCH_API)
def an_operation_that_does_not_exist(world: HuaweiWorld) -> Attempt:
    return Attempt(lambda: world.raw("import-everything", {}))


@HUAWEI.reaches(NO_SUCH_API)
def another_method(world: HuaweiWorld) -> Attempt:
    key_id = world.enabled_key()
    return Attempt(lambda: world.raw("disable-key", {"key_id": key_id}, method="PUT"), key_id)


# --- which body -----------------------------------------------------------------------------------------


def _sends_body(body: bytes) -> Callable[[HuaweiWorld], Attempt]:
    return lambda world: Attempt(lambda: world.raw("create-key", body))


for _name, _body in MALFORMED.items():
    HUAWEI.add("KMS.0202", f"body_{_name}", _sends_body(_body))
HUAWEI.add("KMS.0203", "body_of_more_than_64_kib", _sends_body(OVERSIZED))

# --- which fields ---------------------------------------------------------------------------------------


def sends(method: str, members: dict[str, Any], says: str) -> Callable[[HuaweiWorld], Attempt]:
    """Return how a request of these members is prepared."""
    return lambda world: Attempt(lambda: world.json(method, members), says=says)


_REQUIRED: Final[dict[str, dict[str, Any]]] = {
    "create_key": {"key_alias": "a"},
    "list_key_detail": {"key_id": ANY_KEY},
    "list_keys": {},
    "create_parameters_for_import": {"key_id": ANY_KEY, "wrapping_algorithm": "RSAES_OAEP_SHA_256"},
    "import_key_material": {"key_id": ANY_KEY, "import_token": "t" * 256, "encrypted_key_material": "A" * 344},
    "delete_imported_key_material": {"key_id": ANY_KEY},
    "enable_key": {"key_id": ANY_KEY},
    "disable_key": {"key_id": ANY_KEY},
    "update_key_alias": {"key_id": ANY_KEY, "key_alias": "a"},
    "update_key_description": {"key_id": ANY_KEY, "key_description": "d"},
}


def add_required(required: dict[str, dict[str, Any]]) -> None:
    """Register ways of leaving out what operations require, and of adding what they do not have."""
    for method, members in required.items():
        for field in members:
            rest = {name: value for name, value in members.items() if name != field}
            HUAWEI.add("KMS.0204", f"{method}_without_{field}", sends(method, rest, field))
            HUAWEI.add("KMS.0204", f"{method}_with_null_{field}", sends(method, {**rest, field: None}, field))
        HUAWEI.add(INVALID, f"{method}_with_another_field", sends(method, {**members, "surprise": 1}, "surprise"))
        HUAWEI.add("KMS.0206", f"{method}_with_a_short_sequence", sends(method, {**members, "sequence": "1"}, "36"))


add_required(_REQUIRED)
HUAWEI.add("KMS.0206", "a_sequence_of_37_characters", sends("list_keys", {"sequence": f"{uuid.uuid4()}x"}, "36"))
HUAWEI.add("KMS.0206", "a_sequence_that_is_a_number", sends("list_keys", {"sequence": 5}, "sequence"))

_INVALID_FIELDS: Final[tuple[tuple[str, str, object, str], ...]] = (
    ("create_key", "key_spec", "AES_512", INVALID),
    ("create_key", "key_spec", "RSA_4096", INVALID),
    ("create_key", "key_usage", "ANY", INVALID),
    ("create_key", "key_usage", "SIGN_VERIFY", INVALID),
    ("create_key", "origin", "EXTERNAL", INVALID),
    ("create_key", "enterprise_project_id", str(uuid.uuid4()), INVALID),
    ("create_key", "keystore_id", "mine", INVALID),
    ("create_key", "realm", "mine", INVALID),
    ("create_key", "key_description", "\0", "KMS.1103"),
    ("create_key", "key_description", "x" * 256, "KMS.1103"),
    ("update_key_description", "key_description", "x" * 256, "KMS.1103"),
    ("list_keys", "key_state", "6", INVALID),
    ("list_keys", "key_spec", "DES", INVALID),
    ("list_keys", "limit", "0", "KMS.1601"),
    ("list_keys", "limit", 2**31, "KMS.1601"),
    ("list_keys", "limit", "many", "KMS.1601"),
    ("list_keys", "limit", 10.0, "KMS.1601"),
    ("list_keys", "marker", "-1", "KMS.1602"),
    ("list_keys", "marker", "1a", "KMS.1602"),
    ("list_keys", "marker", True, "KMS.1602"),
    ("list_key_detail", "key_id", 5, "KMS.0205"),
    *(
        (method, "key_alias", alias, "KMS.1101")
        for method in ("create_key", "update_key_alias")
        for alias in ("", "a" * 256, "a b", "\u94a5\u5319", "a\n", "evs/default", 5)
    ),
)
for _number, (_method, _field, _value, _code) in enumerate(_INVALID_FIELDS):
    HUAWEI.add(_code, f"{_method}_{_field}_{_number}", sends(_method, {**_REQUIRED[_method], _field: _value}, ""))


@HUAWEI.reaches(INVALID)
def a_key_spec_of_another_edition(world: HuaweiWorld) -> Attempt:
    return Attempt(lambda: world.sdk("create_key", key_alias="a", key_spec="SM4"), says="AES_256")


@HUAWEI.reaches(INVALID, impatient=True)
def a_key_spec_of_another_edition_than_sm(world: HuaweiWorld) -> Attempt:
    return Attempt(lambda: world.sdk("create_key", key_alias="a", key_spec="AES_256"), says="SM4")


def _taken(world: HuaweiWorld) -> tuple[str, str]:
    key_id = world.client.external_key()
    return key_id, world.client.describe(key_id).key_alias


@HUAWEI.reaches("KMS.1104")
def an_alias_that_is_taken(world: HuaweiWorld) -> Attempt:
    key_id, alias = _taken(world)
    return Attempt(lambda: world.sdk("create_key", key_alias=alias), key_id, says="another")


@HUAWEI.reaches("KMS.1104")
def an_alias_that_is_taken_already(world: HuaweiWorld) -> Attempt:
    key_id = world.client.external_key()
    _other, alias = _taken(world)
    return Attempt(lambda: world.sdk("update_key_alias", key_id=key_id, key_alias=alias), key_id, says="another")
