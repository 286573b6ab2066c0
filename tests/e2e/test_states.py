"""The life of a key as a client of the official SDK sees it."""

from __future__ import annotations

import base64
import secrets
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.running import until

if TYPE_CHECKING:
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

LATEST_EXPIRY: Final = 2147443200
MATERIAL: Final = secrets.token_bytes(32)
INVALID: Final = "InvalidParameter"
OVER: Final = "ResourceUnavailable.TokenExpired"


@pytest.fixture(scope="session")
def lister(service: RunningService) -> TencentClient:
    """A client of an account whose keys only the tests of lists make."""
    return service.client(service.instance.another_credential(f"lister-{secrets.token_hex(3)}"))


def described(client: TencentClient, key_id: str) -> Any:
    return client.call("DescribeKey", KeyId=key_id).KeyMetadata


# --- create and describe -----------------------------------------------------------------------------------


def test_an_external_key_begins_without_material(client: TencentClient) -> None:
    before = int(time.time())
    made = client.call("CreateKey", Alias=f"s-{secrets.token_hex(8)}", Type=2, Description="\u6d4b\u8bd5 \U0001f511")
    assert (made.KeyState, made.KeyUsage, made.TagCode, made.TagMsg) == ("PendingImport", "ENCRYPT_DECRYPT", 0, "ok")
    assert before <= made.CreateTime <= time.time()
    shown = described(client, made.KeyId)
    assert (shown.KeyId, shown.Alias, shown.Description) == (made.KeyId, made.Alias, made.Description)
    assert made.Description == "\u6d4b\u8bd5 \U0001f511"
    assert (shown.Origin, shown.KeyState, shown.Type, shown.ValidTo) == ("EXTERNAL", "PendingImport", 2, 0)
    assert (shown.Owner, shown.DeletionDate, shown.KeyRotationEnabled) == ("user", 0, False)
    assert shown.CreatorUinString == client.keys["account"]
    assert isinstance(shown.CreatorUin, int)


@pytest.mark.parametrize("kind", [{}, {"Type": 1}, {"Type": "1"}])
def test_a_generated_key_is_enabled_at_once(client: TencentClient, kind: dict[str, Any]) -> None:
    made = client.call("CreateKey", Alias=f"s-{secrets.token_hex(8)}", **kind)
    assert made.KeyState == "Enabled"
    assert described(client, made.KeyId).Origin == "TENCENT_KMS"


def test_several_keys_are_described_in_the_order_asked_for(client: TencentClient, stranger: TencentClient) -> None:
    keys = [client.external_key() for _ in range(3)]
    wanted = [keys[2], keys[0], keys[1]]
    answer = client.call("DescribeKeys", KeyIds=wanted)
    assert [each.KeyId for each in answer.KeyMetadatas] == wanted
    assert client.code("DescribeKeys", KeyIds=[keys[0], stranger.external_key()]) == "ResourceUnavailable.CmkNotFound"


def test_an_alias_is_taken_within_one_account_only(client: TencentClient, stranger: TencentClient) -> None:
    alias = f"s-{secrets.token_hex(8)}"
    for each in (client, stranger):
        each.call("CreateKey", Alias=alias, Type="2")
        assert each.code("CreateKey", Alias=alias, Type=2) == "InvalidParameterValue.AliasAlreadyExists"


def test_the_actions_without_a_key(service: RunningService, client: TencentClient) -> None:
    assert client.call("GetRegions").Regions
    algorithms = client.call("ListAlgorithms")
    done = {"softhsm": ["AES_256"], "nss": []}[service.instance.token]
    assert [each.Algorithm for each in algorithms.SymmetricAlgorithms] == done
    status = client.call("GetServiceStatus")
    assert status.ServiceEnabled is True
    assert status.CmkUserCount == client.call("ListKeyDetail", KeyUsage="ALL", Limit=1).TotalCount


