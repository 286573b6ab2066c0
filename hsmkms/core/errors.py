"""The one tree of errors, grouped by whose fault it is.

- `CallerFault`: the request cannot be granted; the message tells the caller what to do.
- `ServiceFault`: the request was fine; this service, its token or its database was not.
- `OperatorFault`: the installation is wrong; it stops a command and never reaches a dialect.

Laws:

- no HTTP status, no cloud's code and no PKCS#11 return value here: only a dialect knows the first two,
  only the hsm room the third;
- no message holds key material, an import token or a secret;
- a class without subclasses is a leaf, and every dialect maps every leaf of the first two groups.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class HsmkmsError(Exception):
    """The root: nothing else leaves a room of this project."""

    text: ClassVar[str] = "The request failed."

    def __init__(self, message: str | None = None) -> None:
        """Take the sentence to show; without one the class's own."""
        self.message = message or self.text
        super().__init__(self.message)


class CallerFault(HsmkmsError):
    """The caller can mend it."""


class ServiceFault(HsmkmsError):
    """The caller did nothing wrong."""


class OperatorFault(HsmkmsError):
    """The installation must be mended before the command can run; the message is one sentence with the cure."""

    text = "The installation cannot be used as it is; 'hsmkms doctor' shows why."


# --- the caller: who are you ---------------------------------------------------------------------------


class AuthenticationFault(CallerFault):
    """The request is not known to come from a credential of ours."""


class AuthorizationMalformed(AuthenticationFault):
    """The authorization is absent, of another scheme, or not of the scheme's form."""

    text = "The Authorization header is missing or malformed."


class CredentialUnknown(AuthenticationFault):
    """No such access id, or it is switched off."""

    text = "There is no such access key id (secret id). Check it, or create one with 'hsmkms credential create'."


class SignatureMismatch(AuthenticationFault):
    """The signature does not belong to this request."""

    text = (
        "The signature does not match the request. Check the secret key, and that nothing between client "
        "and service rewrites the Host header or the body."
    )


class SignatureExpired(AuthenticationFault):
    """The signature's time is outside the window."""

    text = "The signature's timestamp is too far from this service's clock. Synchronise the clocks and sign again."


class AuthTokenUnknown(AuthenticationFault):
    """No such auth token, or it is switched off."""

    text = "The auth token does not exist. Check it, or make one with 'hsmkms credential create --auth-token'."


class AuthorizationFault(CallerFault):
    """The caller is known, and may not do this."""


class AccountForeign(AuthorizationFault):
    """The request names another account than its credential's."""

    text = "The credential belongs to another account than the one that the request names."


# --- the caller: what do you ask -------------------------------------------------------------------------


class RequestFault(CallerFault):
    """The request is not of the documented form."""


class ProtocolUnsupported(RequestFault):
    """Not the HTTP method the API speaks."""

    text = "Only POST is supported."


class ActionUnknown(RequestFault):
    """This API has no such action here."""

    text = "This action does not exist or is not offered by this service."


class VersionUnknown(RequestFault):
    """The action exists, but not in this version of the API."""

    text = "This API version does not exist."


class BodyMalformed(RequestFault):
    """The body is not one JSON object of the accepted depth, or names a member twice."""

    text = "The body must be one JSON object without duplicate members."


class BodyTooLarge(RequestFault):
    """The body is larger than the service reads."""

    text = "The body is larger than 64 KiB."


class FieldFault(RequestFault):
    """One field is wrong."""

    def __init__(self, field: str, message: str) -> None:
        """Take the field as the dialect spells it, and the sentence to show."""
        self.field = field
        super().__init__(message)


class FieldMissing(FieldFault):
    """A required field is absent."""

    def __init__(self, field: str) -> None:
        """Take the field as the dialect spells it."""
        super().__init__(field, f"The parameter {field} is required.")


class FieldUnknown(FieldFault):
    """A field that the documented request does not have."""

    def __init__(self, field: str) -> None:
        """Take the field as the request spells it."""
        super().__init__(field, f"The parameter {field} is not known to this action.")


class FieldInvalid(FieldFault):
    """A field's value breaks its documented constraint."""

    def __init__(self, field: str, why: str) -> None:
        """Take the field as the dialect spells it, and how the value must look."""
        super().__init__(field, f"The parameter {field} is invalid: {why}")


class NotOffered(FieldFault):
    """A documented value or feature that this deployment does not offer."""

    def __init__(self, field: str, offered: Iterable[str] | None = None) -> None:
        """Take the field and the values that are offered, in the order to show; None: no value of it is."""
        self.offered = tuple(offered or ())
        if offered is None:
            message = f"The parameter {field} is not offered by this service; leave it out."
        else:
            choice = f" Offered: {', '.join(self.offered)}." if self.offered else ""
            message = f"The value of {field} is not offered by this service.{choice}"
        super().__init__(field, message)


class AliasInvalid(RequestFault):
    """The alias breaks the dialect's rule."""

    text = "The alias is not of the accepted form."


class AliasTaken(RequestFault):
    """Another key of the account has the alias."""

    text = "Another key of this account has this alias. Choose another one."


class TooManyKeys(RequestFault):
    """The account has as many keys as it may have."""

    def __init__(self, most: int) -> None:
        """Take how many keys an account may have."""
        super().__init__(f"This account has all the {most} keys that it may have; the operator sets that number.")


class KeyTypeInvalid(RequestFault):
    """The kind of key asked for does not exist."""

    text = "There is no such type of key."


class KeyUsageInvalid(RequestFault):
    """The usage asked for does not exist."""

    text = "There is no such key usage. Use ENCRYPT_DECRYPT."


