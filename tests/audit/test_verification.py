from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import GENESIS, link
from hsmkms.audit.verification import Break, BreakReason, Walk
from hsmkms.core.events import ChainedEvent, Event, EventTag
from hsmkms.core.ids import Instant

if TYPE_CHECKING:
    from collections.abc import Callable

Trail = list[ChainedEvent]


def trail(length: int = 6) -> Trail:
    digest, events = GENESIS, []
    for number in range(length):
        event = Event(EventTag.KEY_CREATED, Instant(number), None, "ak-1", detail={"number": number})
        digest = link(digest, event)
        events.append(ChainedEvent(10 * number + 1, digest, event))
    return events


def test_a_whole_trail_holds_in_pieces_of_any_size() -> None:
    whole = trail()
    for size in range(1, 8):
        walk = Walk()
        for start in range(0, len(whole), size):
            assert walk.follow(whole[start : start + size]) is None
        assert (walk.head, walk.length, walk.broken) == (whole[-1].digest, 6, None)


def test_an_empty_trail_holds() -> None:
    walk = Walk()
    assert walk.follow([]) is None
    assert (walk.head, walk.length) == (GENESIS, 0)


def test_a_walk_goes_on_from_a_digest_kept_elsewhere() -> None:
    whole = trail()
    walk = Walk(whole[2].digest, whole[2].sequence)
    assert walk.follow(whole[3:]) is None
    assert walk.length == 3
    assert Walk(whole[1].digest, whole[1].sequence).follow(whole[3:]) == Break(31, BreakReason.DIGEST)


def changed(events: Trail) -> Trail:
    forged = replace(events[2].event, actor="ak-2")
    return [*events[:2], replace(events[2], event=forged), *events[3:]]


def changed_with_its_digest(events: Trail) -> Trail:
    forged = replace(events[2].event, actor="ak-2")
    return [*events[:2], replace(events[2], event=forged, digest=link(events[1].digest, forged)), *events[3:]]


def dropped(events: Trail) -> Trail:
    return events[:2] + events[3:]


def beheaded(events: Trail) -> Trail:
    return events[1:]


def inserted(events: Trail) -> Trail:
    return [*events[:2], replace(events[1], sequence=15), *events[2:]]


def contents_swapped(events: Trail) -> Trail:
    one, other = events[2], events[3]
    return [*events[:2], replace(other, sequence=one.sequence), replace(one, sequence=other.sequence), *events[4:]]


def order_swapped(events: Trail) -> Trail:
    return [*events[:2], events[3], events[2], *events[4:]]


def renumbered(events: Trail) -> Trail:
    return [*events[:3], replace(events[3], sequence=events[2].sequence), *events[4:]]


@pytest.mark.parametrize(
    ("forge", "found", "held"),
    [
        (changed, Break(21, BreakReason.DIGEST), 2),
        (changed_with_its_digest, Break(31, BreakReason.DIGEST), 3),
        (dropped, Break(31, BreakReason.DIGEST), 2),
        (beheaded, Break(11, BreakReason.DIGEST), 0),
        (inserted, Break(15, BreakReason.DIGEST), 2),
        (contents_swapped, Break(21, BreakReason.DIGEST), 2),
        (order_swapped, Break(31, BreakReason.DIGEST), 2),
        (renumbered, Break(21, BreakReason.DISORDER), 3),
    ],
)
def test_the_first_break_is_reported_and_nothing_after_it(
    forge: Callable[[Trail], Trail], found: Break, held: int
) -> None:
    walk, forged = Walk(), forge(trail())
    assert walk.follow(forged) == found
    assert walk.follow(trail()) == found
    assert walk.length == held
    assert walk.head == (forged[held - 1].digest if held else GENESIS)