# --- lists -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def zoo(lister: TencentClient) -> dict[str, str]:
    """One key of each kind, oldest first."""

    def external(alias: str) -> str:
        return str(lister.call("CreateKey", Alias=alias, Type=2).KeyId)

    zoo = {"pending": external("zoo-pending")}
    zoo["enabled"] = external("zoo-enabled")
    lister.bring(zoo["enabled"], MATERIAL)
    zoo["disabled"] = external("zoo-disabled")
    lister.bring(zoo["disabled"], MATERIAL)
    lister.call("DisableKey", KeyId=zoo["disabled"])
    zoo["generated"] = str(lister.call("CreateKey", Alias="Zoo_Generated", Type=1).KeyId)
    return zoo


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["generated", "disabled", "enabled", "pending"]),
        ({"OrderType": 0}, ["generated", "disabled", "enabled", "pending"]),
        ({"OrderType": 1}, ["pending", "enabled", "disabled", "generated"]),
        ({"OrderType": "1", "Limit": "2", "Offset": "1"}, ["enabled", "disabled"]),
        ({"OrderType": 1, "Offset": 4}, []),
        ({"KeyState": 0}, ["generated", "disabled", "enabled", "pending"]),
        ({"KeyState": 1}, ["generated", "enabled"]),
        ({"KeyState": "2"}, ["disabled"]),
        ({"KeyState": 3}, []),
        ({"KeyState": 4}, ["pending"]),
        ({"KeyState": 5}, []),
        ({"Origin": "EXTERNAL"}, ["disabled", "enabled", "pending"]),
        ({"Origin": "TENCENT_KMS"}, ["generated"]),
        ({"Origin": "ALL"}, ["generated", "disabled", "enabled", "pending"]),
        ({"KeyUsage": "ENCRYPT_DECRYPT"}, ["generated", "disabled", "enabled", "pending"]),
        ({"KeyUsage": "ALL"}, ["generated", "disabled", "enabled", "pending"]),
        ({"KeyUsage": "ASYMMETRIC_DECRYPT_RSA_2048"}, []),
        ({"SearchKeyAlias": "zoo-"}, ["disabled", "enabled", "pending"]),
        ({"SearchKeyAlias": "Generated"}, ["generated"]),
        ({"SearchKeyAlias": "%"}, []),
        ({"SearchKeyAlias": "o_G"}, ["generated"]),
        ({"SearchKeyAlias": "o-_"}, []),
        ({"SearchKeyAlias": "nobody"}, []),
        ({"KeyState": 1, "Origin": "EXTERNAL", "SearchKeyAlias": "zoo"}, ["enabled"]),
        ({"Role": 1}, []),
        ({"Role": 0, "HsmClusterId": ""}, ["generated", "disabled", "enabled", "pending"]),
    ],
    ids=str,
)
def test_keys_are_listed_by_filter_order_and_page(
    lister: TencentClient, zoo: dict[str, str], filters: dict[str, Any], expected: list[str]
) -> None:
    answer = lister.call("ListKeyDetail", **filters)
    assert [each.KeyId for each in answer.KeyMetadatas] == [zoo[name] for name in expected]
    pages = {name for name in filters if name in {"Limit", "Offset"}}
    assert answer.TotalCount == (4 if pages else len(expected))


def test_a_key_is_found_by_a_part_of_its_id(lister: TencentClient, zoo: dict[str, str]) -> None:
    answer = lister.call("ListKeyDetail", SearchKeyAlias=zoo["enabled"][9:30])
    assert [each.KeyId for each in answer.KeyMetadatas] == [zoo["enabled"]]


def test_ids_are_listed_newest_first(lister: TencentClient, zoo: dict[str, str]) -> None:
    newest_first = list(reversed(zoo.values()))
    answer = lister.call("ListKeys")
    assert [each.KeyId for each in answer.Keys] == newest_first
    page = lister.call("ListKeys", Offset="1", Limit=2)
    assert ([each.KeyId for each in page.Keys], page.TotalCount) == (newest_first[1:3], 4)
    hosted = lister.call("ListKeys", Role=1)
    assert (hosted.Keys, hosted.TotalCount) == ([], 0)


# --- on and off --------------------------------------------------------------------------------------------


