from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.kms.v20190118 import models

from hsmkms.core import errors
from hsmkms.core.ciphertexts import CipherAlgorithm
from hsmkms.core.ids import Instant, KeyId, from_seconds
from hsmkms.core.keys import KeyState, KeyUsage, Origin
from hsmkms.core.material import Edition
from hsmkms.core.secrets import ImportToken, Plaintext
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.dialects.base import NO_KEYS, Ready
from hsmkms.dialects.tencent.codec import ACTIONS
from hsmkms.dialects.tencent.fields import View
from hsmkms.dialects.tencent.states import POLICY
from hsmkms.service import commands
from hsmkms.service.commands import Command
from tests.dialects.json_values import JSON_VALUES
from tests.dialects.scripted_service import ACCOUNT, KEY_ID, NOW, key

OFFERED = frozenset({CipherAlgorithm.AES_256_GCM})
VIEW = View(ACCOUNT, Edition.FIPS, ("on-prem",), (WrappingAlgorithm.RSAES_OAEP_SHA_256,), OFFERED)
OTHER_ID = "93866e69-9755-11ef-8e65-52540089bc41"
IMPORT: dict[str, Any] = {"EncryptedKeyMaterial": "QUJD", "ImportToken": "dHR0", "KeyId": KEY_ID}
GET: dict[str, Any] = {"KeyId": KEY_ID, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
REQUIRED: dict[str, dict[str, Any]] = {
    "ImportKeyMaterial": IMPORT,
    "GetParametersForImport": GET,
    "UpdateAlias": {"Alias": "a"},
    "UpdateKeyDescription": {"Description": ""},
    "ScheduleKeyDeletion": {"PendingWindowInDays": 7},
    "Encrypt": {"Plaintext": "QUJD"},
    "Decrypt": {"CiphertextBlob": "MII="},
    "ReEncrypt": {"CiphertextBlob": "MII="},
    "GenerateDataKey": {"KeySpec": "AES_256"},
    "GenerateRandom": {"NumberOfBytes": 1},
    "CreateKey": {"Alias": "a"},
}
"""What an action needs beside key ids."""
LISTED = frozenset({KeyState.ENABLED, KeyState.DISABLED, KeyState.PENDING_IMPORT})


def read(action: str, members: dict[str, Any]) -> Command | Ready:
    return ACTIONS[action].read(VIEW, members)


def imported(valid_to: Instant | None) -> commands.ImportMaterial:
    return commands.ImportMaterial(KEY_ID, ImportToken(b"dHR0"), b"ABC", valid_to, policy=POLICY)


# --- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "members", "command"),
    [
        ("CreateKey", {"Alias": "a"}, commands.CreateKey("a")),
        ("CreateKey", {"Alias": "a" * 60, "Type": 1, "KeyUsage": ""}, commands.CreateKey("a" * 60)),
        (
            "CreateKey",
            {"Alias": "demo-ext", "Description": "测试", "KeyUsage": "ENCRYPT_DECRYPT", "Type": "2", "Tags": None},
            commands.CreateKey("demo-ext", "测试", Origin.EXTERNAL),
        ),
        ("CreateKey", {"Alias": "7", "Tags": [], "HsmClusterId": ""}, commands.CreateKey("7")),
        ("DescribeKey", {"KeyId": KEY_ID}, commands.DescribeKey(KEY_ID)),
        ("DescribeKey", {"KeyId": KEY_ID, "MemberAccount": None}, commands.DescribeKey(KEY_ID)),
        ("DescribeKeys", {"KeyIds": [OTHER_ID, KEY_ID]}, commands.DescribeKeys((KeyId(OTHER_ID), KEY_ID))),
        ("ListKeys", {}, commands.ListKeys(0, 10, states=LISTED)),
        ("ListKeys", {"Offset": "3", "Limit": 200, "Role": 0}, commands.ListKeys(3, 200, states=LISTED)),
        ("ListKeys", {"Role": 1}, NO_KEYS),
        ("ListKeyDetail", {}, commands.ListKeys(0, 10, usage=KeyUsage.ENCRYPT_DECRYPT)),
        (
            "ListKeyDetail",
            {
                "Offset": 0,
                "Limit": 10,
                "Role": 0,
                "OrderType": 1,
                "KeyState": 4,
                "SearchKeyAlias": "de",
                "Origin": "EXTERNAL",
                "KeyUsage": "ALL",
                "TagFilters": [],
                "MemberAccounts": [],
            },
            commands.ListKeys(
                0,
                10,
                states=frozenset({KeyState.PENDING_IMPORT}),
                origin=Origin.EXTERNAL,
                search="de",
                newest_first=False,
            ),
        ),
        ("ListKeyDetail", {"Role": 1}, NO_KEYS),
        ("ListKeyDetail", {"KeyUsage": "ASYMMETRIC_DECRYPT_SM2"}, NO_KEYS),
        (
            "GetParametersForImport",
            GET,
            commands.GetImportParameters(KEY_ID, WrappingAlgorithm.RSAES_OAEP_SHA_256, "WrappingAlgorithm", POLICY),
        ),
        ("ImportKeyMaterial", IMPORT, imported(None)),
        *(("ImportKeyMaterial", IMPORT | {"ValidTo": never}, imported(None)) for never in (None, "", 0, "0")),
        ("ImportKeyMaterial", IMPORT | {"ValidTo": NOW}, imported(from_seconds(NOW))),
        ("ImportKeyMaterial", IMPORT | {"ValidTo": str(NOW)}, imported(from_seconds(NOW))),
        ("DeleteImportedKeyMaterial", {"KeyId": KEY_ID}, commands.DeleteMaterial(KEY_ID, POLICY)),
        ("EnableKey", {"KeyId": KEY_ID}, commands.SwitchKey(KEY_ID, on=True, policy=POLICY)),
        ("DisableKey", {"KeyId": KEY_ID}, commands.SwitchKey(KEY_ID, on=False, policy=POLICY)),
        ("GetServiceStatus", {}, commands.DescribeService()),
        ("GetRegions", {}, Ready(commands.Done())),
        ("ListAlgorithms", {}, Ready(commands.Done())),
    ],
)
def test_a_request_becomes_a_command(action: str, members: dict[str, Any], command: Command | Ready) -> None:
    assert read(action, members) == command


