from __future__ import annotations

import logging
import re

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


def test_every_error_that_may_reach_the_wire_has_a_code() -> None:
    assert set(CODES) == errors.leaves(errors.CallerFault) | errors.leaves(errors.ServiceFault)


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


@pytest.mark.parametrize("kind", sorted(errors.leaves(errors.ServiceFault), key=str))
def test_what_went_wrong_inside_is_logged_and_not_said(
    kind: type[errors.HsmkmsError], caplog: pytest.LogCaptureFixture
) -> None:
    said = refusal(kind("host 3: CKR_DEVICE_ERROR"))
    assert said.message == kind.text
    assert [record.__dict__["reason"] for record in caplog.records] == ["host 3: CKR_DEVICE_ERROR"]


@pytest.mark.parametrize("error", [errors.ConfigurationInvalid("/etc/hsmkms.toml"), errors.PinRefused()])
def test_an_operators_fault_is_an_internal_error_to_a_caller(
    error: errors.HsmkmsError, caplog: pytest.LogCaptureFixture
) -> None:
    said = refusal(error)
    assert (said.code, said.message) == ("InternalError", errors.InternalFault.text)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_no_sentence_of_the_tree_names_a_return_value_of_the_token() -> None:
    assert not [kind for kind in CODES if re.search("CKR|PKCS", kind.text)]