def test_a_key_is_switched_off_and_on(client: TencentClient) -> None:
    key_id = client.external_key()
    client.bring(key_id, MATERIAL)
    for action, state in (("DisableKey", "Disabled"), ("EnableKey", "Enabled")):
        for _ in range(2):  # what already is as wanted is no error
            client.call(action, KeyId=key_id)
            assert client.state(key_id) == state


def test_an_import_never_switches_a_key_on(client: TencentClient) -> None:
    key_id = client.external_key()
    client.bring(key_id, MATERIAL)
    client.call("DisableKey", KeyId=key_id)
    client.call("DeleteImportedKeyMaterial", KeyId=key_id)
    assert client.state(key_id) == "PendingImport"
    client.bring(key_id, MATERIAL)
    assert client.state(key_id) == "Disabled"


def test_only_the_same_material_comes_back_after_a_deletion(client: TencentClient) -> None:
    key_id = client.external_key()
    client.bring(key_id, MATERIAL, valid_to=LATEST_EXPIRY)
    client.call("DeleteImportedKeyMaterial", KeyId=key_id)
    shown = described(client, key_id)
    assert (shown.KeyState, shown.ValidTo) == ("PendingImport", 0)
    parameters = client.parameters(key_id)
    other = client.wrapped(parameters, secrets.token_bytes(32))
    assert client.import_code(key_id, parameters, other) == "InvalidParameterValue.MaterialNotMatch"
    client.import_(key_id, parameters, client.wrapped(parameters, MATERIAL))
    assert client.state(key_id) == "Enabled"


def test_equal_material_may_be_in_several_keys(client: TencentClient) -> None:
    for _ in range(2):
        key_id = client.external_key()
        client.bring(key_id, MATERIAL)
        assert client.state(key_id) == "Enabled"


# --- ValidTo -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", 0, "0", "00"], ids=repr)
def test_an_expiry_of_nothing_means_never(client: TencentClient, value: Any) -> None:
    key_id = client.external_key()
    client.bring(key_id, MATERIAL, valid_to=value)
    assert described(client, key_id).ValidTo == 0


def test_an_expiry_sent_as_null_means_never(client: TencentClient) -> None:
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    members = {
        "KeyId": key_id,
        "ImportToken": parameters.import_token,
        "EncryptedKeyMaterial": client.wrapped(parameters, MATERIAL),
        "ValidTo": None,
    }
    client.sdk.call_json("ImportKeyMaterial", members)
    assert (client.state(key_id), described(client, key_id).ValidTo) == ("Enabled", 0)


@pytest.mark.parametrize("value", [LATEST_EXPIRY, str(LATEST_EXPIRY)], ids=repr)
def test_the_latest_expiry_is_taken_and_replaced_by_the_next_import(client: TencentClient, value: Any) -> None:
    key_id = client.external_key()
    client.bring(key_id, MATERIAL, valid_to=value)
    assert described(client, key_id).ValidTo == LATEST_EXPIRY
    sooner = int(time.time()) + 3600
    client.bring(key_id, MATERIAL, valid_to=sooner)
    assert described(client, key_id).ValidTo == sooner
    client.bring(key_id, MATERIAL)
    assert described(client, key_id).ValidTo == 0


def test_material_expires_at_its_second_and_may_come_back(client: TencentClient) -> None:
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, MATERIAL)
    valid_to = int(time.time()) + 4
    client.import_(key_id, parameters, encrypted, valid_to)
    assert described(client, key_id).ValidTo == valid_to
    until(lambda: client.state(key_id) == "PendingImport", "expiry", 10)
    assert time.time() >= valid_to, "expired too early"
    answered = described(client, key_id)
    assert (answered.KeyState, answered.ValidTo) == ("PendingImport", 0)
    assert client.import_code(key_id, parameters, encrypted) == OVER, "the same request is no retry any more"
    parameters = client.parameters(key_id)
    other = client.wrapped(parameters, secrets.token_bytes(32))
    assert client.import_code(key_id, parameters, other) == "InvalidParameterValue.MaterialNotMatch"
    client.import_(key_id, parameters, client.wrapped(parameters, MATERIAL))
    assert client.state(key_id) == "Enabled"


