"""A ticket and its wrapping pair: what one get-parameters call creates.

Laws of a ticket:

- ISSUED -> SPENT by exactly one import; -> LAPSED at its deadline or when its attempts are used up;
  -> VOID when superseded; no way leads back;
- an attempt is counted before the token is called, and given back only when the token was at fault, at most
  `MOST_GIVEN_BACK` times; one that reached no token is given back always;
- from the deadline on it is over, whatever its row says; but an attempt that was admitted before may still spend it,
  also when it lapsed meanwhile;
- a repeated import (same ciphertext, same expiry, before the deadline) of a spent ticket is that ticket's import
  once more.

Laws of a pair:

- it takes tickets of one account and one algorithm until it is closed; it is over when it is closed and none of its
  tickets is live, and then its private half is gone for good;
- a ticket leaves its pair exactly once: when it stops being ISSUED;
- at most `MOST_PAIR_FAILURES` unwraps may fail under it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import ImportTokenOver, InternalFault, TicketEnd
from hsmkms.core.replacing import replaced

if TYPE_CHECKING:
    from hsmkms.core.ids import AccountName, Instant, KeyId, PairId, TicketId
    from hsmkms.core.wrapping import WrappingAlgorithm

MOST_LIVE_TICKETS: Final = 3
MOST_GIVEN_BACK: Final = 10
MOST_PAIR_FAILURES: Final = 100
IMPORT_TOKEN_BYTES: Final = 192
"""256 base64 characters: within Huawei's documented 200 to 6144, and no padding."""


