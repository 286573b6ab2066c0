"""Every error as this dialect says it: a code, a status and a message, in one of the cloud's two envelopes.

Sources: the error code table of the Huawei Cloud DEW API reference; the common error codes of API Gateway, which says
who may not pass. The tables give no status for most codes of KMS: it is 400 there, as in what the cloud answers.

Laws:

- the table is total over `CallerFault` and `ServiceFault`;
- two errors are told apart further than by their class: a wrong field by the field and the operation, what a key's
  state forbids by the action and the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hsmkms.core import errors
from hsmkms.core.keys import KeyAction, KeyState
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
_CONTEXT: Final = Code("KMS.0208")
_DISABLED: Final = Code("KMS.0209")
_PENDING_DELETION: Final = Code("KMS.0210")
_PENDING_IMPORT: Final = Code("KMS.0310")
_DATA_KEY_SPEC: Final = Code("KMS.1902")

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
    errors.KeyOutOfScope: Code("KMS.0306", HTTPStatus.FORBIDDEN),
    errors.RoleMissing: Code("KMS.0307", HTTPStatus.FORBIDDEN),
    # what do you ask
    errors.RequestRateExceeded: Code("APIGW.0308", HTTPStatus.TOO_MANY_REQUESTS),
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
    errors.TagKeysRepeated: _INVALID,
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
    # the use of a key
    errors.CiphertextInvalid: _INVALID,
    errors.DataKeyDigestWrong: Code("KMS.2103"),
    errors.KeyUsedUp: _INVALID,
    errors.CipherNotOffered: _INVALID,
    errors.RotationOfExternal: Code("KMS.0312"),
    errors.RotationNotOffered: Code("KMS.0313"),
    # the service
    errors.TokenNotAsked: _UNAVAILABLE,
    errors.TokenGaveNoAnswer: _UNAVAILABLE,
    errors.ServiceOverloaded: _UNAVAILABLE,
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
    "source_key_id": _KEY_ID,
    "destination_key_id": _KEY_ID,
    "pending_days": Code("KMS.1401"),
    "random_data_length": Code("KMS.1801"),
    "additional_authenticated_data": _CONTEXT,
    "encryption_context": _CONTEXT,
    "source_additional_authenticated_data": _CONTEXT,
    "destination_additional_authenticated_data": _CONTEXT,
}
"""Fields whose wrong values have a code of their own; those of all others are `_INVALID`."""

FIELD_CODES_OF: Final[Mapping[str, Mapping[str, Code]]] = {
    "create-datakey": {"datakey_length": Code("KMS.1901"), "key_spec": _DATA_KEY_SPEC},
    "create-datakey-without-plaintext": {"datakey_length": Code("KMS.2001"), "key_spec": _DATA_KEY_SPEC},
    "encrypt-datakey": {"plain_text": Code("KMS.2101"), "datakey_plain_length": Code("KMS.2102")},
    "decrypt-datakey": {"cipher_text": Code("KMS.2201"), "datakey_cipher_length": Code("KMS.2202")},
}
"""As `FIELD_CODES`, of one operation; also what is not offered as a value here."""


def _in_every_state(code: Code) -> Mapping[str, Code]:
    return dict.fromkeys(KeyState, code)


_OF_USE: Final[Mapping[str, Code]] = {
    KeyState.DISABLED: _DISABLED,
    KeyState.ARCHIVED: _DISABLED,
    KeyState.PENDING_DELETE: _PENDING_DELETION,
    KeyState.PENDING_IMPORT: _PENDING_IMPORT,
}
STATE_CODES: Final[Mapping[str, Mapping[str, Code]]] = {
    KeyAction.GET_PARAMETERS: _in_every_state(_PENDING_IMPORT),
    KeyAction.IMPORT_MATERIAL: _in_every_state(_PENDING_IMPORT),
    KeyAction.DELETE_MATERIAL: _in_every_state(Code("KMS.2701")),
    KeyAction.ENABLE: _in_every_state(Code("KMS.1201")),
    KeyAction.DISABLE: _in_every_state(Code("KMS.1301")),
    KeyAction.RELABEL: _in_every_state(_PENDING_DELETION),
    KeyAction.ENCRYPT: _OF_USE,
    KeyAction.DECRYPT: _OF_USE,
    KeyAction.SCHEDULE_DELETION: _in_every_state(Code("KMS.1402")),
    KeyAction.CANCEL_DELETION: _in_every_state(Code("KMS.1501")),
}
"""What a key's state forbids, by action and state; this cloud has no operation for the actions that are not here."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the wire says it."""

    code: Code
    message: str

    def envelope(self, request_id: RequestId) -> JsonObject:
        """Return the members of the body."""
        said: JsonObject = {"error_code": self.code.text, "error_msg": self.message}
        return said | {"request_id": request_id} if self.code.of_gateway else {"error": said}


def refusal(error: errors.HsmkmsError, operation: str | None = None) -> Refusal:
    """Return how this dialect says `error`; `operation` is what was asked for, as far as it is known."""
    code, message = row_and_sentence(error, CODES)
    if code is _NOT_AUTHENTICATED:
        message = _INTRODUCTION + message
    match error:
        case errors.FieldInvalid(field=field) | errors.NotOffered(field=field):
            code = FIELD_CODES_OF.get(operation or "", {}).get(field, FIELD_CODES.get(field, code))
        case errors.KeyStateForbids(action=action, state=state):
            code = STATE_CODES.get(action, {}).get(state, code)
        case _:
            pass
    return Refusal(code, message)
