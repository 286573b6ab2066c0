"""What every implementation of the store must do with the audit trail and its seals.

A room that has one runs the suite by subclassing `TrailContract` and giving it the fixture `store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import GENESIS
from hsmkms.audit.verification import Walk
from hsmkms.core.events import SEAL_BLOCK, AuditHead, AuditSeal, EventTag
from tests.contract.store_contract import event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.events import Event
    from hsmkms.core.ports import Writing
    from tests.contract.store_contract import WholeStore


def seal(sequence: int, mark: int = 0) -> AuditSeal:
    return AuditSeal(AuditHead(sequence, bytes((mark,)) * 32), bytes((mark + 1,)) * 32)


async def sealed(store: WholeStore, *seals: AuditSeal) -> None:
    for each in seals:

        def keep(writing: Writing, each: AuditSeal = each) -> None:
            writing.seal(each)

        await store.write(keep)


class TrailContract:
    """The cases; each gets an empty store."""

    async def test_many_events_at_once_are_one_chain_with_those_before_and_after(self, store: WholeStore) -> None:
        asked = [event(f"r-{number}", number=number, text="ü\ud800" * 3, nothing=None) for number in range(7)]
        for part in (asked[:1], asked[1:5], [], asked[5:]):

            def append(writing: Writing, part: Sequence[Event] = part) -> None:
                writing.append(*part)
                writing.append()

            await store.write(append)
        trail = await store.trail().events(0, 100)
        assert [each.event for each in trail] == asked
        walk = Walk(GENESIS)
        assert walk.follow(trail) is None
        assert await store.trail().head() == AuditHead(walk.sequence, walk.head)

    async def test_two_appends_in_one_transaction_are_one_chain(self, store: WholeStore) -> None:
        def append_twice(writing: Writing) -> None:
            writing.append(event("one"), event("two"))
            writing.append(event("three"))

        await store.write(append_twice)
        trail = await store.trail().events(0, 100)
        assert [each.event.request_id for each in trail] == ["one", "two", "three"]
        assert Walk().follow(trail) is None

    async def test_an_empty_trail_has_no_head_and_no_seal(self, store: WholeStore) -> None:
        assert await store.trail().head() is None
        assert await store.trail().last_seal() is None
        assert await store.trail().seals(0, 10) == []

    async def test_every_tag_comes_back(self, store: WholeStore) -> None:
        await store.write(lambda writing: writing.append(*(event(tag, tag=tag) for tag in EventTag)))
        assert [each.event.detail["tag"] for each in await store.trail().events(0, 100)] == list(EventTag)

    async def test_a_seal_takes_the_place_of_an_older_one_of_its_block(self, store: WholeStore) -> None:
        first = [seal(3), seal(900, 1), seal(SEAL_BLOCK, 2)]
        await sealed(store, *first)
        assert await store.trail().seals(0, 10) == [first[-1]]
        second = [seal(SEAL_BLOCK + 1, 3), seal(2 * SEAL_BLOCK, 4)]
        await sealed(store, *second)
        assert await store.trail().seals(0, 10) == [first[-1], second[-1]]
        assert await store.trail().last_seal() == second[-1]

    async def test_seals_come_in_the_order_of_the_trail_and_in_pieces(self, store: WholeStore) -> None:
        seals = [seal(number * SEAL_BLOCK, number) for number in range(1, 5)]
        await sealed(store, *reversed(seals))
        assert await store.trail().seals(0, 3) == seals[:3]
        assert await store.trail().seals(3 * SEAL_BLOCK, 3) == seals[3:]
        assert await store.trail().last_seal() == seals[-1]

    async def test_a_seal_that_was_rolled_back_leaves_the_older_one(self, store: WholeStore) -> None:
        await sealed(store, seal(5))

        def seal_in_vain(writing: Writing) -> None:
            writing.seal(seal(6, 7))
            raise KeyError

        with pytest.raises(KeyError):
            await store.write(seal_in_vain)
        assert await store.trail().last_seal() == seal(5)
