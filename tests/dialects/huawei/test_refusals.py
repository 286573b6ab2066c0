from __future__ import annotations

import json
import re

import pytest

from hsmkms.core import errors
from hsmkms.core.ids import RequestId
from hsmkms.core.keys import KeyAction, KeyState
from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.huawei.refusals import CODES, FIELD_CODES, FIELD_CODES_OF, STATE_CODES, refusal
from hsmkms.dialects.huawei.states import POLICY

REQUEST_ID = RequestId("5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11")
INTRODUCTION = "Incorrect IAM authentication information: "
AUTHENTICATION = [
    errors.AuthorizationMalformed(),
    errors.CredentialUnknown(),
    errors.SignatureMismatch(),
    errors.SignatureExpired(),
]
SAID: list[tuple[errors.HsmkmsError, str, int]] = [
    *((error, "APIGW.0301", 401) for error in AUTHENTICATION),
    (errors.AuthTokenUnknown(), "KMS.0301", 401),
    (errors.AccountForeign(), "APIGW.0302", 403),
    (errors.ProtocolUnsupported(), "APIGW.0101", 404),
    (errors.ActionUnknown(), "APIGW.0101", 404),
    (errors.VersionUnknown(), "APIGW.0101", 404),
    (errors.KeyOutOfScope(), "KMS.0306", 403),
    (errors.RoleMissing(("user",)), "KMS.0307", 403),
    (errors.RequestRateExceeded("encrypt-data", 0.5), "APIGW.0308", 429),
    (errors.BodyMalformed(), "KMS.0202", 400),
    (errors.BodyTooLarge(), "KMS.0203", 400),
    *((errors.FieldMissing(field), "KMS.0204", 400) for field in ("key_id", "key_alias", "import_token")),
    (errors.FieldUnknown("limit"), "KMS.0308", 400),
    (errors.FieldInvalid("expiration_time", "too late."), "KMS.0308", 400),
    (errors.FieldInvalid("key_id", "send a string."), "KMS.0205", 400),
    (errors.FieldInvalid("sequence", "too long."), "KMS.0206", 400),
    (errors.FieldInvalid("key_alias", "send a string."), "KMS.1101", 400),
    (errors.FieldInvalid("key_description", "too long."), "KMS.1103", 400),
    (errors.FieldInvalid("limit", "send at least 1."), "KMS.1601", 400),
    (errors.FieldInvalid("marker", "send at least 0."), "KMS.1602", 400),
    (errors.FieldInvalid("source_key_id", "send a string."), "KMS.0205", 400),
    (errors.FieldInvalid("destination_key_id", "send a string."), "KMS.0205", 400),
    *(
        (errors.FieldInvalid(field, "too long."), "KMS.0208", 400)
        for field in (
            "encryption_context",
            "additional_authenticated_data",
            "source_additional_authenticated_data",
            "destination_additional_authenticated_data",
        )
    ),
    (errors.FieldInvalid("pending_days", "send at least 7."), "KMS.1401", 400),
    (errors.FieldInvalid("random_data_length", "send at least 8."), "KMS.1801", 400),
    (errors.NotOffered("wrapping_algorithm", ("RSAES_OAEP_SHA_256",)), "KMS.0308", 400),
    (errors.AliasInvalid(), "KMS.1101", 400),
    (errors.AliasTaken(), "KMS.1104", 400),
    (errors.TooManyKeys(3), "KMS.1105", 400),
    (errors.KeyTypeInvalid(), "KMS.0308", 400),
    (errors.KeyUsageInvalid(), "KMS.0308", 400),
    (errors.KeyUsageNotOffered(), "KMS.0308", 400),
    (errors.KeyIdsRepeated(), "KMS.0308", 400),
    (errors.TagKeysRepeated(), "KMS.0308", 400),
    (errors.AccountInvalid(), "KMS.0308", 400),
    (errors.KeyIdMalformed(), "KMS.0205", 400),
    (errors.KeyNotFound(), "KMS.0207", 404),
    (errors.KeyNotExternal(), "KMS.0309", 400),
    *(
        (errors.KeyStateForbids("Archived", action, ("Enabled",)), code, 400)
        for action, code in [
            (KeyAction.GET_PARAMETERS, "KMS.0310"),
            (KeyAction.IMPORT_MATERIAL, "KMS.0310"),
            (KeyAction.DELETE_MATERIAL, "KMS.2701"),
            (KeyAction.ENABLE, "KMS.1201"),
            (KeyAction.DISABLE, "KMS.1301"),
            (KeyAction.RELABEL, "KMS.0210"),
            (KeyAction.SCHEDULE_DELETION, "KMS.1402"),
            (KeyAction.CANCEL_DELETION, "KMS.1501"),
            (KeyAction.ENCRYPT, "KMS.0209"),
            (KeyAction.ARCHIVE, "KMS.0308"),
        ]
    ),
    *(
        (errors.KeyStateForbids(state, action, ("Enabled",)), code, 400)
        for action in (KeyAction.ENCRYPT, KeyAction.DECRYPT)
        for state, code in [
            (KeyState.DISABLED, "KMS.0209"),
            (KeyState.PENDING_DELETE, "KMS.0210"),
            (KeyState.PENDING_IMPORT, "KMS.0310"),
        ]
    ),
    (errors.ExpiryInvalid(), "KMS.2602", 400),
    (errors.ImportTokenUnknown(), "KMS.2605", 400),
    (errors.ImportTokenForeign(), "KMS.2603", 400),
    *((errors.ImportTokenOver(end), "KMS.2601", 400) for end in errors.TicketEnd),
    (errors.CiphertextSizeWrong(256), "KMS.0308", 400),
    (errors.MaterialUndecryptable(), "KMS.0311", 400),
    (errors.MaterialLengthWrong(256), "KMS.2604", 400),
    (errors.MaterialMismatch(), "KMS.2606", 400),
    (errors.CiphertextInvalid(), "KMS.0308", 400),
    (errors.DataKeyDigestWrong(), "KMS.2103", 400),
    (errors.KeyUsedUp(), "KMS.0308", 400),
    (errors.CipherNotOffered("SM4_GCM"), "KMS.0308", 400),
    (errors.RotationOfExternal(), "KMS.0312", 400),
    (errors.RotationNotOffered(), "KMS.0313", 400),
    (errors.TokenNotAsked(), "KMS.0102", 503),
    (errors.TokenGaveNoAnswer(), "KMS.0102", 503),
    (errors.ServiceOverloaded(), "KMS.0102", 503),
    (errors.StoreUnavailable(), "KMS.0102", 503),
    (errors.ChangedMeanwhile(), "KMS.0102", 503),
    (errors.RecordBroken(), "KMS.0101", 500),
    (errors.InternalFault(), "KMS.0101", 500),
]


