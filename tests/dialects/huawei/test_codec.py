from __future__ import annotations

import base64
import contextlib
import re
from typing import Any

import pytest
from huaweicloudsdkkms import v2
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core import errors
from hsmkms.core.ids import Instant, KeyId, from_seconds
from hsmkms.core.keys import KeyState, Origin
from hsmkms.core.material import Edition
from hsmkms.core.secrets import ImportToken, Plaintext
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.dialects import wire_models
from hsmkms.dialects.base import NO_KEYS, Ready
from hsmkms.dialects.huawei import wire
from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.huawei.fields import VERSION, VERSIONS, View
from hsmkms.dialects.huawei.states import POLICY
from hsmkms.service import commands
from hsmkms.service.commands import Command
from tests.dialects.json_values import JSON_VALUES
from tests.dialects.scripted_service import ACCOUNT, KEY_ID, NOW, key

OFFERED = (WrappingAlgorithm.RSAES_OAEP_SHA_256, WrappingAlgorithm.RSAES_OAEP_SHA_1)
VIEW = View(ACCOUNT, Edition.FIPS, "on-prem", OFFERED)
SM_VIEW = View(ACCOUNT, Edition.SM, "on-prem", OFFERED)
NOBODYS_ID = KEY_ID.replace("e", "z")
OTHER_ID = KeyId("9c6a6bd2-2b8e-4f7e-8a53-6b8a2c8e1f00")
SEQUENCE = "919c82d4-8046-4722-9094-35c3c6524cff"
TOKEN = "dHR0" * 50
CIPHERTEXT = bytes(range(256))
MATERIAL = base64.b64encode(CIPHERTEXT).decode()
CIPHERTEXT_TEXT = base64.b64encode(b"HKMS" + bytes(range(92))).decode()
DATA_KEY_TEXT = "00" * 64 + "F5A5FD42D16A20302798EF6ED309979B43003D2320D9F0E8EA9831A92759FB4B"
"""The documentation's example: 64 zeros and their SHA-256."""
LATEST = 2147443200
GET_FIELD = "wrapping_algorithm"

BY_ID: dict[str, Any] = {"key_id": KEY_ID}
CREATE: dict[str, Any] = {"key_alias": "a"}
GET: dict[str, Any] = {"wrapping_algorithm": "RSAES_OAEP_SHA_256", **BY_ID}
IMPORT: dict[str, Any] = {"import_token": TOKEN, "encrypted_key_material": MATERIAL, **BY_ID}
LEAST: dict[str, dict[str, Any]] = {
    "create-key": CREATE,
    "describe-key": BY_ID,
    "list-keys": {},
    "get-parameters-for-import": GET,
    "import-key-material": IMPORT,
    "delete-imported-key-material": BY_ID,
    "enable-key": BY_ID,
    "disable-key": BY_ID,
    "update-key-alias": {"key_alias": "b", **BY_ID},
    "update-key-description": {"key_description": "c", **BY_ID},
    "schedule-key-deletion": {"pending_days": "7", **BY_ID},
    "cancel-key-deletion": BY_ID,
    "get-key-rotation-status": BY_ID,
    "encrypt-data": {"plain_text": "hello", **BY_ID},
    "decrypt-data": {"cipher_text": CIPHERTEXT_TEXT},
    "re-encrypt": {"cipher_text": CIPHERTEXT_TEXT, "destination_key_id": KEY_ID},
    "create-datakey": BY_ID,
    "create-datakey-without-plaintext": BY_ID,
    "encrypt-datakey": {"plain_text": DATA_KEY_TEXT, "datakey_plain_length": "64", **BY_ID},
    "decrypt-datakey": {"cipher_text": "484B4D53", "datakey_cipher_length": "3", **BY_ID},
    "gen-random": {"random_data_length": "512"},
}
"""The least that each operation of POST takes."""


def read(name: str, members: dict[str, Any], view: View = VIEW) -> Command | Ready:
    operation = OPERATIONS[name]
    return operation.command(view, wire_models.read(operation.model, members))