class TicketState(StrEnum):
    """Where a ticket stands."""

    ISSUED = "issued"
    SPENT = "spent"
    LAPSED = "lapsed"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Spending:
    """What exactly a spent ticket imported: the measure of a repeated request."""

    ciphertext_digest: bytes = field(repr=False)
    """SHA-256 of the wrapped material."""
    valid_to: Instant | None

    def same_as(self, other: Spending) -> bool:
        """Tell whether both are the same import."""
        return self.valid_to == other.valid_to and hmac.compare_digest(self.ciphertext_digest, other.ciphertext_digest)


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to import into one key once."""

    ticket_id: TicketId
    token_digest: bytes = field(repr=False)
    """SHA-256 of the import token."""
    account: AccountName
    key_id: KeyId
    pair_id: PairId
    algorithm: WrappingAlgorithm
    issued_at: Instant
    deadline: Instant
    most_attempts: int
    state: TicketState = TicketState.ISSUED
    attempts: int = 0
    given_back: int = 0
    spending: Spending | None = None
    revision: int = 0

    def end(self, now: Instant) -> TicketEnd | None:
        """Return why the ticket is no longer good at `now`, or None while it is."""
        if self.state is TicketState.SPENT:
            return TicketEnd.SPENT
        if self.state is TicketState.VOID:
            return TicketEnd.VOID
        if now >= self.deadline:
            return TicketEnd.EXPIRED
        if self.attempts >= self.most_attempts or self.state is TicketState.LAPSED:
            return TicketEnd.EXHAUSTED
        return None

    def require_good(self, now: Instant) -> None:
        """Return if the ticket may be tried at `now`.

        Raises:
            ImportTokenOver: its deadline passed, or it is exhausted, void or spent.
        """
        end = self.end(now)
        if end is not None:
            raise ImportTokenOver(end)

    def repeats(self, spending: Spending, now: Instant) -> bool:
        """Tell whether `spending` asks for the import that this ticket already made, before its deadline."""
        return (
            self.state is TicketState.SPENT
            and now < self.deadline
            and self.spending is not None
            and self.spending.same_as(spending)
        )

    def attempted(self, now: Instant) -> Ticket:
        """Return the ticket with one more attempt counted.

        Raises:
            ImportTokenOver: it may not be tried.
        """
        self.require_good(now)
        return replaced(self, attempts=self.attempts + 1)

    def handed_back(self) -> Ticket:
        """Return the ticket with the last attempt given back, if that may still happen."""
        if self.state is not TicketState.ISSUED or self.attempts == 0 or self.given_back >= MOST_GIVEN_BACK:
            return self
        return replaced(self, attempts=self.attempts - 1, given_back=self.given_back + 1)

    def never_tried(self) -> Ticket:
        """Return the ticket without the last attempt, which reached no token: that costs nothing, however often."""
        if self.state is not TicketState.ISSUED or self.attempts == 0:
            return self
        return replaced(self, attempts=self.attempts - 1)

    def spent(self, spending: Spending) -> Ticket:
        """Return the ticket after the import of an admitted attempt.

        Raises:
            ImportTokenOver: another import spent it, or it was superseded.
        """
        if self.state is TicketState.SPENT:
            raise ImportTokenOver(TicketEnd.SPENT)
        if self.state is TicketState.VOID:
            raise ImportTokenOver(TicketEnd.VOID)
        return replaced(self, state=TicketState.SPENT, spending=spending)

    def voided(self) -> Ticket:
        """Return the ticket superseded; one that is over stays as it is."""
        return replaced(self, state=TicketState.VOID) if self.state is TicketState.ISSUED else self

    def settled(self, now: Instant) -> Ticket:
        """Return the ticket LAPSED if its deadline or its attempts ended it, else as it is."""
        if self.state is TicketState.ISSUED and self.end(now) is not None:
            return replaced(self, state=TicketState.LAPSED)
        return self


@dataclass(frozen=True, slots=True)
class FreshPair:
    """A pair that the token made and no ticket has taken."""

    pair_id: PairId
    public_key: bytes
    """DER SubjectPublicKeyInfo (RFC 5280 4.1.2.7)."""
    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair that tickets have taken."""

    pair_id: PairId
    account: AccountName
    algorithm: WrappingAlgorithm
    public_key: bytes = field(repr=False)
    opened_at: Instant
    record: bytes | None = field(repr=False)
    """The private half, sealed; None from the pair's end on."""
    tickets: int = 0
    """How many it took so far."""
    live: int = 0
    """How many of them are ISSUED."""
    failures: int = 0
    closed: bool = False
    revision: int = 0

    def taken(self, *, most_tickets: int) -> Pair:
        """Return the pair with one more ticket on it, closed if that was the last.

        Raises:
            InternalFault: it is closed, which whoever chose it should have seen.
        """
        if self.closed:
            raise InternalFault
        tickets = self.tickets + 1
        return replaced(self, tickets=tickets, live=self.live + 1, closed=tickets >= most_tickets)

    def left(self) -> Pair:
        """Return the pair after one of its tickets stopped being ISSUED: over, if that was the last."""
        live = max(0, self.live - 1)
        return replaced(self, live=live, record=None if self.closed and live == 0 else self.record)

    def ended_if_over(self) -> Pair:
        """Return the pair without its private half if it is closed and none of its tickets is live."""
        return replaced(self, record=None) if self.closed and self.live == 0 else self

    def require_good(self) -> None:
        """Return if an unwrap may be tried under the pair.

        Raises:
            ImportTokenOver: too many failed, or the private half is gone.
        """
        if self.failures >= MOST_PAIR_FAILURES or self.record is None:
            raise ImportTokenOver(TicketEnd.EXHAUSTED)

    def attempted(self) -> Pair:
        """Return the pair with one more failure counted, before it is known to be one.

        Raises:
            ImportTokenOver: too many failed already.
        """
        self.require_good()
        failures = self.failures + 1
        return replaced(self, failures=failures, closed=self.closed or failures >= MOST_PAIR_FAILURES)

    def handed_back(self) -> Pair:
        """Return the pair with the last failure taken back: it was none, or the token's."""
        return replaced(self, failures=max(0, self.failures - 1))

    def shut(self) -> Pair:
        """Return the pair closed to further tickets, and over if none is live."""
        return replaced(self, closed=True).ended_if_over()
