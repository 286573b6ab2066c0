"""Trails of which the first events were archived: the cut stands for them, and only the token's does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.verification import Break, BreakReason, Verification, require_initialised
from hsmkms.core.events import SEAL_BLOCK, AuditCut, AuditHead, AuditSeal, Event, EventTag
from hsmkms.core.ids import Instant
from tests.audit.test_sealed_trails import (
    EXPECTED,
    LAST_SEALED,
    LENGTH,
    SEALS,
    WHOLE,
    Trail,
    event,
    of,
    rechained,
    seal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIRST: Final = AuditCut(SEALS[0].head, b"genuine")
LEFT: Final = WHOLE[SEAL_BLOCK:]
SEALS_LEFT: Final = SEALS[1:]


def follow(verification: Verification, trail: Trail) -> None:
    for start in range(0, len(trail), 700):
        verification.follow(trail[start : start + 700])


def ended(verification: Verification, trail: Trail, seals: Iterable[AuditSeal] = SEALS_LEFT) -> Verification:
    """Go on with the database, after what was archived."""
    for each in seals:
        verification.judge(each, genuine=each.mac == b"genuine")
    follow(verification, trail)
    verification.end()
    return verification


def after(
    cut: AuditCut, trail: Trail, seals: Iterable[AuditSeal] = SEALS_LEFT, expected: AuditHead | None = None
) -> Verification:
    """Return what is found of a trail that begins after a cut."""
    verification = Verification(expected)
    verification.begin_after(cut, genuine=cut.mac == b"genuine")
    return ended(verification, trail, seals)


def through(
    ends: Sequence[AuditSeal],
    expected: AuditHead | None = None,
    trail: Trail = WHOLE,
    *,
    cut: bytes = b"genuine",
) -> Verification:
    """Return what is found of a trail whose archives end with these seals, and whose cut has this MAC."""
    verification, begun = Verification(expected), 0
    for each in ends:
        follow(verification, trail[begun : each.head.sequence])
        verification.end_archive(each, genuine=each.mac == b"genuine")
        begun = each.head.sequence
    if not verification.ended:
        verification.go_on_after(AuditCut(ends[-1].head, cut), genuine=cut == b"genuine")
    return ended(verification, trail[begun:], [each for each in SEALS if each.head.sequence > begun])


def test_what_comes_after_a_genuine_cut_holds() -> None:
    done = after(FIRST, LEFT)
    assert done.found == []
    assert (done.length, done.newer, done.sealed) == (LENGTH - SEAL_BLOCK, LENGTH - LAST_SEALED, SEALS[-1].head)
    assert done.head == done.last == AuditHead(LENGTH, WHOLE[-1].digest)
    assert (done.first, done.cut, done.seals) == (None, FIRST.head, 3)


def test_right_after_a_cut_that_is_what_the_next_event_follows() -> None:
    assert Verification().last is None
    verification = Verification()
    verification.begin_after(FIRST, genuine=True)
    assert verification.last == verification.sealed == FIRST.head
    assert (verification.head, verification.length, verification.newer) == (None, 0, 0)
    read = Verification()
    follow(read, WHOLE[:SEAL_BLOCK])
    assert (read.sealed, read.newer) == (None, SEAL_BLOCK)
    read.end_archive(SEALS[0], genuine=True)
    assert (read.sealed, read.newer, read.length) == (FIRST.head, 0, SEAL_BLOCK)
    read.go_on_after(FIRST, genuine=True)
    assert (read.sealed, read.newer, read.length) == (FIRST.head, 0, SEAL_BLOCK)


def test_a_cut_that_is_not_the_token_s_is_found_and_protects_nothing() -> None:
    done = after(replace(FIRST, mac=b"?"), LEFT, [seal(LAST_SEALED)])
    assert done.found[0] == Break(SEAL_BLOCK, BreakReason.CUT_FORGED)
    verification = Verification()
    verification.begin_after(replace(FIRST, mac=b"?"), genuine=False)
    assert verification.sealed is None


@pytest.mark.parametrize(
    ("trail", "found"),
    [
        (WHOLE[SEAL_BLOCK + 1 :], Break(SEAL_BLOCK + 2, BreakReason.DIGEST)),
        (WHOLE, Break(1, BreakReason.DISORDER)),
        (rechained(of(WHOLE)[SEAL_BLOCK:]), Break(SEAL_BLOCK + 1, BreakReason.DIGEST)),
    ],
    ids=["an event gone", "what was archived is there", "a chain of its own"],
)
def test_the_first_event_after_a_cut_has_to_follow_it(trail: Trail, found: Break) -> None:
    assert after(FIRST, trail).found == [found]


def test_an_older_cut_does_not_fit() -> None:
    assert after(FIRST, WHOLE[2 * SEAL_BLOCK :], SEALS[2:]).found == [Break(2 * SEAL_BLOCK + 1, BreakReason.DIGEST)]


def test_the_event_of_the_cut_needs_no_seal_of_its_own_and_those_after_it_do() -> None:
    assert after(FIRST, LEFT).found == []
    assert after(FIRST, LEFT, SEALS[2:]).found == [Break(2 * SEAL_BLOCK, BreakReason.SEAL_GONE)]


def test_where_nothing_is_left_after_a_cut_the_seals_are_missed() -> None:
    for trail in ([], LEFT):
        assert after(FIRST, trail, ()).found == [Break(SEAL_BLOCK, BreakReason.ALL_GONE)]
    found = after(FIRST, []).found
    assert found == [Break(each.head.sequence, BreakReason.SEALED_AND_GONE) for each in SEALS_LEFT]


def test_one_seal_is_enough() -> None:
    assert after(FIRST, LEFT, [seal(SEAL_BLOCK + 5)]).found == []


OTHER: Final = bytes(32)
HEADS: Final[dict[str, tuple[AuditHead, list[Break]]]] = {
    "below": (AuditHead(7, WHOLE[6].digest), [Break(7, BreakReason.HEAD_ARCHIVED)]),
    "right below": (
        AuditHead(SEAL_BLOCK - 1, WHOLE[SEAL_BLOCK - 2].digest),
        [Break(SEAL_BLOCK - 1, BreakReason.HEAD_ARCHIVED)],
    ),
    "at": (FIRST.head, []),
    "at, otherwise": (AuditHead(SEAL_BLOCK, OTHER), [Break(SEAL_BLOCK, BreakReason.HEAD_OTHERWISE)]),
    "right above": (AuditHead(SEAL_BLOCK + 1, LEFT[0].digest), []),
    "above": (EXPECTED, []),
    "above, otherwise": (
        AuditHead(EXPECTED.sequence, OTHER),
        [Break(EXPECTED.sequence, BreakReason.HEAD_OTHERWISE)],
    ),
    "too far above": (AuditHead(LENGTH + 1, OTHER), [Break(LENGTH + 1, BreakReason.HEAD_GONE)]),
}


@pytest.mark.parametrize("where", HEADS)
def test_a_head_kept_elsewhere_is_held_against_what_there_is(where: str) -> None:
    expected, found = HEADS[where]
    assert after(FIRST, LEFT, expected=expected).found == found


@pytest.mark.parametrize("ends", [SEALS[:1], SEALS[1:2], SEALS[:2]])
@pytest.mark.parametrize("where", HEADS)
def test_with_the_archives_every_head_can_be_found(where: str, ends: Sequence[AuditSeal]) -> None:
    expected, found = HEADS[where]
    done = through(ends, expected)
    assert done.found == [each for each in found if each.reason is not BreakReason.HEAD_ARCHIVED]
    assert (done.length, done.sealed, done.newer) == (LENGTH, SEALS[-1].head, LENGTH - LAST_SEALED)
    assert (done.first, done.cut) == (EventTag.DEPLOYMENT_INITIALISED, ends[-1].head)


def test_a_head_with_another_digest_is_found_in_an_archive() -> None:
    done = through(SEALS[:1], AuditHead(7, OTHER))
    assert done.found == [Break(7, BreakReason.HEAD_OTHERWISE)]


def test_a_head_that_is_missing_in_an_archive_is_gone() -> None:
    gap = [(place + (place >= 7), event) for place, event in of(WHOLE)]
    expected, trail = AuditHead(7, WHOLE[6].digest), rechained(gap)
    verification = Verification(expected)
    follow(verification, trail[:20])
    assert verification.found == [Break(7, BreakReason.HEAD_GONE)]


def test_an_archive_that_does_not_end_with_the_event_of_its_seal_is_found() -> None:
    for length, sequence in ((SEAL_BLOCK - 1, SEAL_BLOCK), (SEAL_BLOCK + 1, SEAL_BLOCK)):
        verification = Verification()
        follow(verification, WHOLE[:length])
        verification.end_archive(SEALS[0], genuine=True)
        assert verification.found == [Break(sequence, BreakReason.ARCHIVED_OTHERWISE)]
        assert verification.ended
        assert verification.cut is None


def test_an_archive_changed_and_chained_anew_does_not_lead_to_its_seal() -> None:
    events = of(WHOLE)
    events[7] = (8, replace(events[7][1], actor="ak-2"))
    done = through(SEALS[:1], trail=rechained(events))
    assert done.found == [Break(SEAL_BLOCK, BreakReason.ARCHIVED_OTHERWISE)]
    assert done.sealed is None


FORGED: Final = [replace(each, mac=b"?") for each in SEALS]


@pytest.mark.parametrize(
    ("ends", "found"),
    [(FORGED[:1], [0]), ([FORGED[0], SEALS[1]], [0]), ([SEALS[0], FORGED[1]], [1]), (FORGED[:2], [0, 1])],
)
def test_a_forged_seal_of_an_archive_is_found_also_where_the_next_and_the_cut_are_genuine(
    ends: Sequence[AuditSeal], found: Sequence[int]
) -> None:
    done = through(ends)
    assert done.found == [Break(SEALS[each].head.sequence, BreakReason.SEAL_FORGED) for each in found]


def test_a_forged_seal_of_an_archive_protects_nothing() -> None:
    verification = Verification()
    follow(verification, WHOLE[:SEAL_BLOCK])
    verification.end_archive(FORGED[0], genuine=False)
    assert (verification.sealed, verification.newer) == (None, SEAL_BLOCK)


def test_a_forged_cut_is_found_also_where_the_archive_before_it_holds() -> None:
    for ends in (SEALS[:1], SEALS[:2]):
        assert through(ends, cut=b"?").found == [Break(ends[-1].head.sequence, BreakReason.CUT_FORGED)]


def test_after_a_break_in_an_archive_nothing_is_judged() -> None:
    spoilt = [*WHOLE[:7], replace(WHOLE[7], digest=OTHER), *WHOLE[8:]]
    verification = Verification(EXPECTED)
    follow(verification, spoilt)
    verification.end()
    assert verification.found == [Break(8, BreakReason.DIGEST)]


def test_a_trail_that_begins_in_an_archive_begins_as_any_other() -> None:
    trail = rechained(of(WHOLE)[1:SEAL_BLOCK])
    verification = Verification()
    follow(verification, trail)
    verification.end_archive(AuditSeal(AuditHead(SEAL_BLOCK, trail[-1].digest), b"genuine"), genuine=True)
    assert verification.found == [Break(2, BreakReason.NOT_BEGUN)]


# --- several nodes -------------------------------------------------------------------------------------


def of_node(name: str, first: EventTag, *, archived: bool, looked_at: bool = False) -> Verification:
    """Return a node's trail of which some was archived, or not; `looked_at`: the archive was read."""
    verification = Verification(node=name)
    trail = rechained([(7, Event(first, Instant(1), None, "ak-1")), *((each, event(each)) for each in (9, 1001, 1003))])
    heads = [AuditHead(each.sequence, each.digest, name) for each in trail]
    cut = AuditCut(heads[1], b"genuine")
    seals = [AuditSeal(heads[3], b"genuine")]
    if archived and not looked_at:
        verification.begin_after(cut, genuine=True)
        return ended(verification, trail[2:], seals)
    if not archived:
        return ended(verification, trail, [AuditSeal(heads[1], b"genuine"), *seals])
    verification.follow(trail[:2])
    verification.end_archive(AuditSeal(heads[1], b"genuine"), genuine=True)
    verification.go_on_after(cut, genuine=True)
    return ended(verification, trail[2:], seals)


