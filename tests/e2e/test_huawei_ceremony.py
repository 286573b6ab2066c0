"""Every operation of Huawei's API, by its official SDK and as plain REST."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.e2e import raw
from tests.e2e.cloud_client import wrap
from tests.e2e.running import hsmkms
from tests.e2e.worlds import told

if TYPE_CHECKING:
    from tests.e2e.cloud_client import CloudClient
    from tests.e2e.huawei_client import HuaweiClient
    from tests.e2e.running import RunningService

LATEST_EXPIRY: Final = 2147443200
MATERIAL: Final = secrets.token_bytes(32)
REGION: Final = "cn-north-7"
"""The service has no regions: a client may name any."""


# --- create and describe -----------------------------------------------------------------------------------


def test_a_key_is_imported_and_its_attributes_read_back(service: RunningService, huawei: HuaweiClient) -> None:
    key_id = huawei.external_key()
    huawei.bring(key_id, MATERIAL)
    assert huawei.answer.json() == {}
    assert huawei.state(key_id) == "2"
    shown = json.loads(hsmkms("key", "show", "--config", str(service.instance.config), key_id, "--json").stdout)
    assert (shown["state"], shown["length_bits"], shown["fingerprint_matches"]) == ("Enabled", 256, True)
    attributes = shown["attributes"]
    assert (attributes["SENSITIVE"], attributes["EXTRACTABLE"], attributes["LOCAL"]) == (True, False, False)


@pytest.mark.parametrize(("origin", "state"), [("external", "5"), ("kms", "2"), (None, "2")])
def test_a_new_key_is_described_as_documented(huawei: HuaweiClient, origin: str | None, state: str) -> None:
    alias, description = f"ns:a/{secrets.token_hex(8)}", "\u6d4b\u8bd5 \U0001f511"
    before = int(time.time() * 1000)
    key_id = huawei.created(
        key_alias=alias,
        key_description=description,
        key_spec="AES_256",
        key_usage="ENCRYPT_DECRYPT",
        origin=origin,
        enterprise_project_id="0",
        sequence=str(uuid.uuid4()),
    )
    account = huawei.keys["account"]
    made = huawei.answer.json()["key_info"]
    huawei.describe(key_id)
    details = huawei.answer.json()["key_info"]
    assert made == {"key_id": key_id, "domain_id": account, "region_id": details.pop("realm")}
    assert before <= int(details.pop("creation_date")) <= time.time() * 1000
    assert details == {
        "key_id": key_id,
        "domain_id": account,
        "key_alias": alias,
        "key_spec": "AES_256",
        "key_usage": "ENCRYPT_DECRYPT",
        "key_description": description,
        "scheduled_deletion_date": "",
        "key_state": state,
        "default_key_flag": "0",
        "key_type": "1",
        "expiration_time": "",
        "origin": origin or "kms",
        "key_rotation_enabled": "false",
        "sys_enterprise_project_id": "0",
        "keystore_id": "0",
    }


# --- the import --------------------------------------------------------------------------------------------


def test_import_parameters_are_of_the_documented_form(huawei: HuaweiClient) -> None:
    now = time.time()
    parameters = huawei.parameters(huawei.external_key())
    assert re.fullmatch(r"[0-9a-zA-Z+/=]{200,6144}", parameters.import_token)
    expires = huawei.answer.json()["expiration_time"]
    assert isinstance(expires, int)
    assert 86_390 < expires - now < 86_410
    public_key = load_der_public_key(base64.b64decode(parameters.public_key, validate=True))
    assert isinstance(public_key, RSAPublicKey)
    assert public_key.key_size == 2048


@pytest.mark.parametrize("value", [None, "", 0, "0"], ids=repr)
def test_an_expiry_of_nothing_means_never(huawei: HuaweiClient, value: Any) -> None:
    key_id = huawei.external_key()
    huawei.bring(key_id, MATERIAL, value)
    assert huawei.describe(key_id).expiration_time == ""


@pytest.mark.parametrize("value", [LATEST_EXPIRY, str(LATEST_EXPIRY)], ids=repr)
def test_an_expiry_is_sent_in_seconds_and_shown_in_milliseconds(huawei: HuaweiClient, value: Any) -> None:
    key_id = huawei.external_key()
    huawei.bring(key_id, MATERIAL, value)
    assert huawei.describe(key_id).expiration_time == f"{LATEST_EXPIRY}000"


def test_material_is_deleted_and_comes_back(huawei: HuaweiClient) -> None:
    key_id = huawei.external_key()
    huawei.bring(key_id, MATERIAL, LATEST_EXPIRY)
    huawei.delete_material(key_id)
    assert huawei.answer.json() == {}
    details = huawei.describe(key_id)
    assert (details.key_state, details.expiration_time) == ("5", "")
    huawei.bring(key_id, MATERIAL)  # of other material: ways_of_ceremony, test_both_clouds
    assert huawei.state(key_id) == "2"


# --- on and off, and labels --------------------------------------------------------------------------------


def test_a_key_is_switched_off_and_on(huawei: HuaweiClient) -> None:
    key_id = huawei.external_key()
    huawei.bring(key_id, MATERIAL)
    for switch, state in ((huawei.disable, "3"), (huawei.enable, "2")):
        switch(key_id)
        assert huawei.answer.json() == {"key_info": {"key_id": key_id, "key_state": state}}
        assert huawei.state(key_id) == state


def test_a_key_without_material_stays_switched_off(huawei: HuaweiClient) -> None:
    key_id = huawei.external_key()
    huawei.bring(key_id, MATERIAL)
    huawei.disable(key_id)
    huawei.delete_material(key_id)
    assert huawei.state(key_id) == "5"
    huawei.bring(key_id, MATERIAL)
    assert huawei.state(key_id) == "3"


def test_a_key_is_given_another_alias_and_description(huawei: HuaweiClient) -> None:
    key_id = huawei.external_key()
    alias, description = f"h-{secrets.token_hex(8)}", "\u8bf4\u660e"
    for _ in range(2):  # the second changes nothing, and is no error
        huawei.call("update_key_alias", key_id=key_id, key_alias=alias)
        assert huawei.answer.json() == {"key_info": {"key_id": key_id, "key_alias": alias}}
        huawei.call("update_key_description", key_id=key_id, key_description=description)
        assert huawei.answer.json() == {"key_info": {"key_id": key_id, "key_description": description}}
    details = huawei.describe(key_id)
    assert (details.key_alias, details.key_description) == (alias, description)
    huawei.call("update_key_description", key_id=key_id, key_description="")
    assert huawei.describe(key_id).key_description == ""


# --- lists -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lister(service: RunningService) -> HuaweiClient:
    """A client of an account whose keys only the tests of lists make."""
    return service.huawei(service.instance.another_credential(f"lister-{secrets.token_hex(3)}"))


@pytest.fixture(scope="module")
def zoo(lister: HuaweiClient) -> dict[str, str]:
    """One key of each kind, oldest first."""
    zoo = {"pending": lister.external_key(), "enabled": lister.external_key(), "disabled": lister.external_key()}
    for name in ("enabled", "disabled"):
        lister.bring(zoo[name], MATERIAL)
    lister.disable(zoo["disabled"])
    return {**zoo, "generated": lister.generated_key()}


@pytest.mark.parametrize(
    ("filters", "expected", "total", "next_marker"),
    [
        ({}, ["pending", "enabled", "disabled", "generated"], 4, ""),
        ({"limit": "1000", "marker": "0"}, ["pending", "enabled", "disabled", "generated"], 4, ""),
        ({"limit": "3"}, ["pending", "enabled", "disabled"], 4, "3"),
        ({"limit": 1, "marker": 2}, ["disabled"], 4, "3"),
        ({"limit": "1", "marker": "3"}, ["generated"], 4, ""),
        ({"marker": "4"}, [], 4, ""),
        ({"key_state": "1"}, [], 0, ""),
        ({"key_state": "2"}, ["enabled", "generated"], 2, ""),
        ({"key_state": "2", "limit": "1"}, ["enabled"], 2, "1"),
        ({"key_state": "3"}, ["disabled"], 1, ""),
        ({"key_state": "4"}, [], 0, ""),
        ({"key_state": "5"}, ["pending"], 1, ""),
        ({"key_spec": "ALL"}, ["pending", "enabled", "disabled", "generated"], 4, ""),
        ({"key_spec": "AES_256", "key_state": "5"}, ["pending"], 1, ""),
        ({"key_spec": "SM4"}, [], 0, ""),
        ({"enterprise_project_id": "all"}, ["pending", "enabled", "disabled", "generated"], 4, ""),
    ],
    ids=str,
)
def test_keys_are_listed_by_filter_and_page(
    lister: HuaweiClient,
    zoo: dict[str, str],
    filters: dict[str, Any],
    expected: list[str],
    total: int,
    next_marker: str,
) -> None:
    listed = lister.call("list_keys", **filters)
    answered = lister.answer.json()
    assert listed.keys == [zoo[name] for name in expected]
    assert [each.to_dict() for each in listed.key_details] == [lister.describe(key).to_dict() for key in listed.keys]
    assert (answered["total"], answered["next_marker"]) == (total, next_marker)
    assert answered["truncated"] == ("true" if next_marker else "false")


def test_a_list_is_paged_to_its_end(lister: HuaweiClient, zoo: dict[str, str]) -> None:
    found, marker = [], "0"
    while True:
        page = lister.call("list_keys", limit="1", marker=marker)
        found += page.keys
        if page.truncated == "false":
            break
        marker = page.next_marker
    assert found == list(zoo.values())


# --- the operations without a key --------------------------------------------------------------------------


def test_versions_are_shown_to_everybody(service: RunningService, huawei: HuaweiClient) -> None:
    (version,) = huawei.call("show_versions").versions
    assert (version.id, version.status) == ("v1.0", "CURRENT")
    assert huawei.call("show_version", version_id="v1.0").version["id"] == "v1.0"
    for path in ("/", "/v1.0"):
        answer = raw.send(service.endpoint, "GET", path, {"Host": service.endpoint})
        assert answer.status == 200
        assert answer.values("x-request-id")


def test_the_keys_of_the_account_are_counted(lister: HuaweiClient, zoo: dict[str, str]) -> None:
    assert lister.call("show_user_instances").instance_num == len(zoo)
    resources = {each.type: each for each in lister.call("show_user_quotas").quotas.resources}
    assert resources["CMK"].used == len(zoo)
    assert resources["CMK"].quota > 1_000_000


def test_a_client_that_knows_only_a_region_finds_its_project(service: RunningService, huawei: HuaweiClient) -> None:
    client = service.huawei(region=REGION)
    (project,) = client.answer.json()["projects"]  # asked for while the client was made
    assert (project["id"], project["name"]) == (huawei.keys["account"], REGION)
    key_id = client.external_key()
    client.bring(key_id, MATERIAL)
    assert client.state(key_id) == "2"


# --- plain REST --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokened(service: RunningService) -> dict[str, str]:
    """An auth token of the instance's account."""
    return service.instance.another_credential(service.instance.credential()["account"], "--auth-token")


