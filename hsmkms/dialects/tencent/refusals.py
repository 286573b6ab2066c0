"""Every error as this dialect says it: a code and a message.

Sources: the error code tables of the Tencent Cloud KMS API 2019-01-18 and its common error codes.

Law: the table is total over `CallerFault` and `ServiceFault`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core import errors
from hsmkms.dialects.refusing import row_and_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTERNAL: Final = "InternalError"
_INVALID: Final = "InvalidParameter"
_STATE: Final = "ResourceUnavailable.CmkStateNotSupport"
_UNAVAILABLE: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"

CODES: Final[Mapping[type[errors.HsmkmsError], str]] = {
    # who are you
    errors.AuthorizationMalformed: "AuthFailure.InvalidAuthorization",
    errors.CredentialUnknown: "AuthFailure.SecretIdNotFound",
    errors.SignatureMismatch: "AuthFailure.SignatureFailure",
    errors.SignatureExpired: "AuthFailure.SignatureExpire",
    errors.AuthTokenUnknown: "AuthFailure.InvalidAuthorization",
    errors.AccountForeign: "AuthFailure.UnauthorizedOperation",
    # what do you ask
    errors.ProtocolUnsupported: "UnsupportedProtocol",
    errors.ActionUnknown: "InvalidAction",
    errors.VersionUnknown: "NoSuchVersion",
    errors.BodyMalformed: _INVALID,
    errors.BodyTooLarge: _INVALID,
    errors.FieldMissing: "MissingParameter",
    errors.FieldUnknown: "UnknownParameter",
    errors.FieldInvalid: _INVALID,
    errors.NotOffered: _INVALID,
    errors.AliasInvalid: "InvalidParameterValue.InvalidAlias",
    errors.AliasTaken: "InvalidParameterValue.AliasAlreadyExists",
    errors.TooManyKeys: "LimitExceeded.CmkLimitExceeded",
    errors.KeyTypeInvalid: "InvalidParameterValue.InvalidType",
    errors.KeyUsageInvalid: "InvalidParameterValue.InvalidKeyUsage",
    errors.KeyUsageNotOffered: "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion",
    errors.KeyIdsRepeated: "InvalidParameterValue.DuplicatedKeyId",
    errors.AccountInvalid: _INVALID,
    # which key
    errors.KeyIdMalformed: "InvalidParameterValue.InvalidKeyId",
    errors.KeyNotFound: "ResourceUnavailable.CmkNotFound",
    errors.KeyNotExternal: "UnsupportedOperation.NotExternalCmk",
    errors.KeyStateForbids: _STATE,
    # the import
    errors.ExpiryInvalid: _INVALID,
    errors.ImportTokenUnknown: _INVALID,
    errors.ImportTokenForeign: _INVALID,
    errors.ImportTokenOver: "ResourceUnavailable.TokenExpired",
    errors.CiphertextSizeWrong: _INVALID,
    errors.MaterialUndecryptable: "InvalidParameter.DecryptMaterialError",
    errors.MaterialLengthWrong: "InvalidParameter.DecryptMaterialError",
    errors.MaterialMismatch: "InvalidParameterValue.MaterialNotMatch",
    # the service
    errors.TokenNotAsked: _UNAVAILABLE,
    errors.TokenGaveNoAnswer: _UNAVAILABLE,
    errors.StoreUnavailable: _UNAVAILABLE,
    errors.ChangedMeanwhile: _UNAVAILABLE,
    errors.RecordBroken: _INTERNAL,
    errors.InternalFault: _INTERNAL,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the wire says it."""

    code: str
    message: str


def refusal(error: errors.HsmkmsError) -> Refusal:
    """Return how this dialect says `error`."""
    return Refusal(*row_and_sentence(error, CODES))