@pytest.mark.parametrize(
    ("number", "states"),
    [
        (0, None),
        *(
            (n, frozenset({state}))
            for n, state in [
                (1, KeyState.ENABLED),
                (2, KeyState.DISABLED),
                (3, KeyState.PENDING_DELETE),
                (4, KeyState.PENDING_IMPORT),
                (5, KeyState.ARCHIVED),
            ]
        ),
    ],
)
def test_the_states_to_list_are_numbered_as_documented(number: int, states: frozenset[KeyState] | None) -> None:
    command = read("ListKeyDetail", {"KeyState": number})
    assert isinstance(command, commands.ListKeys)
    assert command.states == states


@pytest.mark.parametrize(
    ("action", "members", "kind", "field"),
    [
        ("CreateKey", {}, errors.FieldMissing, "Alias"),
        ("CreateKey", {"Alias": None}, errors.FieldMissing, "Alias"),
        ("CreateKey", {"Alias": 1}, errors.FieldInvalid, "Alias"),
        ("CreateKey", {"Alias": "a", "Nickname": "b"}, errors.FieldUnknown, "Nickname"),
        ("CreateKey", {"Alias": "a", "alias": "b"}, errors.FieldUnknown, "alias"),
        ("CreateKey", {"Alias": "a", "Description": "é" * 513}, errors.FieldInvalid, "Description"),
        ("CreateKey", {"Alias": "a", "Description": "\0"}, errors.FieldInvalid, "Description"),
        ("CreateKey", {"Alias": "a", "HsmClusterId": "c"}, errors.NotOffered, "HsmClusterId"),
        ("CreateKey", {"Alias": "a", "IsHostedByKms": 1}, errors.NotOffered, "IsHostedByKms"),
        ("CreateKey", {"Alias": "a", "IsHostedByKms": "1"}, errors.NotOffered, "IsHostedByKms"),
        ("CreateKey", {"Alias": "a", "IsHostedByKms": 0}, errors.FieldUnknown, "IsHostedByKms"),
        ("EnableKey", {"KeyId": KEY_ID, "HsmClusterId": "c"}, errors.NotOffered, "HsmClusterId"),
        ("EnableKey", {"KeyId": KEY_ID, "HsmClusterId": ""}, errors.FieldUnknown, "HsmClusterId"),
        ("DescribeKey", {}, errors.FieldMissing, "KeyId"),
        ("DescribeKey", {"KeyId": [KEY_ID]}, errors.FieldInvalid, "KeyId"),
        ("DescribeKey", {"KeyId": KEY_ID, "MemberAccount": {"MemberUin": 1}}, errors.NotOffered, "MemberAccount"),
        ("DescribeKeys", {"KeyIds": []}, errors.FieldInvalid, "KeyIds"),
        ("DescribeKeys", {"KeyIds": KEY_ID}, errors.FieldInvalid, "KeyIds"),
        ("DescribeKeys", {"KeyIds": [KEY_ID, 1]}, errors.FieldInvalid, "KeyIds.1"),
        ("DescribeKeys", {"KeyIds": [KEY_ID] * 101}, errors.FieldInvalid, "KeyIds"),
        ("ListKeys", {"Limit": 0}, errors.FieldInvalid, "Limit"),
        ("ListKeys", {"Limit": 201}, errors.FieldInvalid, "Limit"),
        ("ListKeys", {"Limit": ""}, errors.FieldInvalid, "Limit"),
        ("ListKeys", {"Offset": -1}, errors.FieldInvalid, "Offset"),
        ("ListKeys", {"Offset": 2**31}, errors.FieldInvalid, "Offset"),
        ("ListKeys", {"Role": 2}, errors.FieldInvalid, "Role"),
        ("ListKeys", {"HsmClusterId": "c"}, errors.NotOffered, "HsmClusterId"),
        ("ListKeyDetail", {"OrderType": 2}, errors.FieldInvalid, "OrderType"),
        ("ListKeyDetail", {"KeyState": 6}, errors.FieldInvalid, "KeyState"),
        ("ListKeyDetail", {"Origin": "external"}, errors.FieldInvalid, "Origin"),
        ("ListKeyDetail", {"KeyUsage": "ANY"}, errors.FieldInvalid, "KeyUsage"),
        ("ListKeyDetail", {"MemberAccounts": [{}]}, errors.NotOffered, "MemberAccounts"),
        ("GetParametersForImport", {"KeyId": KEY_ID}, errors.FieldMissing, "WrappingAlgorithm"),
        ("GetParametersForImport", GET | {"WrappingAlgorithm": "RSA"}, errors.NotOffered, "WrappingAlgorithm"),
        ("GetParametersForImport", GET | {"WrappingKeySpec": "RSA_4096"}, errors.NotOffered, "WrappingKeySpec"),
        ("ImportKeyMaterial", IMPORT | {"EncryptedKeyMaterial": "QUI"}, errors.FieldInvalid, "EncryptedKeyMaterial"),
        ("ImportKeyMaterial", IMPORT | {"EncryptedKeyMaterial": "QR=="}, errors.FieldInvalid, "EncryptedKeyMaterial"),
        ("ImportKeyMaterial", IMPORT | {"ImportToken": ""}, errors.FieldInvalid, "ImportToken"),
        ("ImportKeyMaterial", IMPORT | {"ImportToken": "dHR0\n"}, errors.FieldInvalid, "ImportToken"),
        ("ImportKeyMaterial", IMPORT | {"ImportToken": "a" * 6145}, errors.FieldInvalid, "ImportToken"),
        ("ImportKeyMaterial", IMPORT | {"ImportToken": None}, errors.FieldMissing, "ImportToken"),
        ("GetRegions", {"Region": "x"}, errors.FieldUnknown, "Region"),
    ],
)
def test_a_wrong_field_is_named(
    action: str, members: dict[str, Any], kind: type[errors.FieldFault], field: str
) -> None:
    with pytest.raises(kind) as raised:
        read(action, members)
    assert type(raised.value) is kind
    assert raised.value.field == field
    assert field in raised.value.message


