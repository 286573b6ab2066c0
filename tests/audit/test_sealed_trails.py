"""Whole trails with seals: whatever is done to them is found, and nothing is found where nothing was done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.chain import GENESIS, link
from hsmkms.audit.verification import Break, BreakReason, Verification, require_initialised
from hsmkms.core.events import SEAL_BLOCK, AuditHead, AuditSeal, ChainedEvent, Event, EventTag
from hsmkms.core.ids import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Trail = list[ChainedEvent]
LENGTH: Final = 3 * SEAL_BLOCK + 10
LAST_SEALED: Final = 3 * SEAL_BLOCK + 5


def rechained(events: Iterable[tuple[int, Event]]) -> Trail:
    """Return the trail that whoever may write everything but the seals makes of these events."""
    digest, trail = GENESIS, []
    for sequence, event in events:
        digest = link(digest, event)
        trail.append(ChainedEvent(sequence, digest, event))
    return trail


def of(trail: Trail) -> list[tuple[int, Event]]:
    return [(each.sequence, each.event) for each in trail]


def event(number: int) -> Event:
    tag = EventTag.DEPLOYMENT_INITIALISED if number == 1 else EventTag.KEY_ENCRYPTED
    return Event(tag, Instant(number), None, "ak-1")


WHOLE: Final = rechained((number, event(number)) for number in range(1, LENGTH + 1))


def seal(sequence: int) -> AuditSeal:
    return AuditSeal(AuditHead(sequence, WHOLE[sequence - 1].digest), b"genuine")


SEALS: Final = [seal(each) for each in (SEAL_BLOCK, 2 * SEAL_BLOCK, 3 * SEAL_BLOCK, LAST_SEALED)]
EXPECTED: Final = AuditHead(LAST_SEALED + 3, WHOLE[LAST_SEALED + 2].digest)


def verified(trail: Trail, seals: Sequence[AuditSeal] = SEALS, expected: AuditHead | None = None) -> Verification:
    verification = Verification(expected)
    for each in seals:
        verification.judge(each, genuine=each.mac == b"genuine")
    for start in range(0, len(trail), 700):
        verification.follow(trail[start : start + 700])
    verification.end()
    return verification


@pytest.mark.parametrize("expected", [None, EXPECTED, SEALS[0].head])
def test_a_trail_as_it_was_written_holds(expected: AuditHead | None) -> None:
    done = verified(WHOLE, expected=expected)
    assert done.found == []
    assert (done.length, done.newer, done.sealed) == (LENGTH, LENGTH - LAST_SEALED, SEALS[-1].head)
    assert done.head == AuditHead(LENGTH, WHOLE[-1].digest)


def test_an_empty_trail_does_not_hold_and_has_no_head() -> None:
    done = verified([], ())
    assert done.found == [Break(1, BreakReason.NOT_BEGUN)]
    assert (done.length, done.head, done.sealed) == (0, None, None)


def test_a_trail_that_begins_with_another_event_than_a_deployment_s_first_does_not_hold() -> None:
    trail = rechained(of(WHOLE)[1:10])
    assert verified(trail, ()).found == [Break(2, BreakReason.NOT_BEGUN)]


def test_gaps_between_sequences_and_blocks_without_events_are_no_breaks() -> None:
    trail = rechained([(3, WHOLE[0].event), (5 * SEAL_BLOCK, WHOLE[1].event), (7 * SEAL_BLOCK + 1, WHOLE[2].event)])
    seals = [AuditSeal(AuditHead(each.sequence, each.digest), b"genuine") for each in trail]
    assert verified(trail, seals).found == []


def forged(trail: Trail) -> Trail:
    """Change an old event, and make every later digest anew."""
    return rechained((place, replace(event, actor="ak-2") if place == 500 else event) for place, event in of(trail))


def without_one(trail: Trail) -> Trail:
    return rechained(of(trail)[:499] + of(trail)[500:])


def without_a_sealed_one(trail: Trail) -> Trail:
    return rechained(of(trail)[: SEAL_BLOCK - 1] + of(trail)[SEAL_BLOCK:])


def with_another(trail: Trail) -> Trail:
    """Insert one event, with the sequences of all later ones moved on."""
    return rechained(
        [*of(trail)[:500], (501, trail[0].event), *((place + 1, event) for place, event in of(trail)[500:])]
    )


def swapped(trail: Trail) -> Trail:
    events = of(trail)
    events[499], events[500] = (500, events[500][1]), (501, events[499][1])
    return rechained(events)


@pytest.mark.parametrize("change", [forged, without_one, with_another, swapped])
def test_who_makes_all_digests_anew_is_found_by_the_first_seal(change: Callable[[Trail], Trail]) -> None:
    done = verified(change(WHOLE))
    assert done.found[0] == Break(SEAL_BLOCK, BreakReason.SEALED_OTHERWISE)
    assert done.sealed is None


def test_a_sealed_event_that_is_taken_out_is_found() -> None:
    found = verified(without_a_sealed_one(WHOLE)).found
    assert found[0] == Break(SEAL_BLOCK, BreakReason.SEALED_AND_GONE)


def test_a_seal_that_the_token_did_not_make_is_found_and_protects_nothing() -> None:
    trail = forged(WHOLE)
    seals = [AuditSeal(AuditHead(each.head.sequence, trail[each.head.sequence - 1].digest), b"?") for each in SEALS]
    done = verified(trail, seals)
    assert done.found == [Break(each.head.sequence, BreakReason.SEAL_FORGED) for each in SEALS]
    assert (done.sealed, done.newer) == (None, LENGTH)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_seal_that_was_deleted_below_another_is_found(which: int) -> None:
    seals = SEALS[:which] + SEALS[which + 1 :]
    assert verified(WHOLE, seals).found == [Break((which + 1) * SEAL_BLOCK, BreakReason.SEAL_GONE)]


def test_a_seal_put_back_over_an_earlier_event_of_its_block_is_found() -> None:
    seals = [SEALS[0], seal(2 * SEAL_BLOCK - 1), *SEALS[2:]]
    assert verified(WHOLE, seals).found == [Break(2 * SEAL_BLOCK, BreakReason.SEAL_GONE)]


def test_a_trail_cut_short_below_its_last_seal_is_found() -> None:
    assert verified(WHOLE[: LAST_SEALED - 1]).found == [Break(LAST_SEALED, BreakReason.SEALED_AND_GONE)]


def test_a_trail_cut_short_with_its_seals_is_found_by_a_head_kept_elsewhere_and_by_nothing_else() -> None:
    older, seals = WHOLE[: 2 * SEAL_BLOCK], SEALS[:2]
    assert verified(older, seals).found == []
    assert verified(older, seals, EXPECTED).found == [Break(EXPECTED.sequence, BreakReason.HEAD_GONE)]


def test_other_events_in_place_of_the_newest_are_found_by_a_head_kept_elsewhere() -> None:
    events = of(WHOLE)
    events[LAST_SEALED] = (LAST_SEALED + 1, replace(events[LAST_SEALED][1], actor="ak-2"))
    assert verified(rechained(events)).found == []
    done = verified(rechained(events), expected=EXPECTED)
    assert done.found == [Break(EXPECTED.sequence, BreakReason.HEAD_OTHERWISE)]


def test_the_head_kept_elsewhere_is_missed_also_where_the_trail_goes_on() -> None:
    events = [(place + (place >= EXPECTED.sequence), event) for place, event in of(WHOLE)]
    assert verified(rechained(events), expected=EXPECTED).found == [Break(EXPECTED.sequence, BreakReason.HEAD_GONE)]


def test_after_a_broken_link_nothing_is_judged() -> None:
    spoilt = [*WHOLE[:1500], replace(WHOLE[1500], digest=bytes(32)), *WHOLE[1501:]]
    done = verified(spoilt, expected=EXPECTED)
    assert done.found == [Break(1501, BreakReason.DIGEST)]
    assert (done.length, done.sealed, done.newer) == (1500, SEALS[0].head, 500)


def test_a_row_that_cannot_be_read_ends_the_pass() -> None:
    verification = Verification()
    verification.follow(WHOLE[:10])
    verification.unreadable(11)
    verification.follow(WHOLE[11:])
    verification.end()
    assert verification.found == [Break(11, BreakReason.UNREADABLE)]
    assert verification.length == 10


def of_node(name: str, first: EventTag) -> Verification:
    """Return what a pass over the whole trail of a node found, which begins with `first`."""
    verification = Verification(node=name)
    verification.follow(rechained([(7, Event(first, Instant(1), None, "ak-1")), (9, event(2))]))
    verification.end()
    return verification


def test_of_several_nodes_one_has_initialised_the_deployment() -> None:
    trails = [of_node("a", EventTag.NODE_JOINED), of_node("b", EventTag.DEPLOYMENT_INITIALISED)]
    require_initialised(trails)
    assert [each.found for each in trails] == [[], []]
    require_initialised(trails[:1])
    assert trails[0].found == [Break(1, BreakReason.NOT_INITIALISED)]


def test_a_trail_that_does_not_hold_anyway_is_not_found_fault_with_twice() -> None:
    trails = [verified(rechained(of(WHOLE)[1:10]), ())]
    require_initialised(trails)
    assert trails[0].found == [Break(2, BreakReason.NOT_BEGUN)]


@pytest.mark.parametrize("first", [EventTag.NODE_JOINED, EventTag.KEY_ENCRYPTED])
def test_how_a_node_s_trail_may_begin(first: EventTag) -> None:
    found = [] if first is EventTag.NODE_JOINED else [Break(7, BreakReason.NOT_BEGUN)]
    assert of_node("a", first).found == found