def show(name: str, outcome: commands.Outcome, view: View = VIEW, members: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
    operation = OPERATIONS[name]
    request = wire_models.read(operation.model, LEAST.get(name, {}) | (members or {}))
    return operation.show(view, request, outcome)


def imported(valid_to: Instant | None) -> commands.ImportMaterial:
    return commands.ImportMaterial(KEY_ID, ImportToken(TOKEN.encode()), CIPHERTEXT, valid_to, GET_FIELD, POLICY)


def listing(offset: int = 0, limit: int = 100, states: frozenset[KeyState] | None = None) -> commands.ListKeys:
    return commands.ListKeys(offset, limit, states=states, newest_first=False)


# --- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "members", "command"),
    [
        ("create-key", CREATE, commands.CreateKey("a")),
        ("create-key", {"key_alias": "a/B:c_-" + "9" * 248}, commands.CreateKey("a/B:c_-" + "9" * 248)),
        ("create-key", {"key_alias": "/default/x"}, commands.CreateKey("/default/x")),
        (
            "create-key",
            {
                "key_alias": "demo-ext",
                "key_spec": "AES_256",
                "key_usage": "ENCRYPT_DECRYPT",
                "key_description": "测" * 255,
                "origin": "external",
                "enterprise_project_id": "0",
                "keystore_id": "0",
                "vm_id": "",
                "realm": "",
                "sequence": SEQUENCE,
            },
            commands.CreateKey("demo-ext", "测" * 255, Origin.EXTERNAL),
        ),
        (
            "create-key",
            CREATE
            | dict.fromkeys(("key_spec", "key_usage", "key_description", "origin", "keystore_id", "sequence"))
            | {"enterprise_project_id": ""},
            commands.CreateKey("a"),
        ),
        ("create-key", CREATE | {"origin": "kms"}, commands.CreateKey("a", origin=Origin.GENERATED)),
        ("describe-key", BY_ID, commands.DescribeKey(KEY_ID)),
        ("list-keys", {}, listing()),
        ("list-keys", {"limit": "1", "marker": "0"}, listing(limit=1)),
        ("list-keys", {"limit": 1000, "marker": 2**31 - 1}, listing(2**31 - 1, 1000)),
        *(("list-keys", {"limit": more}, listing(limit=1000)) for more in (1001, "2000", 2**31 - 1, str(2**31 - 1))),
        ("list-keys", {"key_spec": "AES_256", "enterprise_project_id": "all"}, listing()),
        ("list-keys", {"key_spec": "ALL", "enterprise_project_id": "0"}, listing()),
        ("list-keys", {"key_spec": "SM4"}, NO_KEYS),
        ("list-keys", {"key_spec": "RSA_2048"}, NO_KEYS),
        *(("list-keys", {"key_state": each}, NO_KEYS) for each in ("1", 1)),
        ("list-keys", {"key_state": "2"}, listing(states=frozenset({KeyState.ENABLED}))),
        ("list-keys", {"key_state": "3"}, listing(states=frozenset({KeyState.DISABLED}))),
        ("list-keys", {"key_state": "4"}, listing(states=frozenset({KeyState.PENDING_DELETE}))),
        *(
            ("list-keys", {"key_state": each}, listing(states=frozenset({KeyState.PENDING_IMPORT})))
            for each in ("5", 5)
        ),
        *(
            (
                "get-parameters-for-import",
                GET | {"wrapping_algorithm": each.value},
                commands.GetImportParameters(KEY_ID, each, GET_FIELD, POLICY),
            )
            for each in WrappingAlgorithm
        ),
        ("import-key-material", IMPORT, imported(None)),
        *(("import-key-material", IMPORT | {"expiration_time": never}, imported(None)) for never in (None, "", 0, "0")),
        *(
            ("import-key-material", IMPORT | {"expiration_time": spelled(second)}, imported(from_seconds(second)))
            for second in (1, NOW, LATEST)
            for spelled in (int, str)
        ),
        ("import-key-material", IMPORT | {"encrypted_privatekey": ""}, imported(None)),
        ("delete-imported-key-material", BY_ID, commands.DeleteMaterial(KEY_ID, POLICY)),
        ("enable-key", BY_ID, commands.SwitchKey(KEY_ID, on=True, policy=POLICY)),
        ("disable-key", BY_ID, commands.SwitchKey(KEY_ID, on=False, policy=POLICY)),
        ("update-key-alias", BY_ID | {"key_alias": "b"}, commands.RelabelKey(KEY_ID, alias="b", policy=POLICY)),
        (
            "update-key-description",
            BY_ID | {"key_description": ""},
            commands.RelabelKey(KEY_ID, description="", policy=POLICY),
        ),
        ("schedule-key-deletion", BY_ID | {"pending_days": "7"}, commands.ScheduleDeletion(KEY_ID, 7, POLICY)),
        ("schedule-key-deletion", BY_ID | {"pending_days": 1096}, commands.ScheduleDeletion(KEY_ID, 1096, POLICY)),
        ("cancel-key-deletion", BY_ID, commands.CancelDeletion(KEY_ID, POLICY)),
        ("get-key-rotation-status", BY_ID, commands.DescribeKey(KEY_ID)),
        ("user-instances", {}, commands.DescribeService()),
        ("user-quotas", {}, commands.DescribeService()),
        ("projects", {"name": "cn-north-7"}, Ready(commands.Done())),
    ],
)
def test_a_request_becomes_a_command(name: str, members: dict[str, Any], command: Command | Ready) -> None:
    assert read(name, members) == command


