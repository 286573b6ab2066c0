"""What the rooms tell of their work to whoever counts it.

Laws:

- a fact names kinds only, each out of a short list that this program knows: never an identifier, where a request came
  from, or text that a client chose;
- whoever is told waits for nothing and never fails: telling is part of every request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from hsmkms.core.errors import (
    AuthenticationFault,
    AuthorizationFault,
    CallerFault,
    HsmkmsError,
    RequestRateExceeded,
    ServiceFault,
    TemporarilyUnavailable,
    leaves,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.keys import KeyState
    from hsmkms.core.tickets import TicketState


class Result(StrEnum):
    """How something ended, by whose fault."""

    OK = "ok"
    REFUSED = "refused"
    """The caller's: it cannot be granted."""
    UNAVAILABLE = "unavailable"
    """Nobody's for now: trying again later is right."""
    FAILED = "failed"
    """Ours: a defect, or a record that the token does not open."""


class Reason(StrEnum):
    """Why a request did not become a command."""

    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    RATE = "rate"
    REQUEST = "request"
    """Whatever else the caller can mend."""
    UNAVAILABLE = "unavailable"
    FAILED = "failed"


class TransactionKind(StrEnum):
    """What is done with the database."""

    READ = "read"
    WRITE = "write"


class Meter(Protocol):
    """Who counts. A `fault` is the name of the error's class; None: there was none."""

    def request(self, dialect: str | None, action: str | None, fault: str | None, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            dialect: whose it was; None: nobody's.
            action: what it asked for, if the dialect has such an action.
            fault: why it was refused.
            seconds: from its head to its answer.
        """

    def turned_away(self, fault: str) -> None:
        """Count a request that did not become a command."""

    def token_call(self, verb: str, fault: str | None, seconds: float) -> None:
        """Count a call that a host was sent, and how long it took without the waiting for a host."""

    def transaction(self, kind: TransactionKind, fault: str | None, seconds: float) -> None:
        """Count a transaction, and how long it took with the waiting for its turn."""

    def host_attached(self) -> None:
        """Count a host that took up its work."""

    def host_lost(self) -> None:
        """Count a host that was given up."""


@dataclass(frozen=True, slots=True)
class Unmetered:
    """The `Meter` of whoever counts nothing."""

    def request(self, dialect: str | None, action: str | None, fault: str | None, seconds: float) -> None:
        """Count nothing."""

    def turned_away(self, fault: str) -> None:
        """Count nothing."""

    def token_call(self, verb: str, fault: str | None, seconds: float) -> None:
        """Count nothing."""

    def transaction(self, kind: TransactionKind, fault: str | None, seconds: float) -> None:
        """Count nothing."""

    def host_attached(self) -> None:
        """Count nothing."""

    def host_lost(self) -> None:
        """Count nothing."""


UNMETERED: Final = Unmetered()


@dataclass(frozen=True, slots=True)
class Line:
    """Those who use what is bounded, and those who wait for it."""

    in_flight: int
    waiting: int


@dataclass(frozen=True, slots=True)
class SealLevel:
    """How far the audit trail is sealed."""

    sequence: int | None
    """Of the last event sealed; None: that is not known yet."""
    last_seal_seconds: float | None
    """Since this process last made a seal; None: it has made none."""
    all_sealed_seconds: float | None
    """Since the sealer last found no event without a seal; None: it never did."""
    broken: bool


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What the database holds at an instant."""

    keys: Mapping[KeyState, int]
    """Those that a caller can still see."""
    tickets: Mapping[TicketState, int]
    materials_expiring: Mapping[int, int] = field(default_factory=dict)
    """How many keys hold material whose time is over within so many seconds (0: is over by now)."""
    deletions_due: Mapping[int, int] = field(default_factory=dict)
    """How many keys are to be deleted within so many seconds (0: by now)."""


FORECASTS: Final = (0, 3600, 86_400, 7 * 86_400, 30 * 86_400)
"""How far ahead `StoreCounts` looks, in seconds."""


def _result_of(error: type[HsmkmsError]) -> Result:
    if issubclass(error, CallerFault):
        return Result.REFUSED
    return Result.UNAVAILABLE if issubclass(error, TemporarilyUnavailable) else Result.FAILED


def _reason_of(error: type[HsmkmsError]) -> Reason:
    if issubclass(error, AuthenticationFault):
        return Reason.AUTHENTICATION
    if issubclass(error, AuthorizationFault):
        return Reason.AUTHORIZATION
    if issubclass(error, RequestRateExceeded):
        return Reason.RATE
    if issubclass(error, CallerFault):
        return Reason.REQUEST
    return Reason.UNAVAILABLE if issubclass(error, TemporarilyUnavailable) else Reason.FAILED


_FAULTS: Final = {each.__name__: each for each in leaves(CallerFault) | leaves(ServiceFault)}
_RESULTS: Final = {name: _result_of(error) for name, error in _FAULTS.items()}
_REASONS: Final = {name: _reason_of(error) for name, error in _FAULTS.items()}


def result_of(fault: str | None) -> Result:
    """Return how what ended with an error of this class name ended; one that is none of ours is a defect."""
    return Result.OK if fault is None else _RESULTS.get(fault, Result.FAILED)


def reason_of(fault: str) -> Reason:
    """Return why a request did not become a command."""
    return _REASONS.get(fault, Reason.FAILED)
