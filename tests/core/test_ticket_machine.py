"""Tickets that share pairs, under any order of events and any movement of the clock, against a model of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from hsmkms.core.errors import ImportTokenOver, TicketEnd
from hsmkms.core.ids import Instant
from hsmkms.core.tickets import Pair, Ticket, TicketState
from tests.core.examples import DAY_SECONDS, NOW, a_pair, a_ticket, spending

HOUR = 3_600_000
TICKETS_PER_PAIR = 15


@dataclass
class Sheaf:
    """A pair and its tickets, and what the model says of both."""

    pair: Pair
    tickets: list[Ticket] = field(default_factory=list)
    deadlines: list[int] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    given_back: list[int] = field(default_factory=list)
    spendings: list[int | None] = field(default_factory=list)
    failures: int = 0
    ever_full: bool = False
    shut: bool = False

    def live(self) -> int:
        return self.states.count("issued")

    def closed(self) -> bool:
        return self.shut or self.ever_full or len(self.tickets) == TICKETS_PER_PAIR


@dataclass(frozen=True)
class Flight:
    """An attempt that was counted and not yet judged."""

    sheaf: Sheaf
    index: int


class TicketMachine(RuleBasedStateMachine):
    """Every rule composes the transitions as the service does."""

    sheaves = Bundle("sheaves")
    flights = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.known: list[Sheaf] = []

    # --- the model ---

    def end(self, sheaf: Sheaf, index: int) -> TicketEnd | None:
        state = sheaf.states[index]
        if state in {"spent", "void"}:
            return TicketEnd(TicketEnd.SPENT if state == "spent" else TicketEnd.VOID)
        if self.now >= sheaf.deadlines[index]:
            return TicketEnd.EXPIRED
        return TicketEnd.EXHAUSTED if state == "lapsed" or sheaf.attempts[index] >= 10 else None

    @staticmethod
    def leave(sheaf: Sheaf, index: int, after: Ticket) -> None:
        """Store a ticket as the service does: whoever stops being ISSUED leaves its pair, once."""
        before = sheaf.tickets[index]
        sheaf.tickets[index] = after
        if before.state is TicketState.ISSUED and after.state is not TicketState.ISSUED:
            sheaf.pair = sheaf.pair.left()

    # --- the rules ---

    @rule(target=sheaves)
    def open_pair(self) -> Sheaf:
        sheaf = Sheaf(a_pair(now=self.now))
        self.known.append(sheaf)
        self.issue(sheaf)
        return sheaf

    @rule(sheaf=sheaves, count=st.sampled_from([1, 1, 1, TICKETS_PER_PAIR - 1]))
    def issue_more(self, sheaf: Sheaf, count: int) -> None:
        for _ in range(count):
            if not sheaf.pair.closed:
                self.issue(sheaf)

    def issue(self, sheaf: Sheaf) -> None:
        ticket = a_ticket(len(sheaf.tickets), now=self.now)
        sheaf.pair = sheaf.pair.taken(most_tickets=TICKETS_PER_PAIR)
        sheaf.tickets.append(ticket)
        sheaf.deadlines.append(self.now + DAY_SECONDS * 1000)
        sheaf.states.append("issued")
        sheaf.attempts.append(0)
        sheaf.given_back.append(0)
        sheaf.spendings.append(None)

    @rule(target=flights, sheaf=sheaves, data=st.data())
    def admit(self, sheaf: Sheaf, data: st.DataObject) -> object:
        index = data.draw(st.integers(0, len(sheaf.tickets) - 1))
        ticket = sheaf.tickets[index]
        end = self.end(sheaf, index)
        if end is not None or sheaf.failures >= 100:
            with pytest.raises(ImportTokenOver) as caught:
                (ticket.attempted(self.now), sheaf.pair.attempted())
            assert caught.value.end is (end or TicketEnd.EXHAUSTED)
            return multiple()
        sheaf.tickets[index], sheaf.pair = ticket.attempted(self.now), sheaf.pair.attempted()
        sheaf.attempts[index] += 1
        sheaf.failures += 1
        sheaf.ever_full = sheaf.ever_full or sheaf.failures == 100
        return Flight(sheaf, index)

    @rule(flight=consumes(flights))
    def fail(self, flight: Flight) -> None:
        self.settle(flight.sheaf, flight.index)

    @rule(sheaf=sheaves, data=st.data())
    def fail_until_exhausted(self, sheaf: Sheaf, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(sheaf.tickets) - 1))
        while self.end(sheaf, index) is None and sheaf.failures < 100:
            sheaf.tickets[index] = sheaf.tickets[index].attempted(self.now)
            sheaf.pair = sheaf.pair.attempted()
            sheaf.attempts[index] += 1
            sheaf.failures += 1
            sheaf.ever_full = sheaf.ever_full or sheaf.failures == 100
            self.settle(sheaf, index)

    @rule(flight=consumes(flights))
    def give_back(self, flight: Flight) -> None:
        sheaf, index = flight.sheaf, flight.index
        before = sheaf.tickets[index]
        given = before.handed_back()
        possible = sheaf.states[index] == "issued" and sheaf.given_back[index] < 10
        assert (given is not before) is possible
        if possible:
            sheaf.tickets[index], sheaf.pair = given, sheaf.pair.handed_back()
            sheaf.attempts[index] -= 1
            sheaf.given_back[index] += 1
            sheaf.failures -= 1

    @rule(flight=consumes(flights), seed=st.integers(1, 2))
    def spend(self, flight: Flight, seed: int) -> None:
        sheaf, index = flight.sheaf, flight.index
        ticket = sheaf.tickets[index]
        if sheaf.states[index] in {"spent", "void"}:
            with pytest.raises(ImportTokenOver):
                ticket.spent(spending(seed))
            return
        sheaf.pair = sheaf.pair.handed_back()
        self.leave(sheaf, index, ticket.spent(spending(seed)))
        sheaf.states[index] = "spent"
        sheaf.spendings[index] = seed
        sheaf.failures -= 1

    @rule(sheaf=sheaves, data=st.data(), seed=st.integers(1, 2))
    def repeat(self, sheaf: Sheaf, data: st.DataObject, seed: int) -> None:
        index = data.draw(st.integers(0, len(sheaf.tickets) - 1))
        expected = sheaf.spendings[index] == seed and self.now < sheaf.deadlines[index]
        assert sheaf.tickets[index].repeats(spending(seed), self.now) is expected

    @rule(sheaf=sheaves, data=st.data())
    def void(self, sheaf: Sheaf, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(sheaf.tickets) - 1))
        self.leave(sheaf, index, sheaf.tickets[index].voided())
        if sheaf.states[index] == "issued":
            sheaf.states[index] = "void"

    @rule(sheaf=sheaves)
    def sweep(self, sheaf: Sheaf) -> None:
        for index in range(len(sheaf.tickets)):
            self.settle(sheaf, index)

    @rule(sheaf=sheaves)
    def shut(self, sheaf: Sheaf) -> None:
        sheaf.pair = sheaf.pair.shut()
        sheaf.shut = True

    @rule(hours=st.integers(-1, 13))
    def move_the_clock(self, hours: int) -> None:
        assume(self.known)
        self.now = Instant(self.now + hours * HOUR)

    def settle(self, sheaf: Sheaf, index: int) -> None:
        self.leave(sheaf, index, sheaf.tickets[index].settled(self.now))
        if sheaf.states[index] == "issued" and self.end(sheaf, index) is not None:
            sheaf.states[index] = "lapsed"

    # --- what always holds ---

    @invariant()
    def a_ticket_is_what_the_model_says(self) -> None:
        for sheaf in self.known:
            for index, ticket in enumerate(sheaf.tickets):
                assert ticket.state.value == sheaf.states[index]
                assert ticket.attempts == sheaf.attempts[index]
                assert ticket.given_back == sheaf.given_back[index]
                assert ticket.end(self.now) is self.end(sheaf, index)

    @invariant()
    def the_limits_hold(self) -> None:
        for sheaf in self.known:
            assert 0 <= sheaf.pair.failures <= 100
            assert sheaf.pair.failures == sheaf.failures
            for ticket in sheaf.tickets:
                assert 0 <= ticket.attempts <= 10
                assert 0 <= ticket.given_back <= 10

    @invariant()
    def the_live_count_is_exact(self) -> None:
        for sheaf in self.known:
            assert sheaf.pair.live == sheaf.live()
            assert sheaf.pair.tickets == len(sheaf.tickets) <= TICKETS_PER_PAIR

    @invariant()
    def the_private_half_is_gone_exactly_when_the_pair_is_closed_and_no_ticket_is_live(self) -> None:
        for sheaf in self.known:
            assert sheaf.pair.closed is sheaf.closed()
            assert (sheaf.pair.record is None) is (sheaf.closed() and sheaf.live() == 0)


TestTickets = TicketMachine.TestCase
TestTickets.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
