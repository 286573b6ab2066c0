"""Laws of hsmkms/core/tickets.py, one by one."""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.errors import ImportTokenOver, InternalFault, TicketEnd
from hsmkms.core.ids import Instant
from hsmkms.core.tickets import (
    IMPORT_TOKEN_BYTES,
    MOST_GIVEN_BACK,
    MOST_LIVE_TICKETS,
    MOST_PAIR_FAILURES,
    FreshPair,
    Pair,
    Ticket,
    TicketState,
)
from tests.core.examples import NOW, PAIR_ID, a_pair, a_ticket, spending

if TYPE_CHECKING:
    from collections.abc import Callable

JUST_BEFORE: Final = Instant(a_ticket().deadline - 1)
DEADLINE: Final = a_ticket().deadline


def issued() -> Ticket:
    return a_ticket().attempted(NOW)


BY_STATE: Final = {
    TicketState.ISSUED: issued(),
    TicketState.SPENT: issued().spent(spending()),
    TicketState.LAPSED: issued().settled(DEADLINE),
    TicketState.VOID: issued().voided(),
}


def exhausted() -> Ticket:
    return replace(a_ticket(), attempts=10)


# --- every state and every transition has its row: the state after it, or the error -------------------------

AFTER: Final[dict[tuple[TicketState, str], TicketState | TicketEnd]] = {
    (TicketState.ISSUED, "attempted"): TicketState.ISSUED,
    (TicketState.ISSUED, "handed_back"): TicketState.ISSUED,
    (TicketState.ISSUED, "never_tried"): TicketState.ISSUED,
    (TicketState.ISSUED, "spent"): TicketState.SPENT,
    (TicketState.ISSUED, "voided"): TicketState.VOID,
    (TicketState.ISSUED, "settled before the deadline"): TicketState.ISSUED,
    (TicketState.ISSUED, "settled at the deadline"): TicketState.LAPSED,
    (TicketState.SPENT, "attempted"): TicketEnd.SPENT,
    (TicketState.SPENT, "handed_back"): TicketState.SPENT,
    (TicketState.SPENT, "never_tried"): TicketState.SPENT,
    (TicketState.SPENT, "spent"): TicketEnd.SPENT,
    (TicketState.SPENT, "voided"): TicketState.SPENT,
    (TicketState.SPENT, "settled before the deadline"): TicketState.SPENT,
    (TicketState.SPENT, "settled at the deadline"): TicketState.SPENT,
    (TicketState.LAPSED, "attempted"): TicketEnd.EXHAUSTED,
    (TicketState.LAPSED, "handed_back"): TicketState.LAPSED,
    (TicketState.LAPSED, "never_tried"): TicketState.LAPSED,
    (TicketState.LAPSED, "spent"): TicketState.SPENT,
    (TicketState.LAPSED, "voided"): TicketState.LAPSED,
    (TicketState.LAPSED, "settled before the deadline"): TicketState.LAPSED,
    (TicketState.LAPSED, "settled at the deadline"): TicketState.LAPSED,
    (TicketState.VOID, "attempted"): TicketEnd.VOID,
    (TicketState.VOID, "handed_back"): TicketState.VOID,
    (TicketState.VOID, "never_tried"): TicketState.VOID,
    (TicketState.VOID, "spent"): TicketEnd.VOID,
    (TicketState.VOID, "voided"): TicketState.VOID,
    (TicketState.VOID, "settled before the deadline"): TicketState.VOID,
    (TicketState.VOID, "settled at the deadline"): TicketState.VOID,
}
MOVES: Final[dict[str, Callable[[Ticket], Ticket]]] = {
    "attempted": lambda ticket: ticket.attempted(NOW),
    "handed_back": lambda ticket: ticket.handed_back(),
    "never_tried": lambda ticket: ticket.never_tried(),
    "spent": lambda ticket: ticket.spent(spending(2)),
    "voided": lambda ticket: ticket.voided(),
    "settled before the deadline": lambda ticket: ticket.settled(JUST_BEFORE),
    "settled at the deadline": lambda ticket: ticket.settled(DEADLINE),
}
QUESTIONS: Final = {"end", "require_good", "repeats"}


