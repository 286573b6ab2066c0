"""The caller can mend it: who asks, and what the request says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.core.errors.tree import CallerFault

if TYPE_CHECKING:
    from collections.abc import Iterable


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


class RoleMissing(AuthorizationFault):
    """The credential has none of the roles that may ask for this."""

    def __init__(self, roles: Iterable[str]) -> None:
        """Take the roles of which one would do."""
        super().__init__(
            f"This credential may not do this: it takes the role {' or '.join(sorted(roles))}. "
            "Use another credential; the operator makes them."
        )


class KeyOutOfScope(AuthorizationFault):
    """The credential is limited to other keys."""

    text = "This credential is limited to other keys. Use another credential; the operator makes them."


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


class RequestRateExceeded(RequestFault):
    """The account asks more often than it may."""

    def __init__(self, what: str, wait_seconds: float) -> None:
        """Take what is asked for too often, and when asking again makes sense."""
        self.wait_seconds = wait_seconds
        super().__init__(f"This account asks for {what} more often than it may. Ask again more slowly.")


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


class TagKeysRepeated(RequestFault):
    """A list of tags names a key twice."""

    text = "The list of tags names a tag key twice."


class AccountInvalid(RequestFault):
    """The account's name is not of the accepted form."""

    text = "An account is 1 to 64 of the characters 0-9, a-z, '_' and '-', and starts with a digit or letter."