def test_the_whole_ceremony_without_a_signature(
    service: RunningService, tokened: dict[str, str], huawei: HuaweiClient
) -> None:
    def post(operation: str, **members: Any) -> dict[str, Any]:
        answer = raw.with_token(service.endpoint, tokened["account"], tokened["auth_token"], operation, members)
        assert (answer.status, len(answer.values("x-request-id"))) == (200, 1), answer
        return answer.content

    alias = f"rest-{secrets.token_hex(8)}"
    key_id = post("create-key", key_alias=alias, origin="external")["key_info"]["key_id"]
    given = post("get-parameters-for-import", key_id=key_id, wrapping_algorithm=huawei.algorithm)
    encrypted = base64.b64encode(wrap(given["public_key"], MATERIAL, huawei.algorithm)).decode()
    brought = post(
        "import-key-material",
        key_id=key_id,
        import_token=given["import_token"],
        encrypted_key_material=encrypted,
        expiration_time=str(LATEST_EXPIRY),
    )
    assert brought == {}
    assert post("describe-key", key_id=key_id)["key_info"] == huawei.describe(key_id).to_dict()
    assert post("delete-imported-key-material", key_id=key_id) == {}
    assert huawei.state(key_id) == "5"


def test_an_auth_token_opens_its_own_account_only(
    service: RunningService, tokened: dict[str, str], stranger: CloudClient
) -> None:
    theirs = stranger.keys["account"]
    failure = told(raw.with_token(service.endpoint, theirs, tokened["auth_token"], "list-keys", {}))
    assert (failure.code, failure.status) == ("APIGW.0302", 403)


def test_the_signature_decides_where_there_is_an_auth_token_too(
    service: RunningService, tokened: dict[str, str], huawei: HuaweiClient
) -> None:
    client = service.huawei()
    client.sdk.preset_headers["X-Auth-Token"] = "unknown"
    assert client.call("show_user_instances").instance_num >= 0
    wrong = service.huawei({**huawei.keys, "secret_key": "wrong"})
    wrong.sdk.preset_headers["X-Auth-Token"] = tokened["auth_token"]
    failure = wrong.failure(wrong.call, "show_user_instances")
    assert (failure.code, failure.status) == ("APIGW.0301", 401)


def test_an_auth_token_is_kept_nowhere(service: RunningService, tokened: dict[str, str]) -> None:
    kept = b"".join(file.read_bytes() for file in service.instance.folder.iterdir() if file.is_file())
    assert tokened["secret_id"].encode() in kept, "the control: the credential itself is"
    assert tokened["auth_token"].encode() not in kept
