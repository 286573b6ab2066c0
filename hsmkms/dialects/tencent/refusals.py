"""Every error as this dialect says it: a code and a message.

Sources: the error code tables of the Tencent Cloud KMS API 2019-01-18 and its common error codes.

Laws:

- the table is total over `CallerFault` and `ServiceFault`;
- two errors are told apart further than by their class: a wrong field by the field, and what a key's state forbids by
  the action and the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core import errors
from hsmkms.core.keys import KeyAction, KeyState
from hsmkms.dialects.refusing import row_and_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTERNAL: Final = "InternalError"
_INVALID: Final = "InvalidParameter"
_UNAUTHORIZED: Final = "AuthFailure.UnauthorizedOperation"
_STATE: Final = "ResourceUnavailable.CmkStateNotSupport"
_UNAVAILABLE: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"

CODES: Final[Mapping[type[errors.HsmkmsError], str]] = {
    # who are you
    errors.AuthorizationMalformed: "AuthFailure.InvalidAuthorization",
    errors.CredentialUnknown: "AuthFailure.SecretIdNotFound",
    errors.SignatureMismatch: "AuthFailure.SignatureFailure",
    errors.SignatureExpired: "AuthFailure.SignatureExpire",
    errors.AuthTokenUnknown: "AuthFailure.InvalidAuthorization",
    errors.AccountForeign: _UNAUTHORIZED,
    errors.RoleMissing: _UNAUTHORIZED,
    errors.KeyOutOfScope: _UNAUTHORIZED,
    # what do you ask
    errors.RequestRateExceeded: "RequestLimitExceeded",
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
    errors.TagKeysRepeated: "InvalidParameterValue.TagKeysDuplicated",
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
    # the use of a key
    errors.CiphertextInvalid: "InvalidParameterValue.InvalidCiphertext",
    errors.DataKeyDigestWrong: _INVALID,
    errors.KeyUsedUp: "LimitExceeded.KeyLimitExceeded",
    errors.CipherNotOffered: "UnsupportedOperation",
    errors.RotationOfExternal: "UnsupportedOperation.ExternalCmkCanNotRotate",
    errors.RotationNotOffered: "UnsupportedOperation.RotateNotSupported",
    # the service
    errors.TokenNotAsked: _UNAVAILABLE,
    errors.TokenGaveNoAnswer: _UNAVAILABLE,
    errors.ServiceOverloaded: _UNAVAILABLE,
    errors.StoreUnavailable: _UNAVAILABLE,
    errors.ChangedMeanwhile: _UNAVAILABLE,
    errors.RecordBroken: _INTERNAL,
    errors.InternalFault: _INTERNAL,
}

FIELD_CODES: Final[Mapping[str, str]] = {
    "Plaintext": "InvalidParameterValue.InvalidPlaintext",
    "PendingWindowInDays": "InvalidParameter.InvalidPendingWindowInDays",
}
"""Fields whose wrong values have a code of their own; those of all others are `InvalidParameter`."""

_OF_USE: Final[Mapping[str, str]] = {
    KeyState.DISABLED: "ResourceUnavailable.CmkDisabled",
    KeyState.PENDING_DELETE: "ResourceUnavailable.KeyPendingDelete",
    KeyState.ARCHIVED: "ResourceUnavailable.CmkArchived",
}
STATE_CODES: Final[Mapping[str, Mapping[str, str]]] = {
    KeyAction.ENCRYPT: _OF_USE,
    KeyAction.DECRYPT: _OF_USE,
    KeyAction.SCHEDULE_DELETION: dict.fromkeys(KeyState, "ResourceUnavailable.CmkShouldBeDisabled"),
    KeyAction.CANCEL_DELETION: dict.fromkeys(KeyState, "ResourceUnavailable.CmkNotPendingDelete"),
}
"""What a key's state forbids, by action and state; all that is not here is `CmkStateNotSupport`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the wire says it."""

    code: str
    message: str


def refusal(error: errors.HsmkmsError) -> Refusal:
    """Return how this dialect says `error`."""
    code, message = row_and_sentence(error, CODES)
    match error:
        case errors.FieldInvalid(field=field):
            code = FIELD_CODES.get(field, code)
        case errors.KeyStateForbids(action=action, state=state):
            code = STATE_CODES.get(action, {}).get(state, code)
        case _:
            pass
    return Refusal(code, message)
