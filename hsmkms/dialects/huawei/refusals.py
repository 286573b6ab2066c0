"""Every error as this dialect says it: a code, a status and a message, in one of the cloud's two envelopes.

Sources: the error code table of the Huawei Cloud DEW API reference; the common error codes of API Gateway, which says
who may not pass. The tables give no status for most codes of KMS: it is 400 there, as in what the cloud answers.

Laws:

- the table is total over `CallerFault` and `ServiceFault`;
- two errors are told apart further than by their class: a wrong field by the field, a forbidden action by the action.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hsmkms.core import errors
from hsmkms.core.keys import KeyAction
from hsmkms.dialects.refusing import row_and_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import RequestId
    from hsmkms.dialects.strict_json import JsonObject


@dataclass(frozen=True, slots=True)
class Code:
    """A code of the cloud, and the HTTP status that goes with it."""

    text: str
    status: HTTPStatus = HTTPStatus.BAD_REQUEST

    @property
    def of_gateway(self) -> bool:
        """Whether the cloud's gateway says it, in an envelope of its own."""
        return self.text.startswith("APIGW.")


_INVALID: Final = Code("KMS.0308")
_INTERNAL: Final = Code("KMS.0101", HTTPStatus.INTERNAL_SERVER_ERROR)
_UNAVAILABLE: Final = Code("KMS.0102", HTTPStatus.SERVICE_UNAVAILABLE)
_NOT_AUTHENTICATED: Final = Code("APIGW.0301", HTTPStatus.UNAUTHORIZED)
_NO_SUCH_API: Final = Code("APIGW.0101", HTTPStatus.NOT_FOUND)
_KEY_ID: Final = Code("KMS.0205")
_ALIAS: Final = Code("KMS.1101")

_INTRODUCTION: Final = "Incorrect IAM authentication information: "
"""How the gateway begins to say `_NOT_AUTHENTICATED`; clients look for it."""

CODES: Final[Mapping[type[errors.HsmkmsError], Code]] = {
    # who are you
    errors.AuthorizationMalformed: _NOT_AUTHENTICATED,
    errors.CredentialUnknown: _NOT_AUTHENTICATED,
    errors.SignatureMismatch: _NOT_AUTHENTICATED,
    errors.SignatureExpired: _NOT_AUTHENTICATED,
    errors.AuthTokenUnknown: Code("KMS.0301", HTTPStatus.UNAUTHORIZED),
    errors.AccountForeign: Code("APIGW.0302", HTTPStatus.FORBIDDEN),
    # what do you ask
    errors.ProtocolUnsupported: _NO_SUCH_API,
    errors.ActionUnknown: _NO_SUCH_API,
    errors.VersionUnknown: _NO_SUCH_API,
    errors.BodyMalformed: Code("KMS.0202"),
    errors.BodyTooLarge: Code("KMS.0203"),
    errors.FieldMissing: Code("KMS.0204"),
    errors.FieldUnknown: _INVALID,
    errors.FieldInvalid: _INVALID,
    errors.NotOffered: _INVALID,
    errors.AliasInvalid: _ALIAS,
    errors.AliasTaken: Code("KMS.1104"),
    errors.TooManyKeys: Code("KMS.1105"),
    errors.KeyTypeInvalid: _INVALID,
    errors.KeyUsageInvalid: _INVALID,
    errors.KeyUsageNotOffered: _INVALID,
    errors.KeyIdsRepeated: _INVALID,
    errors.AccountInvalid: _INVALID,
    # which key
    errors.KeyIdMalformed: _KEY_ID,
    errors.KeyNotFound: Code("KMS.0207", HTTPStatus.NOT_FOUND),
    errors.KeyNotExternal: Code("KMS.0309"),
    errors.KeyStateForbids: _INVALID,
    # the import
    errors.ExpiryInvalid: Code("KMS.2602"),
    errors.ImportTokenUnknown: Code("KMS.2605"),
    errors.ImportTokenForeign: Code("KMS.2603"),
    errors.ImportTokenOver: Code("KMS.2601"),
    errors.CiphertextSizeWrong: _INVALID,
    errors.MaterialUndecryptable: Code("KMS.0311"),
    errors.MaterialLengthWrong: Code("KMS.2604"),
    errors.MaterialMismatch: Code("KMS.2606"),
    # the service
    errors.TokenNotAsked: _UNAVAILABLE,
    errors.TokenGaveNoAnswer: _UNAVAILABLE,
    errors.StoreUnavailable: _UNAVAILABLE,
    errors.ChangedMeanwhile: _UNAVAILABLE,
    errors.RecordBroken: _INTERNAL,
    errors.InternalFault: _INTERNAL,
}

FIELD_CODES: Final[Mapping[str, Code]] = {
    "key_id": _KEY_ID,
    "sequence": Code("KMS.0206"),
    "key_alias": _ALIAS,
    "key_description": Code("KMS.1103"),
    "limit": Code("KMS.1601"),
    "marker": Code("KMS.1602"),
}
"""Fields whose wrong values have a code of their own; those of all others are `_INVALID`."""

STATE_CODES: Final[Mapping[str, Code]] = {
    KeyAction.GET_PARAMETERS: Code("KMS.0310"),
    KeyAction.IMPORT_MATERIAL: Code("KMS.0310"),
    KeyAction.DELETE_MATERIAL: Code("KMS.2701"),
    KeyAction.ENABLE: Code("KMS.1201"),
    KeyAction.DISABLE: Code("KMS.1301"),
    KeyAction.RELABEL: Code("KMS.0210"),
}
"""What a key's state forbids, by the action."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the wire says it."""

    code: Code
    message: str

    def envelope(self, request_id: RequestId) -> JsonObject:
        """Return the members of the body."""
        said: JsonObject = {"error_code": self.code.text, "error_msg": self.message}
        return said | {"request_id": request_id} if self.code.of_gateway else {"error": said}


def refusal(error: errors.HsmkmsError) -> Refusal:
    """Return how this dialect says `error`."""
    code, message = row_and_sentence(error, CODES)
    if code is _NOT_AUTHENTICATED:
        message = _INTRODUCTION + message
    match error:
        case errors.FieldInvalid(field=field):
            code = FIELD_CODES.get(field, code)
        case errors.KeyStateForbids(action=action):
            code = STATE_CODES.get(action, code)
        case _:
            pass
    return Refusal(code, message)