@pytest.mark.parametrize(
    ("action", "members", "says"),
    [
        ("CreateKey", {"Alias": 1}, "The parameter Alias is invalid: send a string."),
        ("CreateKey", {"Alias": "a", "Type": "x"}, "The parameter Type is invalid: send an integer."),
        ("CreateKey", {"Alias": "a", "Tags": {}}, "The parameter Tags is invalid: send a list."),
        ("CreateKey", {"Alias": "a", "HsmClusterId": "c"}, errors.NotOffered("HsmClusterId").message),
        (
            "DescribeKey",
            {"KeyId": KEY_ID, "MemberAccount": []},
            "The parameter MemberAccount is invalid: send an object.",
        ),
        ("ListKeys", {"Limit": 0}, "The parameter Limit is invalid: send at least 1."),
        ("ListKeys", {"Limit": 201}, "The parameter Limit is invalid: send at most 200."),
        ("ListKeys", {"Limit": ""}, "The parameter Limit is invalid: send an integer."),
        ("ListKeys", {"Limit": "1.0"}, "The parameter Limit is invalid: send an integer."),
        ("ListKeys", {"Limit": "-1"}, "The parameter Limit is invalid: send at least 1."),
        ("ListKeys", {"Limit": -1}, "The parameter Limit is invalid: send at least 1."),
        ("ListKeys", {"Limit": 99999999999}, "The parameter Limit is invalid: send at most 200."),
        ("ListKeys", {"Limit": "99999999999"}, "The parameter Limit is invalid: send at most 200."),
        ("ListKeys", {"Role": "99999999999"}, "The parameter Role is invalid: send at most 1."),
        ("ListKeys", {"Offset": "99999999999"}, "The parameter Offset is invalid: send at most 2147483647."),
        ("ListKeyDetail", {"KeyState": -1}, "The parameter KeyState is invalid: send at least 0."),
        (
            "GenerateRandom",
            {"NumberOfBytes": "99999999999"},
            "The parameter NumberOfBytes is invalid: send at most 1024.",
        ),
        ("GenerateRandom", {"NumberOfBytes": -1}, "The parameter NumberOfBytes is invalid: send at least 1."),
        (
            "ScheduleKeyDeletion",
            {"KeyId": KEY_ID, "PendingWindowInDays": "99999999999"},
            "The parameter PendingWindowInDays is invalid: send at most 30.",
        ),
        ("ImportKeyMaterial", IMPORT | {"ValidTo": "-1"}, "The parameter ValidTo is invalid: send at least 0."),
        ("ImportKeyMaterial", IMPORT | {"ValidTo": "1.0"}, "The parameter ValidTo is invalid: send an integer."),
        (
            "CreateKey",
            {"Alias": "a", "Description": "x" * 1025},
            "The parameter Description is invalid: it must be at most 1024 bytes of UTF-8.",
        ),
        ("DescribeKeys", {"KeyIds": []}, "The parameter KeyIds is invalid: the list must have at least 1 member."),
        (
            "DescribeKeys",
            {"KeyIds": [KEY_ID] * 101},
            "The parameter KeyIds is invalid: the list must have at most 100 members.",
        ),
    ],
)
def test_a_wrong_field_is_told_what_to_send(action: str, members: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.FieldFault) as raised:
        read(action, members)
    assert raised.value.message == says


