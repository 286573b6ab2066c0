from __future__ import annotations

import pytest
from tencentcloud.kms.v20190118 import errorcodes

from hsmkms.core import errors
from hsmkms.dialects.tencent.refusals import CODES, refusal

COMMON_CODES = {
    "AuthFailure.InvalidAuthorization",
    "AuthFailure.SecretIdNotFound",
    "AuthFailure.SignatureFailure",
    "AuthFailure.SignatureExpire",
    "InvalidAction",
    "NoSuchVersion",
    "UnknownParameter",
    "UnsupportedProtocol",
}


def test_every_code_is_one_that_the_api_documents() -> None:
    documented = {value for name, value in vars(errorcodes).items() if name.isupper()} | COMMON_CODES
    assert set(CODES.values()) <= documented


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


def test_a_wrong_length_names_the_length_needed_and_a_wrong_algorithm_those_offered() -> None:
    assert "256 bits" in refusal(errors.MaterialLengthWrong(256)).message
    assert "RSAES_OAEP_SHA_256" in refusal(errors.NotOffered("X", ("RSAES_OAEP_SHA_256",))).message