JOINED: Final = EventTag.NODE_JOINED
INITIALISED: Final = EventTag.DEPLOYMENT_INITIALISED


def test_a_cut_or_a_seal_stands_for_the_node_s_trail_and_for_no_other_s() -> None:
    done = of_node("b", JOINED, archived=True)
    assert (done.found, done.node) == ([], "b")
    assert done.cut is not None
    assert (done.cut.sequence, done.cut.node) == (9, "b")
    alien = AuditSeal(replace(FIRST.head, node="a"), b"genuine")
    verification = Verification(node="b")
    follow(verification, WHOLE[:SEAL_BLOCK])
    verification.end_archive(alien, genuine=True)
    assert verification.found[-1] == Break(SEAL_BLOCK, BreakReason.ARCHIVED_OTHERWISE)


def test_what_was_archived_and_not_looked_at_may_have_initialised_the_deployment() -> None:
    for trails in (
        [of_node("a", INITIALISED, archived=True), of_node("b", JOINED, archived=False)],
        [of_node("a", INITIALISED, archived=True), of_node("b", JOINED, archived=True)],
        [of_node("a", INITIALISED, archived=True, looked_at=True), of_node("b", JOINED, archived=False)],
    ):
        require_initialised(trails)
        assert [each.found for each in trails] == [[], []]


def test_what_was_archived_and_looked_at_has_initialised_it_or_not() -> None:
    trails = [of_node("b", JOINED, archived=True, looked_at=True), of_node("c", JOINED, archived=False)]
    require_initialised(trails)
    assert [each.found for each in trails] == [[Break(1, BreakReason.NOT_INITIALISED)], []]