@pytest.mark.parametrize("value", [True, False, 1.0, 1.5, -1, "-1", "+1", "1.0", " 1", "0x1", "1" * 20, [], {}])
def test_an_integer_is_digits_and_nothing_else(value: object) -> None:
    with pytest.raises(errors.FieldInvalid) as raised:
        read("ImportKeyMaterial", IMPORT | {"ValidTo": value})
    assert raised.value.field == "ValidTo"


@pytest.mark.parametrize("second", [2147443201, 2**31, 99999999999, 10**19 - 1])
@pytest.mark.parametrize("spelled", [int, str])
def test_how_late_an_expiry_may_be_is_for_the_core_to_say(second: int, spelled: type) -> None:
    assert read("ImportKeyMaterial", IMPORT | {"ValidTo": spelled(second)}) == imported(from_seconds(second))


@pytest.mark.parametrize("alias", ["", "-a", "_a", "a b", "a" * 61, "é", "kms-", "kms-a", "a\n", "a.b"])
def test_an_alias_against_the_rule_is_refused(alias: str) -> None:
    with pytest.raises(errors.AliasInvalid):
        read("CreateKey", {"Alias": alias})


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"Type": 0}, errors.KeyTypeInvalid),
        ({"Type": 3}, errors.KeyTypeInvalid),
        ({"KeyUsage": "ASYMMETRIC_SIGN_VERIFY_ECC"}, errors.KeyUsageNotOffered),
        ({"KeyUsage": "encrypt_decrypt"}, errors.KeyUsageInvalid),
    ],
)
def test_a_kind_of_key_that_is_not_made_here_is_refused(more: dict[str, Any], kind: type[errors.CallerFault]) -> None:
    with pytest.raises(kind):
        read("CreateKey", {"Alias": "a", **more})