@pytest.mark.parametrize(
    ("key_spec", "command"), [(None, listing()), ("SM4", listing()), ("ALL", listing()), ("AES_256", NO_KEYS)]
)
def test_the_sm_edition_lists_sm4_keys(key_spec: str | None, command: Command | Ready) -> None:
    assert read("list-keys", {"key_spec": key_spec}, SM_VIEW) == command


@pytest.mark.parametrize("key_spec", [None, "SM4"])
def test_the_sm_edition_makes_sm4_keys(key_spec: str | None) -> None:
    assert read("create-key", CREATE | {"key_spec": key_spec}, SM_VIEW) == commands.CreateKey("a")


@pytest.mark.parametrize(
    ("name", "more", "kind", "field"),
    [
        ("create-key", {"key_alias": None}, errors.FieldMissing, "key_alias"),
        ("create-key", {"key_alias": 1}, errors.FieldInvalid, "key_alias"),
        ("create-key", {"tags": []}, errors.FieldUnknown, "tags"),
        ("create-key", {"Key_alias": "a"}, errors.FieldUnknown, "Key_alias"),
        ("create-key", {"key_spec": "AES_128"}, errors.FieldInvalid, "key_spec"),
        ("create-key", {"key_spec": ""}, errors.FieldInvalid, "key_spec"),
        ("create-key", {"origin": "EXTERNAL"}, errors.FieldInvalid, "origin"),
        ("create-key", {"key_description": "测" * 256}, errors.FieldInvalid, "key_description"),
        ("create-key", {"key_description": "\0"}, errors.FieldInvalid, "key_description"),
        ("create-key", {"keystore_id": "1"}, errors.NotOffered, "keystore_id"),
        ("create-key", {"keystore_id": 0}, errors.FieldInvalid, "keystore_id"),
        ("create-key", {"vm_id": "0"}, errors.NotOffered, "vm_id"),
        ("create-key", {"realm": "cn-north-7"}, errors.NotOffered, "realm"),
        ("create-key", {"enterprise_project_id": "all"}, errors.NotOffered, "enterprise_project_id"),
        ("list-keys", {"enterprise_project_id": SEQUENCE}, errors.NotOffered, "enterprise_project_id"),
        ("list-keys", {"key_spec": "AES_128"}, errors.FieldInvalid, "key_spec"),
        *(("list-keys", {"limit": each}, errors.FieldInvalid, "limit") for each in (0, 2**31, "0", "", "-1", "a")),
        *(("list-keys", {"marker": each}, errors.FieldInvalid, "marker") for each in (-1, "-1", 2**31, "", "a")),
        *(
            ("list-keys", {"key_state": each}, errors.FieldInvalid, "key_state")
            for each in ("0", "6", "7", "", 0, 6, 7, "05", True, 2.0)
        ),
        ("get-parameters-for-import", {"wrapping_algorithm": None}, errors.FieldMissing, "wrapping_algorithm"),
        ("get-parameters-for-import", {"wrapping_algorithm": "SM2_ENCRYPT"}, errors.NotOffered, "wrapping_algorithm"),
        ("get-parameters-for-import", {"wrapping_algorithm": "RSA"}, errors.NotOffered, "wrapping_algorithm"),
        *(
            ("import-key-material", {"import_token": each}, errors.FieldInvalid, "import_token")
            for each in ("", "a" * 199, "a" * 6145, "a" * 199 + "-", "a" * 200 + "\n", "é" * 200, 1)
        ),
        *(
            ("import-key-material", {"encrypted_key_material": each}, errors.FieldInvalid, "encrypted_key_material")
            for each in ("", "A" * 343, "A" * 361, "A" * 345, MATERIAL[:-3] + "9==", MATERIAL + "\n", "-" * 344)
        ),
        ("import-key-material", {"import_token": None}, errors.FieldMissing, "import_token"),
        ("import-key-material", {"encrypted_privatekey": MATERIAL}, errors.NotOffered, "encrypted_privatekey"),
        ("update-key-alias", {"key_alias": None}, errors.FieldMissing, "key_alias"),
        ("schedule-key-deletion", {"pending_days": None}, errors.FieldMissing, "pending_days"),
        *(
            ("schedule-key-deletion", {"pending_days": each}, errors.FieldInvalid, "pending_days")
            for each in (6, 1097, "6", "1097", "", "7.0", True)
        ),
        ("get-key-rotation-status", {"rotation_interval": 30}, errors.FieldUnknown, "rotation_interval"),
        ("update-key-description", {"key_description": None}, errors.FieldMissing, "key_description"),
        ("update-key-description", {"key_description": "x" * 256}, errors.FieldInvalid, "key_description"),
    ],
)
def test_a_wrong_field_is_named(name: str, more: dict[str, Any], kind: type[errors.FieldFault], field: str) -> None:
    with pytest.raises(kind) as raised:
        read(name, LEAST[name] | more)
    assert type(raised.value) is kind
    assert raised.value.field == field
    assert field in raised.value.message


