"""The caller did nothing wrong."""

from __future__ import annotations

from hsmkms.core.errors.tree import ServiceFault


class TemporarilyUnavailable(ServiceFault):
    """Trying again later is right."""

    text = "The service is temporarily unavailable. Try again in a few seconds."


class TokenUnavailable(TemporarilyUnavailable):
    """Whatever was asked of the token was not judged."""


class TokenNotAsked(TokenUnavailable):
    """No host was free in time, or it was sent ahead of its turn and not begun: nothing reached the token."""


class TokenGaveNoAnswer(TokenUnavailable):
    """The host died or missed its deadline, or the token is sick."""


class ServiceOverloaded(TemporarilyUnavailable):
    """More requests wait than can be answered in time: this one was not begun."""

    text = "The service is busy. Try again in a few seconds."


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