@pytest.mark.parametrize("action", [name for name, row in ACTIONS.items() if "KeyId" in row.model.model_fields])
@pytest.mark.parametrize("text", ["", "x", f'"{KEY_ID}"', KEY_ID.upper(), KEY_ID + "\n", KEY_ID.replace("-", "")])
def test_a_key_id_of_another_form_has_its_own_error(action: str, text: str) -> None:
    members = REQUIRED.get(action, {})
    with pytest.raises(errors.KeyIdMalformed):
        read(action, members | {"KeyId": text})


def test_a_key_id_asked_for_twice_has_its_own_error() -> None:
    with pytest.raises(errors.KeyIdsRepeated):
        read("DescribeKeys", {"KeyIds": [KEY_ID, OTHER_ID, KEY_ID]})


def test_the_refusal_of_an_algorithm_names_those_offered() -> None:
    with pytest.raises(errors.NotOffered) as raised:
        read("GetParametersForImport", GET | {"WrappingAlgorithm": "RSA"})
    assert raised.value.offered == ("RSAES_OAEP_SHA_256",)


def test_an_unknown_field_is_shown_short_and_printable() -> None:
    with pytest.raises(errors.FieldUnknown) as raised:
        read("GetRegions", {"a\x1b\n\u202e" + "b" * 1000: 1})
    assert raised.value.field == "a???" + "b" * 60


def test_neither_the_material_nor_the_import_token_is_in_an_error_or_a_representation() -> None:
    secrets = {"EncryptedKeyMaterial": "bmVlZGxl", "ImportToken": "bmVlZGxl"}
    command = read("ImportKeyMaterial", IMPORT | secrets)
    assert "needle" not in repr(command)
    assert "bmVlZGxl" not in repr(command)
    for broken in ({"EncryptedKeyMaterial": "bmVlZGxl*"}, {"ImportToken": "bmVlZGxl*"}, {"ValidTo": "bmVlZGxl"}):
        with pytest.raises(errors.FieldInvalid) as raised:
            read("ImportKeyMaterial", IMPORT | secrets | broken)
        assert "bmVlZGxl" not in f"{raised.value.message} {raised.value.__cause__!r}"
        assert raised.value.__suppress_context__


@given(st.data(), st.sampled_from(sorted(ACTIONS)))
def test_whatever_the_fields_hold_only_our_errors_come_of_it(data: st.DataObject, action: str) -> None:
    names = st.sampled_from([*ACTIONS[action].model.model_fields, "Unknown"])
    sensible = st.sampled_from([KEY_ID, [KEY_ID], "QUJD", "a", "RSA_2048", 1, "1", "RSAES_OAEP_SHA_1"])
    members = data.draw(st.dictionaries(names, sensible | JSON_VALUES))
    with contextlib.suppress(errors.CallerFault):
        assert isinstance(read(action, members), Command | Ready)


# --- replies ------------------------------------------------------------------------------------------