@pytest.mark.parametrize(
    ("token", "material"), [("a" * 200, "A" * 344), ("a" * 6144, "A" * 360), ("+/==" * 50, MATERIAL)]
)
def test_an_import_of_a_length_at_the_edge_is_read(token: str, material: str) -> None:
    command = read("import-key-material", IMPORT | {"import_token": token, "encrypted_key_material": material})
    assert isinstance(command, commands.ImportMaterial)
    assert command.import_token == ImportToken(token.encode())
    assert command.ciphertext == base64.b64decode(material)


@pytest.mark.parametrize("value", [True, 1.0, -1, "-1", "+1", "1.0", " 1", "0x1", "never", "1" * 20])
def test_an_expiry_is_digits(value: object) -> None:
    with pytest.raises(errors.FieldInvalid) as raised:
        read("import-key-material", IMPORT | {"expiration_time": value})
    assert raised.value.field == "expiration_time"


@pytest.mark.parametrize("second", [LATEST + 1, 2**31, 99999999999, 10**19 - 1])
@pytest.mark.parametrize("spelled", [int, str])
def test_how_late_an_expiry_may_be_is_for_the_core_to_say(second: int, spelled: type) -> None:
    members = IMPORT | {"expiration_time": spelled(second)}
    assert read("import-key-material", members) == imported(from_seconds(second))


@pytest.mark.parametrize(
    ("value", "of_limit", "of_marker", "of_the_expiry"),
    [
        ("", "send an integer", "send an integer", None),
        ("1.0", "send an integer", "send an integer", "send an integer"),
        ("-1", "send at least 1", "send at least 0", "send at least 0"),
        (-1, "send at least 1", "send at least 0", "send at least 0"),
        ("-0", "send an integer", "send an integer", "send an integer"),
        (0, "send at least 1", None, None),
        (99999999999, "send at most 2147483647", "send at most 2147483647", None),
        ("99999999999", "send at most 2147483647", "send at most 2147483647", None),
        ("9" * 19, "send at most 2147483647", "send at most 2147483647", None),
        ("9" * 20, "send an integer", "send an integer", "send an integer"),
    ],
)
def test_of_a_wrong_number_the_bound_it_breaks_is_said(
    value: object, of_limit: str | None, of_marker: str | None, of_the_expiry: str | None
) -> None:
    for name, field, says in (
        ("list-keys", "limit", of_limit),
        ("list-keys", "marker", of_marker),
        ("import-key-material", "expiration_time", of_the_expiry),
    ):
        if says is None:
            read(name, LEAST[name] | {field: value})
            continue
        with pytest.raises(errors.FieldInvalid) as raised:
            read(name, LEAST[name] | {field: value})
        assert raised.value.message == f"The parameter {field} is invalid: {says}."