# --- what never reaches a host -----------------------------------------------------------------------------


def imports(service: RunningService) -> int:
    """Return how many imports reached a host; it logs each before it answers."""
    return service.verbs("ImportMaterial")


def test_an_import_is_counted(service: RunningService, client: TencentClient) -> None:
    # The control of the tests below: were imports not in the log, those would prove nothing.
    before = imports(service)
    client.bring(client.external_key(), MATERIAL)
    assert imports(service) == before + 1


def test_a_repeated_import_is_answered_again_without_the_token(service: RunningService, client: TencentClient) -> None:
    before = imports(service)
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, MATERIAL)
    client.import_(key_id, parameters, encrypted, LATEST_EXPIRY)
    first = described(client, key_id)._serialize()
    for same in (LATEST_EXPIRY, str(LATEST_EXPIRY)):
        client.import_(key_id, parameters, encrypted, same)
    assert described(client, key_id)._serialize() == first
    client.call("DisableKey", KeyId=key_id)
    client.import_(key_id, parameters, encrypted, LATEST_EXPIRY)
    assert client.state(key_id) == "Disabled", "a retry changes nothing"
    client.call("EnableKey", KeyId=key_id)
    assert client.import_code(key_id, parameters, encrypted) == OVER, "another expiry is another request"
    client.call("DeleteImportedKeyMaterial", KeyId=key_id)
    assert client.import_code(key_id, parameters, encrypted, LATEST_EXPIRY) == OVER, "the key lost what it brought"
    assert client.state(key_id) == "PendingImport"
    assert imports(service) == before + 1


def test_a_retry_is_over_once_a_newer_import_has_replaced_it(client: TencentClient) -> None:
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, MATERIAL)
    client.import_(key_id, parameters, encrypted)
    client.bring(key_id, MATERIAL, LATEST_EXPIRY)
    assert client.import_code(key_id, parameters, encrypted) == OVER
    assert described(client, key_id).ValidTo == LATEST_EXPIRY


def test_import_tokens_that_are_not_good_never_reach_a_host(
    service: RunningService, client: TencentClient, stranger: TencentClient
) -> None:
    key_id = client.external_key()
    good = client.parameters(key_id)
    encrypted = client.wrapped(good, MATERIAL)
    spent_key = client.external_key()
    spent = client.bring(spent_key, MATERIAL)
    void_key = client.external_key()
    void = client.parameters(void_key)
    for _ in range(3):
        client.parameters(void_key)
    exhausted_key = client.external_key()
    exhausted = client.parameters(exhausted_key)
    junk = base64.b64encode(b"\1" + secrets.token_bytes(255)).decode()
    for _ in range(10):
        client.import_code(exhausted_key, exhausted, junk)
    theirs = stranger.parameters(stranger.external_key())
    others = client.parameters(client.external_key())
    unknown = replace(good, import_token=base64.b64encode(secrets.token_bytes(192)).decode())
    before = imports(service)
    assert client.import_code(key_id, unknown, encrypted) == INVALID
    assert client.import_code(key_id, theirs, encrypted) == INVALID, "another account's"
    assert client.import_code(key_id, others, encrypted) == INVALID, "another key's"
    assert client.import_code(spent_key, spent, encrypted) == OVER
    assert client.import_code(void_key, void, encrypted) == OVER
    assert client.import_code(exhausted_key, exhausted, encrypted) == OVER
    client.import_(key_id, good, encrypted)  # and that is the only one that a host sees
    assert imports(service) == before + 1


def test_expired_import_tokens_never_reach_a_host(service: RunningService, client: TencentClient) -> None:
    # A deadline of 24 hours is brought forward in the row: what is tested is who is asked, not the clock.
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, MATERIAL)
    connection = sqlite3.connect(service.instance.database, timeout=10)
    with connection:
        connection.execute("UPDATE tickets SET deadline = ? WHERE key_id = ?", (int(time.time() * 1000), key_id))
    connection.close()
    before = imports(service)
    assert client.import_code(key_id, parameters, encrypted) == OVER
    client.bring(client.external_key(), MATERIAL)
    assert imports(service) == before + 1