METADATA = {
    "KeyId": KEY_ID,
    "Alias": "demo-ext",
    "CreateTime": NOW - 60,
    "Description": "测试 desc",
    "KeyState": "Enabled",
    "KeyUsage": "ENCRYPT_DECRYPT",
    "Type": 2,
    "CreatorUin": 7,
    "KeyRotationEnabled": False,
    "Owner": "user",
    "NextRotateTime": 0,
    "DeletionDate": 0,
    "Origin": "EXTERNAL",
    "ValidTo": 0,
    "ResourceId": f"creatorUin/7/{KEY_ID}",
    "HsmClusterId": "",
    "RotateDays": 0,
    "LastRotateTime": 0,
    "IsSyncReplica": 0,
    "SourceRegion": "",
    "SyncStatus": 0,
    "SyncMessages": "",
    "SyncStartTime": 0,
    "SyncEndTime": 0,
    "SourceHsmClusterId": "",
    "AccountAppId": 0,
    "AccountUin": 0,
    "AccountName": "",
    "CreatorUinString": "acme",
}
SHOWN = commands.KeyShown(key(), KeyState.ENABLED)
PARAMETERS = commands.ImportParameters(KEY_ID, ImportToken(b"dHR0"), b"\x30\x82", from_seconds(NOW))
OUTCOMES: dict[str, commands.Outcome] = {
    "CreateKey": SHOWN,
    "DescribeKey": SHOWN,
    "DescribeKeys": commands.KeysShown(1, [SHOWN]),
    "ListKeys": commands.KeysShown(9, [SHOWN]),
    "ListKeyDetail": commands.KeysShown(9, [SHOWN]),
    "GetParametersForImport": PARAMETERS,
    "ImportKeyMaterial": commands.Done(),
    "DeleteImportedKeyMaterial": commands.Done(),
    "EnableKey": SHOWN,
    "DisableKey": SHOWN,
    "EnableKeys": commands.Done(),
    "DisableKeys": commands.Done(),
    "UpdateAlias": SHOWN,
    "UpdateKeyDescription": SHOWN,
    "ScheduleKeyDeletion": commands.KeyShown(key(deletion_due=from_seconds(NOW + 9)), KeyState.PENDING_DELETE),
    "CancelKeyDeletion": SHOWN,
    "ArchiveKey": SHOWN,
    "CancelKeyArchive": SHOWN,
    "GetKeyRotationStatus": SHOWN,
    "EnableKeyRotation": SHOWN,
    "DisableKeyRotation": SHOWN,
    "Encrypt": commands.Encrypted(KEY_ID, b"\x30\x82"),
    "Decrypt": commands.Decrypted(KEY_ID, Plaintext(b"ABC")),
    "ReEncrypt": commands.ReEncrypted(KeyId(OTHER_ID), KEY_ID, b"\x30\x82", changed=True),
    "GenerateDataKey": commands.DataKeyMade(KEY_ID, b"\x30\x82", Plaintext(b"ABC")),
    "GenerateRandom": commands.RandomMade(Plaintext(b"ABC")),
    "GetServiceStatus": commands.ServiceShown(Edition.FIPS, (), 3, 0),
    "GetRegions": commands.Done(),
    "ListAlgorithms": commands.Done(),
}
REPLIES: dict[str, dict[str, Any]] = {
    "CreateKey": {
        "KeyId": KEY_ID,
        "Alias": "demo-ext",
        "CreateTime": NOW - 60,
        "Description": "测试 desc",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "TagCode": 0,
        "TagMsg": "ok",
        "HsmClusterId": "",
    },
    "DescribeKey": {"KeyMetadata": METADATA},
    "DescribeKeys": {"KeyMetadatas": [METADATA]},
    "ListKeys": {"Keys": [{"KeyId": KEY_ID}], "TotalCount": 9},
    "ListKeyDetail": {"TotalCount": 9, "KeyMetadatas": [METADATA]},
    "GetParametersForImport": {
        "KeyId": KEY_ID,
        "ImportToken": "dHR0",
        "PublicKey": "MII=",
        "ParametersValidTo": NOW,
    },
    "GetRegions": {"Regions": ["on-prem"]},
    "ListAlgorithms": {
        "SymmetricAlgorithms": [{"KeyUsage": "ENCRYPT_DECRYPT", "Algorithm": "AES_256"}],
        "AsymmetricAlgorithms": [],
        "AsymmetricSignVerifyAlgorithms": [],
    },
    "ScheduleKeyDeletion": {"DeletionDate": NOW + 9, "KeyId": KEY_ID},
    "CancelKeyDeletion": {"KeyId": KEY_ID},
    "GetKeyRotationStatus": {"KeyRotationEnabled": False},
    "Encrypt": {"CiphertextBlob": "MII=", "KeyId": KEY_ID},
    "Decrypt": {"KeyId": KEY_ID, "Plaintext": "QUJD"},
    "ReEncrypt": {"CiphertextBlob": "MII=", "KeyId": KEY_ID, "SourceKeyId": OTHER_ID, "ReEncrypted": True},
    "GenerateDataKey": {
        "KeyId": KEY_ID,
        "Plaintext": "QUJD",
        "CiphertextBlob": "MII=",
        "DataKeyId": "",
        "TagCode": 0,
        "TagMsg": "ok",
    },
    "GenerateRandom": {"Plaintext": "QUJD"},
    **{
        name: {}
        for name in (
            "ImportKeyMaterial",
            "DeleteImportedKeyMaterial",
            "EnableKey",
            "DisableKey",
            "EnableKeys",
            "DisableKeys",
            "UpdateAlias",
            "UpdateKeyDescription",
            "ArchiveKey",
            "CancelKeyArchive",
            "DisableKeyRotation",
        )
    },
}