@pytest.mark.parametrize(
    ("name", "field", "value", "says"),
    [
        ("create-key", "sequence", "x", "it must be of 36 characters."),
        ("create-key", "key_description", "x" * 256, "it must be of at most 255 characters."),
        ("import-key-material", "encrypted_key_material", "A", "it must be of 344 to 360 characters of base64."),
        ("list-keys", "key_state", 6, "use one of 1, 2, 3, 4, 5."),
    ],
)
def test_a_wrong_field_is_told_what_to_send(name: str, field: str, value: object, says: str) -> None:
    with pytest.raises(errors.FieldInvalid) as raised:
        read(name, LEAST[name] | {field: value})
    assert raised.value.message == f"The parameter {field} is invalid: {says}"


@pytest.mark.parametrize("field", ["limit", "marker"])
@pytest.mark.parametrize("value", [True, False, 1.0, "1.0", [], {}, "1" * 11])
def test_a_number_is_digits_and_nothing_else(field: str, value: object) -> None:
    with pytest.raises(errors.FieldInvalid) as raised:
        read("list-keys", {field: value})
    assert raised.value.field == field


@pytest.mark.parametrize("name", LEAST)
def test_every_operation_takes_a_sequence_of_36_characters(name: str) -> None:
    assert read(name, LEAST[name] | {"sequence": SEQUENCE}) == read(name, LEAST[name])
    for wrong in ("", SEQUENCE[:-1], SEQUENCE + "0", 1):
        with pytest.raises(errors.FieldInvalid) as raised:
            read(name, LEAST[name] | {"sequence": wrong})
        assert raised.value.field == "sequence"


@pytest.mark.parametrize("name", ["create-key", "update-key-alias"])
@pytest.mark.parametrize("alias", ["", "a b", "a" * 256, "é", "a\n", "a.b", "/default", "evs/default"])
def test_an_alias_against_the_rule_is_refused(name: str, alias: str) -> None:
    with pytest.raises(errors.AliasInvalid) as raised:
        read(name, LEAST[name] | {"key_alias": alias})
    assert "/default" in raised.value.message


@pytest.mark.parametrize(
    ("usage", "kind"), [("SIGN_VERIFY", errors.KeyUsageNotOffered), ("encrypt_decrypt", errors.KeyUsageInvalid)]
)
def test_a_usage_that_is_not_offered_is_refused(usage: str, kind: type[errors.CallerFault]) -> None:
    with pytest.raises(kind):
        read("create-key", CREATE | {"key_usage": usage})


@pytest.mark.parametrize(("view", "spec", "offered"), [(VIEW, "SM4", "AES_256"), (SM_VIEW, "AES_256", "SM4")])
@pytest.mark.parametrize("elsewhere", [None, "RSA_2048", "EC_P384", "SECP256K1", "ED25519", "HMAC_SM3"])
def test_a_documented_spec_of_another_kind_is_refused_by_name(
    view: View, spec: str, offered: str, elsewhere: str | None
) -> None:
    with pytest.raises(errors.NotOffered) as raised:
        read("create-key", CREATE | {"key_spec": elsewhere or spec}, view)
    assert (raised.value.field, raised.value.offered) == ("key_spec", (offered,))


def test_the_refusal_of_an_algorithm_names_those_offered() -> None:
    with pytest.raises(errors.NotOffered) as raised:
        read("get-parameters-for-import", GET | {"wrapping_algorithm": "SM2_ENCRYPT"})
    assert raised.value.offered == OFFERED


OF_A_KEY = [name for name, row in OPERATIONS.items() if issubclass(row.model, wire.OperateKey)]


@pytest.mark.parametrize("name", OF_A_KEY)
@pytest.mark.parametrize("text", ["", "x", KEY_ID.upper(), KEY_ID + "\n", KEY_ID.replace("-", ""), f"alias/{KEY_ID}"])
def test_a_key_id_of_another_form_has_its_own_error(name: str, text: str) -> None:
    with pytest.raises(errors.KeyIdMalformed) as raised:
        read(name, LEAST[name] | {"key_id": text})
    for words in ("36 characters", "digits and lower-case letters", "8-4-4-4-12"):
        assert words in raised.value.message
    assert "UUID" not in raised.value.message


@pytest.mark.parametrize("name", OF_A_KEY)
def test_a_key_id_of_the_documented_form_that_is_no_uuid_is_nobodys(name: str) -> None:
    with pytest.raises(errors.CiphertextInvalid if name == "decrypt-datakey" else errors.KeyNotFound):
        read(name, LEAST[name] | {"key_id": NOBODYS_ID})


