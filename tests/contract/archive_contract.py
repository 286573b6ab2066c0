"""What every implementation of the store must do with the cuts of the audit trail, and with what is before them.

A room that has one runs the suite by subclassing `ArchiveContract` and giving it the fixtures `store` and `other`, two
handles on one empty database, `neighbour`, one of another node, and `url`, where the database is.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import update

from hsmkms.audit.verification import Walk
from hsmkms.core.errors import ChangedMeanwhile, EventUnreadable
from hsmkms.core.events import DIGEST_BYTES, MAC_BYTES, SEAL_BLOCK, AuditCut, AuditHead, AuditSeal
from hsmkms.store.schema import AUDIT_CUTS
from hsmkms.store.writing import SqlWriting
from tests.contract.store_contract import SECONDS, event
from tests.contract.trail_contract import sealed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.events import ChainedEvent
    from hsmkms.core.ports import Writing
    from tests.contract.store_contract import WholeStore

NEIGHBOUR: Final = "node-2"
WRITER: Final = Path(__file__).parents[1] / "store" / "crashing_writer.py"
EVENTS: Final = 20_000
PIECE: Final = 1000

SPOILT: Final[dict[str, dict[str, object]]] = {
    "no sequence": {"sequence": 0},
    "a negative sequence": {"sequence": -5},
    "no digest": {"digest": b""},
    "half a digest": {"digest": bytes(DIGEST_BYTES - 1)},
    "more than a digest": {"digest": bytes(DIGEST_BYTES + 1)},
    "no MAC": {"mac": b""},
    "half a MAC": {"mac": bytes(MAC_BYTES - 1)},
    "more than a MAC": {"mac": bytes(MAC_BYTES + 1)},
    "of what no node is called": {"node": "No Node"},
    "of a node with a name too long": {"node": "n" * 33},
}


def cut(sequence: int, mark: int = 0, node: str = "") -> AuditCut:
    return AuditCut(AuditHead(sequence, bytes((mark,)) * DIGEST_BYTES, node), bytes((mark + 1,)) * MAC_BYTES)


def seal(block: int, node: str = "") -> AuditSeal:
    """Return a seal on the last sequence of a block."""
    return AuditSeal(AuditHead(block * SEAL_BLOCK, bytes(DIGEST_BYTES), node), bytes(MAC_BYTES))


def after(chained: ChainedEvent, node: str = "") -> AuditCut:
    """Return a cut after an event that there is."""
    return AuditCut(AuditHead(chained.sequence, chained.digest, node), bytes(MAC_BYTES))


async def have_cut(store: WholeStore, old: AuditCut | None, new: AuditCut) -> None:
    await store.write(lambda writing: writing.cut(old, new))


async def appended(store: WholeStore, *requests: str) -> None:
    await store.write(lambda writing: writing.append(*map(event, requests)))


async def all_events(store: WholeStore, node: str | None = None) -> list[ChainedEvent]:
    found: list[ChainedEvent] = []
    while piece := await store.trail(node).events(found[-1].sequence if found else 0, PIECE):
        found += piece
    return found


async def removed(store: WholeStore, up_to: AuditCut, most: int) -> list[int]:
    """Remove piece by piece and return how many events each piece had."""
    counts = []
    while count := await store.write(lambda writing: writing.remove_archived(up_to, most)):
        counts.append(count)
    return counts


def requests_of(trail: Sequence[ChainedEvent]) -> list[str | None]:
    return [each.event.request_id for each in trail]


class ArchiveContract:
    """The cases; each gets an empty store."""

    # --- where a trail begins --------------------------------------------------------------------------------

    async def test_a_trail_that_was_never_archived_has_no_cut(self, store: WholeStore) -> None:
        assert await store.trail().cut() is None
        await appended(store, "r-1")
        await have_cut(store, None, cut(1, node=NEIGHBOUR))
        assert await store.trail().cut() is None

    async def test_a_cut_takes_the_place_of_the_one_before(self, store: WholeStore, other: WholeStore) -> None:
        first, second, third = cut(3), cut(2**63 - 1, 8), cut(5, 16)
        await have_cut(store, None, first)
        assert await store.trail().cut() == first == await other.trail().cut()
        await have_cut(other, first, second)
        assert await store.trail().cut() == second == await other.trail().cut()
        await have_cut(store, second, third)
        assert await store.trail().cut() == third

    async def test_each_node_has_a_cut_of_its_own(self, store: WholeStore, neighbour: WholeStore) -> None:
        ours, theirs = cut(3), cut(3, 8, NEIGHBOUR)
        await have_cut(store, None, ours)
        await have_cut(store, None, theirs)
        later = cut(9, 16, NEIGHBOUR)
        await have_cut(store, theirs, later)
        assert await store.trail().cut() == ours
        assert await neighbour.trail().cut() == later == await store.trail(NEIGHBOUR).cut()

    @pytest.mark.parametrize(
        ("there", "old"),
        [
            pytest.param(None, cut(3), id="there is none"),
            pytest.param(cut(3), None, id="there is one"),
            pytest.param(cut(3), cut(4), id="of another sequence"),
            pytest.param(cut(3), AuditCut(cut(3, 8).head, cut(3).mac), id="of another digest"),
            pytest.param(cut(3), AuditCut(cut(3).head, cut(3, 8).mac), id="of another MAC"),
            pytest.param(cut(3), cut(3, node=NEIGHBOUR), id="of another node"),
        ],
    )
    async def test_a_trail_that_begins_elsewhere_is_not_cut(
        self, store: WholeStore, there: AuditCut | None, old: AuditCut | None
    ) -> None:
        theirs = cut(3, node=NEIGHBOUR)
        await have_cut(store, None, theirs)
        if there is not None:
            await have_cut(store, None, there)
        with pytest.raises(ChangedMeanwhile):
            await have_cut(store, old, cut(9, 16))
        assert await store.trail().cut() == there
        assert await store.trail(NEIGHBOUR).cut() == theirs

    async def test_a_cut_that_was_rolled_back_leaves_the_one_before(self, store: WholeStore) -> None:
        await have_cut(store, None, cut(3))

        def cut_in_vain(writing: Writing) -> None:
            writing.cut(cut(3), cut(4))
            raise KeyError

        with pytest.raises(KeyError):
            await store.write(cut_in_vain)
        assert await store.trail().cut() == cut(3)

    @pytest.mark.parametrize("old", [None, cut(3)], ids=["first", "later"])
    async def test_of_two_at_once_one_cuts_and_the_other_changes_nothing(
        self, store: WholeStore, other: WholeStore, old: AuditCut | None
    ) -> None:
        if old is not None:
            await have_cut(store, None, old)

        def cut_and_say_so(writing: Writing, number: int) -> None:
            writing.append(event(str(number)))
            writing.cut(old, cut(10 + number, number))

        changes = [
            each.write(partial(cut_and_say_so, number=10 * turn + number))
            for turn in range(4)
            for number, each in enumerate((store, other))
        ]
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        refused = [each for each in outcomes if each is not None]
        assert len(refused) == len(changes) - 1
        assert all(type(each) is ChangedMeanwhile for each in refused)
        (said,) = requests_of(await all_events(store))
        assert said is not None
        assert await store.trail().cut() == cut(10 + int(said), int(said))

    @pytest.mark.parametrize("how", SPOILT)
    async def test_what_is_no_cut_is_named_and_never_replaced(self, store: WholeStore, how: str) -> None:
        await have_cut(store, None, cut(3))

        def spoil(writing: Writing) -> None:
            assert isinstance(writing, SqlWriting)
            values: dict[str, Any] = SPOILT[how]
            assert writing.run(update(AUDIT_CUTS).values(values)).rowcount == 1

        await store.write(spoil)
        node = SPOILT[how].get("node", "")
        assert await store.nodes() == [node]
        assert isinstance(node, str)
        with pytest.raises(EventUnreadable, match="The cut after event"):
            await store.trail(node).cut()
        for old in (None, cut(3, node=node)):
            with pytest.raises(EventUnreadable, match="The cut after event"):
                await have_cut(store, old, cut(4, node=node))

    # --- what was archived -------------------------------------------------------------------------------------

    async def test_what_was_archived_goes_in_pieces_and_what_is_after_it_stays(self, store: WholeStore) -> None:
        await appended(store, *(f"r-{number}" for number in range(10)))
        trail = await all_events(store)
        up_to = after(trail[6])
        assert await store.write(lambda writing: writing.remove_archived(up_to, 3)) == 3
        assert await all_events(store) == trail[3:], "the oldest first"
        assert await removed(store, up_to, 3) == [3, 1]
        assert await store.write(lambda writing: writing.remove_archived(up_to, 3)) == 0
        assert await all_events(store) == trail[7:]
        assert Walk(up_to.head.digest, up_to.head.sequence).follow(trail[7:]) is None

    async def test_a_removal_that_was_rolled_back_removed_nothing(self, store: WholeStore) -> None:
        await appended(store, "r-1", "r-2", "r-3")
        await sealed(store, seal(1))
        trail = await all_events(store)

        def remove_in_vain(writing: Writing) -> None:
            assert writing.remove_archived(replace(after(trail[1]), head=seal(1).head), 10) == 3
            raise KeyError

        with pytest.raises(KeyError):
            await store.write(remove_in_vain)
        assert await all_events(store) == trail
        assert await store.trail().seals(0, 10) == [seal(1)]

    async def test_the_chain_goes_on_as_if_nothing_had_been_removed(self, store: WholeStore) -> None:
        await appended(store, *(f"r-{number}" for number in range(4)))
        trail = await all_events(store)
        up_to, head = after(trail[2]), await store.trail().head()
        await have_cut(store, None, up_to)
        assert await removed(store, up_to, 10) == [3]
        assert await store.trail().head() == head
        await appended(store, "next")
        left = await all_events(store)
        assert requests_of(left) == ["r-3", "next"]
        assert Walk(up_to.head.digest, up_to.head.sequence).follow(left) is None

    async def test_no_sequence_is_given_twice(self, store: WholeStore) -> None:
        """An event of a sequence up to the cut would be removed unseen."""
        await appended(store, "r-1", "r-2")
        up_to = after((await all_events(store))[-1])
        assert await removed(store, up_to, 10) == [2]
        await appended(store, "next")
        (left,) = await all_events(store)
        assert left.sequence > up_to.head.sequence
        assert await removed(store, up_to, 10) == []

    async def test_the_events_of_another_node_stay_wherever_they_are(
        self, store: WholeStore, neighbour: WholeStore
    ) -> None:
        for number in range(6):
            await appended(store, f"ours {number}")
            await appended(neighbour, f"theirs {number}")
        ours, theirs = await all_events(store), await all_events(neighbour)
        assert theirs[0].sequence < ours[-2].sequence, "they share their sequences"
        up_to = after(ours[-2])
        assert await removed(store, up_to, 2) == [2, 2, 1]
        assert await all_events(store) == ours[-1:]
        assert await all_events(store, NEIGHBOUR) == theirs
        assert await removed(store, after(theirs[-2], NEIGHBOUR), 100) == [len(theirs) - 1]
        assert await all_events(store) == ours[-1:]
        assert await all_events(neighbour) == theirs[-1:]

    async def test_the_seals_up_to_the_cut_go_with_the_first_piece(self, store: WholeStore) -> None:
        await appended(store, "r-1", "r-2", "r-3")
        ours = [seal(number) for number in range(1, 5)]
        theirs = [seal(number, NEIGHBOUR) for number in range(1, 5)]
        await sealed(store, *ours, *theirs)
        up_to = AuditCut(ours[1].head, ours[1].mac)
        assert await store.write(lambda writing: writing.remove_archived(up_to, 1)) == 1
        assert await store.trail().seals(0, 10) == ours[2:]
        assert await store.trail(NEIGHBOUR).seals(0, 10) == theirs
        assert await store.trail().last_seal() == ours[-1]

    async def test_a_node_of_which_only_a_cut_is_left_has_a_trail(self, store: WholeStore) -> None:
        assert await store.nodes() == []
        await have_cut(store, None, cut(3, node="node-3"))
        await sealed(store, seal(1, "node-1"))
        await appended(store, "r-1")
        assert await store.nodes() == ["", "node-1", "node-3"]
        await have_cut(store, None, cut(1))
        assert await store.nodes() == ["", "node-1", "node-3"]

    @pytest.mark.timeout(4 * SECONDS)
    async def test_another_process_writes_while_a_long_trail_is_removed(self, store: WholeStore, url: str) -> None:
        """It would end if it had to wait for longer than it may."""
        for number in range(0, EVENTS, PIECE):
            await appended(store, *(f"r-{number + each}" for each in range(PIECE)))
        head = await store.trail().head()
        assert head is not None
        up_to = AuditCut(head, bytes(MAC_BYTES))
        writer = await asyncio.create_subprocess_exec(
            sys.executable, str(WRITER), url, "0", stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        try:
            said = [await writer.stdout.readline()]
            await have_cut(store, None, up_to)
            assert await removed(store, up_to, PIECE) == [PIECE] * (EVENTS // PIECE)
            in_the_end = await store.trail().head()
            while await store.trail().head() == in_the_end:
                said.append(await writer.stdout.readline())
                assert said[-1], "it goes on"
        finally:
            writer.kill()
            said += (await writer.stdout.read()).splitlines()
            await writer.wait()
        left = await all_events(store)
        assert {f"key-{int(line)}" for line in said} <= set(requests_of(left))
        assert Walk(head.digest, head.sequence).follow(left) is None