class KeyUsageNotOffered(RequestFault):
    """The usage asked for exists, and this deployment does not offer it."""

    text = "This key usage is not offered by this service. Use ENCRYPT_DECRYPT."


class KeyIdsRepeated(RequestFault):
    """A list of key ids names one twice."""

    text = "The list names a key id twice."


class AccountInvalid(RequestFault):
    """The account's name is not of the accepted form."""

    text = "An account is 1 to 64 of the characters 0-9, a-z, '_' and '-', and starts with a digit or letter."


# --- the caller: which key -----------------------------------------------------------------------------


class KeyFault(CallerFault):
    """The key named cannot be used in this way."""


class KeyIdMalformed(KeyFault):
    """Not of key-id form."""

    text = "The key id must be a lower-case UUID of 36 characters."


class KeyNotFound(KeyFault):
    """No such key in this account."""

    text = "There is no such key in this account."


class KeyNotExternal(KeyFault):
    """The key's material was generated in the token."""

    text = "The material of this key was generated in the token; only an EXTERNAL key takes imported material."


class KeyStateForbids(KeyFault):
    """The key's present state does not allow the action."""

    def __init__(self, state: str, action: str, allowed: Iterable[str]) -> None:
        """Take the state shown, the action's words (a `KeyAction`), and the states that allow it."""
        self.state = state
        self.action = action
        super().__init__(f"The key is {state}; to {action} it must be {' or '.join(allowed)}.")


# --- the caller: the import ----------------------------------------------------------------------------


class ImportFault(CallerFault):
    """The import itself is refused; the key is as it was."""


class ExpiryInvalid(ImportFault):
    """The expiry is not later than now, or above the maximum."""

    text = "The expiry must be later than now and at most 2147443200 (Unix seconds); leave it out or send 0 for none."


class ImportTokenUnknown(ImportFault):
    """Not an import token of this service."""

    text = "The import token is not one that this service issued. Get new import parameters."


class ImportTokenForeign(ImportFault):
    """The import token was issued for another key or account."""

    text = "The import token was issued for another key. Get import parameters for this key."


class TicketEnd(StrEnum):
    """Why an import token is no longer good."""

    EXPIRED = "its time is over"
    EXHAUSTED = "too many attempts with it failed"
    VOID = "newer import parameters replaced it"
    SPENT = "it has been used"


class ImportTokenOver(ImportFault):
    """The import token was good once."""

    def __init__(self, end: TicketEnd) -> None:
        """Take the reason why it is over."""
        self.end = end
        super().__init__(f"The import token is no longer valid: {end.value}. Get new import parameters.")


class CiphertextSizeWrong(ImportFault):
    """The wrapped material is not as long as the wrapping key's modulus."""

    def __init__(self, expected_bytes: int) -> None:
        """Take the size in bytes that the wrapping key asks for."""
        super().__init__(f"The encrypted key material must decode to exactly {expected_bytes} bytes.")


class MaterialUndecryptable(ImportFault):
    """The token could not unwrap it: one error for every reason there is."""

    text = (
        "The encrypted key material could not be decrypted. Wrap it with the public key and the "
        "algorithm of the import parameters that this import token came with."
    )


class MaterialLengthWrong(ImportFault):
    """The unwrapped material is not of the edition's length."""

    def __init__(self, needed_bits: int) -> None:
        """Take the length in bits that the edition needs."""
        self.needed_bits = needed_bits
        super().__init__(
            "The key material is of the wrong length: "
            f"this service imports exactly {needed_bits} bits ({needed_bits // 8} bytes)."
        )


class MaterialMismatch(ImportFault):
    """The key once had other material, and a key only ever has the same."""

    text = (
        "The key material differs from what was first imported into this key. Import the same material, "
        "or create another key."
    )


# --- the service ---------------------------------------------------------------------------------------


class TemporarilyUnavailable(ServiceFault):
    """Trying again later is right."""

    text = "The service is temporarily unavailable. Try again in a few seconds."


class TokenUnavailable(TemporarilyUnavailable):
    """Whatever was asked of the token was not judged."""


class TokenNotAsked(TokenUnavailable):
    """No host was free in time: nothing reached the token."""


class TokenGaveNoAnswer(TokenUnavailable):
    """The host died or missed its deadline, or the token is sick."""


class StoreUnavailable(TemporarilyUnavailable):
    """The database did not answer in time."""


class ChangedMeanwhile(TemporarilyUnavailable):
    """Another request changed the same row between our read and our write, more often than we try again."""


class RecordBroken(ServiceFault):
    """A stored record that the token does not open for the identity it is stored under."""

    text = "An internal error occurred. Give the request id to the operator of this service."


class InternalFault(ServiceFault):
    """A defect of ours."""

    text = "An internal error occurred. Give the request id to the operator of this service."


# --- the operator --------------------------------------------------------------------------------------


class ConfigurationInvalid(OperatorFault):
    """The configuration cannot be used; the message names the key and the cure."""


class TokenUnusable(OperatorFault):
    """The module, the token, an object in it, or what the token does, is not what the deployment needs."""


class PinRefused(OperatorFault):
    """The token refused the PIN; it was tried once and is not tried again."""

    text = (
        "The token refused the PIN; it was tried once. Correct the file named by hsm.pin_file before you start again."
    )


class StoreUnusable(OperatorFault):
    """The database is of another version, of another deployment, or cannot be opened."""


def leaves(root: type[HsmkmsError]) -> frozenset[type[HsmkmsError]]:
    """Return every class below `root` that something may raise: those without subclasses."""
    below = root.__subclasses__()
    if not below:
        return frozenset((root,))
    return frozenset().union(*(leaves(each) for each in below))