def test_neither_the_material_nor_the_import_token_is_in_an_error_or_a_representation() -> None:
    needle = "bmVlZGxl"
    secrets = {"encrypted_key_material": needle * 43, "import_token": needle * 25}
    command = read("import-key-material", IMPORT | secrets)
    assert "needle" not in repr(command)
    assert needle not in repr(command)
    assert needle not in repr(wire_models.read(wire.ImportKeyMaterial, IMPORT | secrets))
    for broken in (
        {"encrypted_key_material": needle * 43 + "*"},
        {"import_token": needle * 25 + "*"},
        {"expiration_time": needle},
        {"encrypted_privatekey": needle},
        {needle: 1, "key_id": None},
    ):
        with pytest.raises(errors.FieldFault) as raised:
            read("import-key-material", IMPORT | secrets | broken)
        assert needle not in f"{raised.value.message} {raised.value.__cause__!r}"
        assert raised.value.__suppress_context__


SENSIBLE = [
    *(KEY_ID, NOBODYS_ID, SEQUENCE, TOKEN, MATERIAL, "a", "AES_256", 1, "1", "external"),
    *(CIPHERTEXT_TEXT, DATA_KEY_TEXT, "512", 64, "SYMMETRIC_DEFAULT", {"k": "v"}),
]


@given(st.data(), st.sampled_from(sorted(OPERATIONS)))
def test_whatever_the_fields_hold_only_our_errors_come_of_it(data: st.DataObject, name: str) -> None:
    names = st.sampled_from([*OPERATIONS[name].model.model_fields, "unknown"])
    sensible = st.sampled_from(SENSIBLE)
    members = data.draw(st.dictionaries(names, sensible | JSON_VALUES))
    with contextlib.suppress(errors.CallerFault):
        assert isinstance(read(name, members), Command | Ready)


# --- replies ------------------------------------------------------------------------------------------