def test_every_state_and_every_transition_has_its_row() -> None:
    assert set(AFTER) == set(product(TicketState, MOVES))
    methods = {name for name, found in vars(Ticket).items() if callable(found) and not name.startswith("_")}
    assert {move.split()[0] for move in MOVES} == methods - QUESTIONS


@pytest.mark.parametrize(("state", "move"), list(product(TicketState, MOVES)))
def test_a_transition_leads_where_its_row_says(state: TicketState, move: str) -> None:
    expected = AFTER[state, move]
    if isinstance(expected, TicketState):
        assert MOVES[move](BY_STATE[state]).state is expected
        return
    with pytest.raises(ImportTokenOver) as caught:
        MOVES[move](BY_STATE[state])
    assert caught.value.end is expected


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("state", [TicketState.SPENT, TicketState.VOID])
def test_nothing_changes_a_spent_or_void_ticket(state: TicketState, move: str) -> None:
    ticket = BY_STATE[state]
    try:
        after = MOVES[move](ticket)
    except ImportTokenOver:
        return
    assert after is ticket


# --- deadline and attempts ------------------------------------------------------------------------------------


def test_a_ticket_is_good_until_its_deadline_and_over_from_that_instant_on() -> None:
    assert a_ticket().end(JUST_BEFORE) is None
    assert a_ticket().end(DEADLINE) is TicketEnd.EXPIRED
    a_ticket().require_good(JUST_BEFORE)
    with pytest.raises(ImportTokenOver):
        a_ticket().require_good(DEADLINE)


def test_an_attempt_that_was_admitted_before_the_deadline_may_still_spend_the_ticket() -> None:
    assert issued().settled(DEADLINE).spent(spending()).state is TicketState.SPENT


@pytest.mark.parametrize("most", [1, 3, 10])
def test_a_ticket_takes_its_attempts_and_not_one_more(most: int) -> None:
    ticket = a_ticket(most_attempts=most)
    for count in range(most):
        assert ticket.settled(NOW) is ticket
        ticket = ticket.attempted(NOW)
        assert ticket.attempts == count + 1
    with pytest.raises(ImportTokenOver) as caught:
        ticket.attempted(NOW)
    assert caught.value.end is TicketEnd.EXHAUSTED
    assert ticket.settled(NOW).state is TicketState.LAPSED


def test_the_last_attempt_may_succeed_even_after_it_lapsed_the_ticket() -> None:
    assert exhausted().settled(NOW).spent(spending()).state is TicketState.SPENT


@pytest.mark.parametrize(
    ("ticket", "end"),
    [
        (BY_STATE[TicketState.SPENT], TicketEnd.SPENT),
        (BY_STATE[TicketState.VOID], TicketEnd.VOID),
        (exhausted(), TicketEnd.EXPIRED),
        (exhausted().settled(NOW), TicketEnd.EXPIRED),
    ],
)
def test_after_the_deadline_spent_and_void_come_first_and_exhausted_last(ticket: Ticket, end: TicketEnd) -> None:
    assert ticket.end(DEADLINE) is end


def test_an_attempt_is_given_back_at_most_ten_times() -> None:
    ticket = a_ticket()
    for _ in range(MOST_GIVEN_BACK):
        ticket = ticket.attempted(NOW).handed_back()
        assert ticket.attempts == 0
    kept = ticket.attempted(NOW)
    assert kept.handed_back() is kept
    assert (kept.attempts, kept.given_back, MOST_GIVEN_BACK) == (1, 10, 10)


def test_nothing_is_given_back_of_no_attempt() -> None:
    ticket = a_ticket()
    assert ticket.handed_back() is ticket


def test_the_last_attempt_given_back_makes_an_exhausted_ticket_good_again() -> None:
    assert exhausted().handed_back().end(NOW) is None