def test_the_table_below_says_every_error_once() -> None:
    assert {type(error) for error, _code, _status in SAID} == set(CODES)


@pytest.mark.parametrize(
    ("error", "code", "status"), SAID, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else ""
)
def test_every_error_has_its_code_its_status_and_its_envelope(
    error: errors.HsmkmsError, code: str, status: int
) -> None:
    said = refusal(error)
    assert (said.code.text, said.code.status) == (code, status)
    message = INTRODUCTION + error.message if code == "APIGW.0301" else error.message
    envelope = json.loads(json.dumps(said.envelope(REQUEST_ID)))
    if code.startswith("APIGW."):
        assert envelope == {"error_code": code, "error_msg": message, "request_id": REQUEST_ID}
    else:
        assert envelope == {"error": {"error_code": code, "error_msg": message}}


@pytest.mark.parametrize(
    ("operation", "field", "code"),
    [
        ("create-datakey", "datakey_length", "KMS.1901"),
        ("create-datakey", "key_spec", "KMS.1902"),
        ("create-datakey-without-plaintext", "datakey_length", "KMS.2001"),
        ("create-datakey-without-plaintext", "key_spec", "KMS.1902"),
        ("encrypt-datakey", "plain_text", "KMS.2101"),
        ("encrypt-datakey", "datakey_plain_length", "KMS.2102"),
        ("decrypt-datakey", "cipher_text", "KMS.2201"),
        ("decrypt-datakey", "datakey_cipher_length", "KMS.2202"),
        ("create-key", "key_spec", "KMS.0308"),
        ("encrypt-data", "plain_text", "KMS.0308"),
        ("encrypt-datakey", "key_spec", "KMS.0308"),
        ("encrypt-datakey", "key_id", "KMS.0205"),
        (None, "datakey_length", "KMS.0308"),
    ],
)
def test_a_field_may_have_a_code_of_one_operation(operation: str | None, field: str, code: str) -> None:
    assert refusal(errors.FieldInvalid(field, "wrong."), operation).code.text == code
    assert refusal(errors.NotOffered(field), operation).code.text == code


def test_only_operations_and_their_fields_have_codes_of_their_own() -> None:
    for operation, codes in FIELD_CODES_OF.items():
        assert set(codes) <= set(OPERATIONS[operation].model.model_fields)
    assert set(FIELD_CODES) <= {name for row in OPERATIONS.values() for name in row.model.model_fields}


def test_every_action_that_a_state_can_forbid_here_has_a_code_in_every_such_state() -> None:
    assert set(STATE_CODES) == set(KeyAction) - {KeyAction.ARCHIVE, KeyAction.CANCEL_ARCHIVE}
    for action, codes in STATE_CODES.items():
        assert set(codes) >= set(KeyState) - set(POLICY.allowed[KeyAction(action)])


def test_every_code_is_of_the_documented_form() -> None:
    of_more = [*FIELD_CODES_OF.values(), *STATE_CODES.values()]
    said = [*CODES.values(), *FIELD_CODES.values(), *(code for codes in of_more for code in codes.values())]
    assert all(re.fullmatch(r"(KMS|APIGW)\.[0-9]{4}", each.text) for each in said)


def test_a_wrong_length_names_the_length_needed_and_a_wrong_algorithm_those_offered() -> None:
    assert "256 bits" in refusal(errors.MaterialLengthWrong(256)).message
    assert "RSAES_OAEP_SHA_256" in refusal(errors.NotOffered("X", ("RSAES_OAEP_SHA_256",))).message