DETAILS = {
    "key_id": KEY_ID,
    "domain_id": "acme",
    "key_alias": "demo-ext",
    "realm": "on-prem",
    "key_spec": "AES_256",
    "key_usage": "ENCRYPT_DECRYPT",
    "key_description": "测试 desc",
    "creation_date": f"{NOW - 60}000",
    "scheduled_deletion_date": "",
    "key_state": "2",
    "default_key_flag": "0",
    "key_type": "1",
    "expiration_time": "",
    "origin": "external",
    "key_rotation_enabled": "false",
    "sys_enterprise_project_id": "0",
    "keystore_id": "0",
}
SHOWN = commands.KeyShown(key(), KeyState.ENABLED)
DOOMED = commands.KeyShown(key(deletion_due=from_seconds(NOW + 9)), KeyState.PENDING_DELETE)
CIPHER = b"\x30\x82"
ABC = Plaintext(b"ABC")
ENCRYPTED = commands.Encrypted(KEY_ID, CIPHER)
DECRYPTED = commands.Decrypted(KEY_ID, ABC)
MADE = commands.DataKeyMade(KEY_ID, CIPHER, ABC)
SERVICE = commands.ServiceShown(Edition.FIPS, (), 3, 0)
OUTCOMES: dict[str, commands.Outcome] = {
    "create-key": SHOWN,
    "describe-key": SHOWN,
    "list-keys": commands.KeysShown(9, [SHOWN]),
    "get-parameters-for-import": commands.ImportParameters(
        KEY_ID, ImportToken(b"dHR0"), b"\x30\x82", Instant(NOW * 1000 + 999)
    ),
    "import-key-material": commands.Done(),
    "delete-imported-key-material": commands.Done(),
    "enable-key": SHOWN,
    "disable-key": commands.KeyShown(key(), KeyState.DISABLED),
    "update-key-alias": SHOWN,
    "update-key-description": SHOWN,
    "schedule-key-deletion": DOOMED,
    "cancel-key-deletion": commands.KeyShown(key(), KeyState.DISABLED),
    "get-key-rotation-status": SHOWN,
    "encrypt-data": ENCRYPTED,
    "decrypt-data": DECRYPTED,
    "re-encrypt": commands.ReEncrypted(OTHER_ID, KEY_ID, CIPHER, changed=True),
    "create-datakey": MADE,
    "create-datakey-without-plaintext": MADE,
    "encrypt-datakey": ENCRYPTED,
    "decrypt-datakey": DECRYPTED,
    "gen-random": commands.RandomMade(ABC),
    "user-instances": SERVICE,
    "user-quotas": SERVICE,
    "projects": commands.Done(),
}
REPLIES: dict[str, dict[str, Any]] = {
    "create-key": {"key_info": {"key_id": KEY_ID, "domain_id": "acme", "region_id": "on-prem"}},
    "describe-key": {"key_info": DETAILS},
    "list-keys": {"keys": [KEY_ID], "key_details": [DETAILS], "next_marker": "1", "truncated": "true", "total": 9},
    "get-parameters-for-import": {
        "key_id": KEY_ID,
        "import_token": "dHR0",
        "expiration_time": NOW,
        "public_key": "MII=",
    },
    "import-key-material": {},
    "delete-imported-key-material": {},
    "enable-key": {"key_info": {"key_id": KEY_ID, "key_state": "2"}},
    "disable-key": {"key_info": {"key_id": KEY_ID, "key_state": "3"}},
    "update-key-alias": {"key_info": {"key_id": KEY_ID, "key_alias": "demo-ext"}},
    "update-key-description": {"key_info": {"key_id": KEY_ID, "key_description": "测试 desc"}},
    "schedule-key-deletion": {"key_id": KEY_ID, "key_state": "4"},
    "cancel-key-deletion": {"key_id": KEY_ID, "key_state": "3"},
    "get-key-rotation-status": {
        "key_rotation_enabled": False,
        "rotation_interval": 0,
        "last_rotation_time": "",
        "number_of_rotations": 0,
        "key_materials": [],
    },
    "encrypt-data": {"key_id": KEY_ID, "cipher_text": "MII="},
    "decrypt-data": {"key_id": KEY_ID, "plain_text": "ABC", "plain_text_base64": "QUJD"},
    "re-encrypt": {
        "key_id": KEY_ID,
        "source_key_id": OTHER_ID,
        "source_encryption_algorithm": "SYMMETRIC_DEFAULT",
        "destination_encryption_algorithm": "SYMMETRIC_DEFAULT",
        "cipher_text": "MII=",
    },
    "create-datakey": {"key_id": KEY_ID, "plain_text": "414243", "cipher_text": "3082"},
    "create-datakey-without-plaintext": {"key_id": KEY_ID, "cipher_text": "3082"},
    "encrypt-datakey": {"key_id": KEY_ID, "cipher_text": "3082", "datakey_length": "64"},
    "decrypt-datakey": {
        "data_key": "414243",
        "datakey_length": "3",
        "datakey_dgst": "B5D4045C3F466FA91FE2CC6ABE79232A1A57CDF104F7A26E716E0A1E2789DF78",
    },
    "gen-random": {"random_data": "414243"},
    "user-instances": {"instance_num": 3},
    "user-quotas": {
        "quotas": {
            "resources": [
                {"type": "CMK", "used": 3, "quota": 2147483647},
                {"type": "grant_per_CMK", "used": 0, "quota": 0},
            ]
        }
    },
    "projects": {
        "projects": [
            {
                "id": "acme",
                "name": "acme",
                "domain_id": "acme",
                "parent_id": "acme",
                "is_domain": False,
                "enabled": True,
                "description": "",
                "links": {"self": "/v3/projects/acme"},
            }
        ],
        "links": {"self": "/v3/projects", "previous": None, "next": None},
    },
}
RESPONSES = {
    "create-key": v2.CreateKeyResponse,
    "describe-key": v2.ListKeyDetailResponse,
    "list-keys": v2.ListKeysResponse,
    "get-parameters-for-import": v2.CreateParametersForImportResponse,
    "import-key-material": v2.ImportKeyMaterialResponse,
    "delete-imported-key-material": v2.DeleteImportedKeyMaterialResponse,
    "enable-key": v2.EnableKeyResponse,
    "disable-key": v2.DisableKeyResponse,
    "update-key-alias": v2.UpdateKeyAliasResponse,
    "update-key-description": v2.UpdateKeyDescriptionResponse,
    "schedule-key-deletion": v2.DeleteKeyResponse,
    "cancel-key-deletion": v2.CancelKeyDeletionResponse,
    "get-key-rotation-status": v2.ShowKeyRotationStatusResponse,
    "encrypt-data": v2.EncryptDataResponse,
    "decrypt-data": v2.DecryptDataResponse,
    "re-encrypt": v2.ReEncryptResponse,
    "create-datakey": v2.CreateDatakeyResponse,
    "create-datakey-without-plaintext": v2.CreateDatakeyWithoutPlaintextResponse,
    "encrypt-datakey": v2.EncryptDatakeyResponse,
    "decrypt-datakey": v2.DecryptDatakeyResponse,
    "gen-random": v2.CreateRandomResponse,
    "user-instances": v2.ShowUserInstancesResponse,
    "user-quotas": v2.ShowUserQuotasResponse,
}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_outcome_becomes_the_documented_fields(name: str) -> None:
    assert show(name, OUTCOMES[name]) == REPLIES[name]