# --- the repeated import --------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid_to", [None, Instant(NOW + 5000)])
def test_the_same_import_is_a_repetition_until_the_deadline(valid_to: Instant | None) -> None:
    ticket = issued().spent(spending(1, valid_to=valid_to))
    assert ticket.repeats(spending(1, valid_to=valid_to), JUST_BEFORE)
    assert not ticket.repeats(spending(1, valid_to=valid_to), DEADLINE)


def test_another_ciphertext_or_another_expiry_is_no_repetition() -> None:
    ticket = issued().spent(spending(1))
    assert not ticket.repeats(spending(2), NOW)
    assert not ticket.repeats(spending(1, valid_to=Instant(NOW + 1)), NOW)
    assert not ticket.repeats(spending(1, valid_to=Instant(0)), NOW)


@pytest.mark.parametrize("state", sorted(set(TicketState) - {TicketState.SPENT}))
def test_only_a_spent_ticket_repeats(state: TicketState) -> None:
    assert not BY_STATE[state].repeats(spending(), NOW)
    assert not replace(BY_STATE[state], spending=spending()).repeats(spending(), NOW)


# --- the pair -------------------------------------------------------------------------------------------------


def test_a_pair_closes_with_its_last_ticket_and_takes_no_more() -> None:
    pair = a_pair()
    for count in range(3):
        assert not pair.closed
        pair = pair.taken(most_tickets=3)
        assert (pair.tickets, pair.live) == (count + 1, count + 1)
    assert pair.closed
    with pytest.raises(InternalFault):
        pair.taken(most_tickets=4)


def test_a_pair_ends_when_the_last_ticket_leaves_a_closed_one() -> None:
    pair = a_pair().taken(most_tickets=2).taken(most_tickets=2).left()
    assert pair.record is not None
    assert pair.left().record is None


def test_an_open_pair_outlives_its_tickets_until_it_is_shut() -> None:
    idle = a_pair().taken(most_tickets=2).left()
    assert idle.record is not None
    assert idle.shut().record is None


def test_a_pair_that_is_shut_with_a_live_ticket_lives_as_long_as_that() -> None:
    pair = a_pair().taken(most_tickets=2).shut()
    assert pair.record is not None
    assert pair.left().record is None


def test_a_hundred_failures_close_a_pair_and_the_next_unwrap_is_refused() -> None:
    pair = a_pair().taken(most_tickets=1000)
    for count in range(MOST_PAIR_FAILURES):
        assert not pair.closed
        pair = pair.attempted()
        assert pair.failures == count + 1
    assert pair.closed
    with pytest.raises(ImportTokenOver) as caught:
        pair.attempted()
    assert caught.value.end is TicketEnd.EXHAUSTED
    assert MOST_PAIR_FAILURES == 100


def test_a_failure_handed_back_was_none() -> None:
    pair = a_pair().taken(most_tickets=2)
    assert pair.attempted().handed_back().failures == 0
    assert pair.handed_back().failures == 0


def test_no_unwrap_is_tried_under_a_pair_whose_private_half_is_gone() -> None:
    with pytest.raises(ImportTokenOver):
        a_pair().taken(most_tickets=1).left().require_good()


def test_an_import_token_is_base64_without_padding_within_the_documented_length() -> None:
    text = base64.b64encode(bytes(IMPORT_TOKEN_BYTES))
    assert 200 <= len(text) <= 6144
    assert not text.endswith(b"=")
    assert MOST_LIVE_TICKETS == 3


def test_neither_digests_nor_private_halves_are_printed() -> None:
    shown = repr(BY_STATE[TicketState.SPENT]) + repr(a_pair()) + repr(FreshPair(PAIR_ID, b"der", b"private half"))
    assert "digest 1" not in shown
    assert "private half" not in shown


def test_a_pair_needs_no_more_than_one_ticket_by_default() -> None:
    pair: Pair = a_pair().taken(most_tickets=1)
    assert pair.closed
    assert pair.record is not None