@pytest.mark.parametrize("action", sorted(REPLIES))
def test_an_outcome_becomes_the_documented_fields(action: str) -> None:
    assert ACTIONS[action].show(VIEW, OUTCOMES[action]) == REPLIES[action]


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_field_of_the_official_model_is_answered_and_no_other(action: str) -> None:
    def empty_fields(model: Any) -> set[str]:  # noqa: ANN401  # the SDK has no annotations
        return {name.lstrip("_") for name, value in vars(model).items() if value is None}

    response = getattr(models, f"{action}Response")()
    documented = {name.lstrip("_") for name in vars(response)}
    answer = ACTIONS[action].show(VIEW, OUTCOMES[action]) | {"RequestId": "r"}
    assert set(answer) == documented
    response._deserialize(json.loads(json.dumps(answer)))
    assert not empty_fields(response)
    for metadata in [*(getattr(response, "KeyMetadatas", ())), *filter(None, [getattr(response, "KeyMetadata", None)])]:
        assert not empty_fields(metadata)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_field_of_the_official_request_is_read_and_no_other(action: str) -> None:
    request = getattr(models, f"{action}Request")()
    assert set(ACTIONS[action].model.model_fields) == {name.lstrip("_") for name in vars(request)}


def metadata_of(shown: commands.KeyShown, view: View = VIEW) -> dict[str, Any]:
    answer = ACTIONS["DescribeKey"].show(view, shown)["KeyMetadata"]
    assert isinstance(answer, dict)
    return answer


def test_the_sm_edition_is_shown_as_type_4_and_its_cipher() -> None:
    view = View(ACCOUNT, Edition.SM, ("on-prem",), (), {CipherAlgorithm.SM4_GCM})
    assert metadata_of(SHOWN, view) == METADATA | {"Type": 4}
    assert ACTIONS["ListAlgorithms"].show(view, commands.Done())["SymmetricAlgorithms"] == [
        {"KeyUsage": "ENCRYPT_DECRYPT", "Algorithm": "SM4"}
    ]


@pytest.mark.parametrize(
    ("edition", "ciphers"),
    [(Edition.FIPS, frozenset()), (Edition.FIPS, {CipherAlgorithm.SM4_GCM}), (Edition.SM, OFFERED)],
)
def test_an_algorithm_that_the_token_does_not_do_is_not_listed(
    edition: Edition, ciphers: frozenset[CipherAlgorithm]
) -> None:
    shown = ACTIONS["ListAlgorithms"].show(View(ACCOUNT, edition, ("on-prem",), (), ciphers), commands.Done())
    assert not any(shown.values())


def test_generated_material_expiry_and_deletion_are_shown() -> None:
    generated = commands.KeyShown(key(origin=Origin.GENERATED), KeyState.DISABLED)
    assert metadata_of(generated) == METADATA | {"Origin": "TENCENT_KMS", "KeyState": "Disabled"}
    expiring = commands.KeyShown(key(valid_to=from_seconds(NOW + 5)), KeyState.ENABLED)
    assert metadata_of(expiring) == METADATA | {"ValidTo": NOW + 5}
    expired = commands.KeyShown(key(valid_to=from_seconds(NOW - 5)), KeyState.PENDING_IMPORT)
    assert metadata_of(expired) == METADATA | {"KeyState": "PendingImport"}
    doomed = commands.KeyShown(key(deletion_due=from_seconds(NOW + 9)), KeyState.PENDING_DELETE)
    assert metadata_of(doomed) == METADATA | {"KeyState": "PendingDelete", "DeletionDate": NOW + 9}