def test_the_operations_of_the_api_are_those_of_the_official_models() -> None:
    assert set(RESPONSES) | {"projects"} == set(OPERATIONS)


def unlike(value: object, documented: str) -> list[str]:
    """Return where `value` is not of the type that the official SDK documents, or lacks a field of it."""
    if inner := re.fullmatch(r"list\[(.*)\]", documented):
        assert isinstance(value, list)
        return [place for each in value for place in unlike(each, inner[1])]
    if documented in {"str", "int", "bool"}:
        return [] if type(value).__name__ == documented else [f"{value!r} is no {documented}"]
    model = getattr(v2, documented)
    assert isinstance(value, dict)
    lacking = [f"{documented}.{name}" for name in set(model.openapi_types) ^ set(value)]
    return lacking + [place for name, kind in model.openapi_types.items() for place in unlike(value.get(name), kind)]


@pytest.mark.parametrize("name", sorted(RESPONSES))
def test_every_field_of_the_official_model_is_answered_in_its_type_and_no_other(name: str) -> None:
    assert not unlike(show(name, OUTCOMES[name]), RESPONSES[name].__name__)


def test_the_version_has_every_field_of_the_official_model() -> None:
    assert not unlike(VERSIONS, "ShowVersionsResponse")
    assert [VERSION["version"]] == VERSIONS["versions"]


@pytest.mark.parametrize(
    ("offset", "keys", "marker", "truncated"), [(0, 2, "2", "true"), (7, 2, "", "false"), (40, 0, "", "false")]
)
def test_a_page_says_where_the_next_begins(offset: int, keys: int, marker: str, truncated: str) -> None:
    page = show("list-keys", commands.KeysShown(9, [SHOWN] * keys), members={"marker": str(offset)})
    assert (page["next_marker"], page["truncated"], page["total"]) == (marker, truncated, 9)
    assert len(page["keys"]) == len(page["key_details"]) == keys


def details_of(shown: commands.KeyShown, view: View = VIEW) -> Any:  # noqa: ANN401
    return show("describe-key", shown, view)["key_info"]


@pytest.mark.parametrize(
    ("state", "number"),
    [
        (KeyState.ENABLED, "2"),
        (KeyState.DISABLED, "3"),
        (KeyState.PENDING_DELETE, "4"),
        (KeyState.PENDING_IMPORT, "5"),
        (KeyState.ARCHIVED, "7"),
    ],
)
def test_the_states_are_numbered_as_documented(state: KeyState, number: str) -> None:
    assert details_of(commands.KeyShown(key(), state)) == DETAILS | {"key_state": number}


def test_the_sm_edition_is_shown_by_its_cipher() -> None:
    assert details_of(SHOWN, SM_VIEW) == DETAILS | {"key_spec": "SM4"}


def test_generated_material_expiry_and_deletion_are_shown() -> None:
    generated = commands.KeyShown(key(origin=Origin.GENERATED), KeyState.ENABLED)
    assert details_of(generated) == DETAILS | {"origin": "kms"}
    expiring = commands.KeyShown(key(valid_to=from_seconds(NOW + 5)), KeyState.ENABLED)
    assert details_of(expiring) == DETAILS | {"expiration_time": f"{NOW + 5}000"}
    expired = commands.KeyShown(key(valid_to=from_seconds(NOW - 5)), KeyState.PENDING_IMPORT)
    assert details_of(expired) == DETAILS | {"key_state": "5"}
    assert details_of(DOOMED) == DETAILS | {"key_state": "4", "scheduled_deletion_date": f"{NOW + 9}000"}


def test_a_quota_is_what_the_operator_set() -> None:
    shown = show("user-quotas", commands.ServiceShown(Edition.FIPS, (), 3, 50))
    assert shown["quotas"]["resources"][0] == {"type": "CMK", "used": 3, "quota": 50}


def test_the_project_of_any_region_is_the_account() -> None:
    [project] = show("projects", commands.Done(), members={"name": "cn-north-7"})["projects"]
    assert (project["id"], project["name"]) == ("acme", "cn-north-7")
