from __future__ import annotations

import pytest
from tencentcloud.kms.v20190118 import errorcodes

from hsmkms.core import errors
from hsmkms.core.keys import KeyAction, KeyState
from hsmkms.dialects.tencent.refusals import CODES, FIELD_CODES, STATE_CODES, refusal
from hsmkms.dialects.tencent.states import POLICY

COMMON_CODES = {
    "AuthFailure.InvalidAuthorization",
    "AuthFailure.SecretIdNotFound",
    "AuthFailure.SignatureFailure",
    "AuthFailure.SignatureExpire",
    "InvalidAction",
    "NoSuchVersion",
    "RequestLimitExceeded",
    "UnknownParameter",
    "UnsupportedProtocol",
}


def test_every_code_is_one_that_the_api_documents() -> None:
    documented = {value for name, value in vars(errorcodes).items() if name.isupper()} | COMMON_CODES
    of_states = {code for row in STATE_CODES.values() for code in row.values()}
    assert {*CODES.values(), *FIELD_CODES.values(), *of_states} <= documented


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.FieldInvalid("ValidTo", "too late."), "InvalidParameter"),
        (errors.CiphertextSizeWrong(256), "InvalidParameter"),
        (errors.ExpiryInvalid(), "InvalidParameter"),
        (errors.ImportTokenUnknown(), "InvalidParameter"),
        (errors.ImportTokenForeign(), "InvalidParameter"),
        (errors.NotOffered("WrappingAlgorithm", ("RSAES_OAEP_SHA_256",)), "InvalidParameter"),
        (errors.MaterialUndecryptable(), "InvalidParameter.DecryptMaterialError"),
        (errors.MaterialLengthWrong(256), "InvalidParameter.DecryptMaterialError"),
        (errors.KeyIdMalformed(), "InvalidParameterValue.InvalidKeyId"),
        (errors.MaterialMismatch(), "InvalidParameterValue.MaterialNotMatch"),
        (errors.KeyNotFound(), "ResourceUnavailable.CmkNotFound"),
        (errors.KeyStateForbids("Disabled", "enable it", ("Enabled",)), "ResourceUnavailable.CmkStateNotSupport"),
        *((errors.ImportTokenOver(end), "ResourceUnavailable.TokenExpired") for end in errors.TicketEnd),
        (errors.KeyNotExternal(), "UnsupportedOperation.NotExternalCmk"),
        (errors.TokenNotAsked(), "UnsupportedOperation.ServiceTemporaryUnavailable"),
        (errors.TokenGaveNoAnswer(), "UnsupportedOperation.ServiceTemporaryUnavailable"),
        (errors.StoreUnavailable(), "UnsupportedOperation.ServiceTemporaryUnavailable"),
        (errors.ChangedMeanwhile(), "UnsupportedOperation.ServiceTemporaryUnavailable"),
        (errors.RecordBroken(), "InternalError"),
        (errors.AliasTaken(), "InvalidParameterValue.AliasAlreadyExists"),
        (errors.AliasInvalid(), "InvalidParameterValue.InvalidAlias"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_codes_of_the_import_actions(error: errors.HsmkmsError, code: str) -> None:
    said = refusal(error)
    assert said.code == code
    assert said.message == error.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CiphertextInvalid(), "InvalidParameterValue.InvalidCiphertext"),
        (errors.KeyUsedUp(), "LimitExceeded.KeyLimitExceeded"),
        (errors.CipherNotOffered("AES_256_GCM"), "UnsupportedOperation"),
        (errors.RotationOfExternal(), "UnsupportedOperation.ExternalCmkCanNotRotate"),
        (errors.RotationNotOffered(), "UnsupportedOperation.RotateNotSupported"),
        (errors.TagKeysRepeated(), "InvalidParameterValue.TagKeysDuplicated"),
        (errors.FieldInvalid("Plaintext", "why."), "InvalidParameterValue.InvalidPlaintext"),
        (errors.FieldInvalid("PendingWindowInDays", "why."), "InvalidParameter.InvalidPendingWindowInDays"),
        (errors.FieldInvalid("EncryptionContext", "why."), "InvalidParameter"),
        (errors.FieldMissing("PendingWindowInDays"), "MissingParameter"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_codes_of_use_and_life(error: errors.HsmkmsError, code: str) -> None:
    assert refusal(error).code == code
    assert refusal(error).message == error.message


USE = (KeyAction.ENCRYPT, KeyAction.DECRYPT)
BY_STATE = {
    **{(action, KeyState.DISABLED): "ResourceUnavailable.CmkDisabled" for action in USE},
    **{(action, KeyState.PENDING_DELETE): "ResourceUnavailable.KeyPendingDelete" for action in USE},
    **{(action, KeyState.ARCHIVED): "ResourceUnavailable.CmkArchived" for action in USE},
    **{(KeyAction.SCHEDULE_DELETION, state): "ResourceUnavailable.CmkShouldBeDisabled" for state in KeyState},
    **{(KeyAction.CANCEL_DELETION, state): "ResourceUnavailable.CmkNotPendingDelete" for state in KeyState},
}
"""What a state forbids with a code of its own; everything else is CmkStateNotSupport."""


@pytest.mark.parametrize("state", KeyState)
@pytest.mark.parametrize("action", KeyAction)
def test_what_a_state_forbids_is_told_by_action_and_state(action: KeyAction, state: KeyState) -> None:
    said = refusal(errors.KeyStateForbids(state, action, POLICY.allowed[action]))
    assert said.code == BY_STATE.get((action, state), "ResourceUnavailable.CmkStateNotSupport")
    assert state.value in said.message


def test_a_wrong_length_names_the_length_needed_and_a_wrong_algorithm_those_offered() -> None:
    assert "256 bits" in refusal(errors.MaterialLengthWrong(256)).message
    assert "RSAES_OAEP_SHA_256" in refusal(errors.NotOffered("X", ("RSAES_OAEP_SHA_256",))).message
