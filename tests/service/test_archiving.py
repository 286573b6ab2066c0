"""The oldest part of the trail goes into an archive, and nothing is lost on the way, whoever interferes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.archive import ArchivedEvent, ArchiveOf, NodeBegins, read, text_of
from hsmkms.audit.chain import GENESIS, link
from hsmkms.audit.verification import Break, BreakReason
from hsmkms.core.errors import ArchiveUnusable, StoreUnavailable
from hsmkms.core.events import SEAL_BLOCK, AuditCut, AuditHead, AuditSeal, ChainedEvent, Event, EventTag
from hsmkms.core.ids import Instant
from hsmkms.service.archiving import Part, require_leads_to_seals
from hsmkms.service.verifying import verify
from hsmkms.store.database import SqlStore
from hsmkms.store.node_trail import NodeTrail
from tests.service.archived import DAY, DEPLOYMENT, Archive, Installation, installation, lines_of
from tests.service.house import Killed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from hsmkms.audit.archive import Line
    from hsmkms.core.ports import Writing


@pytest.fixture
async def installed(empty_database: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Installation]]]:
    """Make an installation of the nodes named, or of one that has no name."""
    async with AsyncExitStack() as stack:

        async def make(*nodes: str) -> Installation:
            return await stack.enter_async_context(installation(empty_database, tmp_path / "hsmkms.db", *nodes))

        yield make


@pytest.fixture
async def one(installed: Callable[..., Awaitable[Installation]]) -> Installation:
    """An installation of one node, with four blocks of three events: 1, 1001, 2001 and 3001 and the two after each."""
    made = await installed()
    await made.blocks(4)
    return made


@pytest.fixture
async def two(installed: Callable[..., Awaitable[Installation]]) -> Installation:
    """An installation of two nodes, with four blocks of three events each; in the first one, b has joined."""
    made = await installed("a", "b")
    await made.blocks(4)
    return made


# --- what is chosen ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "last"), [(0, 2003), (1, 2003), (2, 1003), (3, 3), (4, None), (5, None)], ids=str)
async def test_what_is_so_old_is_archived_up_to_a_seal_and_never_the_last(
    one: Installation, days: int, last: int | None
) -> None:
    before = await one.trail("")
    done = await one.archive(one.days_ago(days))
    assert done.ends == ([] if last is None else [("", last)])
    archived = done.events("") if done.parts else []
    assert archived == [each for each in before if last is not None and each.sequence <= last]
    left = await one.trail("")
    assert [*archived, *left][: len(before)] == before
    assert [each.event.tag for each in left[len(before) - len(archived) :]] == [EventTag.TRAIL_ARCHIVED] * len(
        done.parts
    )
    assert await one.found() == []
    assert await one.found([done] if done.parts else []) == []


@pytest.mark.parametrize(("late", "last"), [(-1, 1003), (0, 1003), (1, 2003)])
async def test_an_event_of_that_very_instant_is_kept(one: Installation, late: int, last: int) -> None:
    at = (await one.trail(""))[6].event.at
    assert (await one.trail(""))[6].sequence == 2001
    parts = await one.archiving().parts(Instant(at + late))
    assert [each.seal.head.sequence for each in parts] == [last]


async def test_one_event_that_is_too_new_keeps_its_block_and_all_that_follows(one: Installation) -> None:
    one.clock.advance(100 * DAY)
    new = one.clock.now()
    await one.grow("")
    one.clock.advance(-100 * DAY)  # set back
    await one.blocks(2)
    parts = await one.archiving().parts(new)
    assert [each.seal.head.sequence for each in parts] == [3003]


async def test_an_event_of_a_day_far_ahead_keeps_what_follows_unless_the_days_do_not_count(
    installed: Callable[..., Awaitable[Installation]],
) -> None:
    made = await installed()
    await made.grow("")
    made.clock.advance(10_000 * DAY)
    await made.grow("")
    made.clock.advance(-10_000 * DAY)  # set right
    await made.seal()
    made.next_block()
    await made.blocks(3)
    whole = await made.trail("")
    made.clock.advance(365 * DAY)
    assert (await made.archive(made.clock.now())).parts == []
    archive = await made.archive(None)
    assert archive.ends == [("", 2003)]
    assert archive.events("") == [each for each in whole if each.sequence <= 2003]
    assert await made.found() == []
    assert await made.found([archive]) == []
    assert (await made.archive(None)).parts == []


async def test_of_a_trail_without_seals_or_with_one_nothing_is_archived(
    installed: Callable[..., Awaitable[Installation]],
) -> None:
    made = await installed()
    far = Instant(made.clock.now() + 1_000 * DAY * 1000)
    assert await made.archiving().parts(far) == []
    await made.grow("", 5)
    assert await made.archiving().parts(far) == []
    await made.seal()
    assert await made.archiving().parts(far) == []
    made.next_block()
    await made.grow("", 5)
    assert await made.archiving().parts(far) == []
    await made.seal()
    assert [each.seal.head.sequence for each in await made.archiving().parts(far)] == [5]


async def test_what_is_archived_is_named_in_the_trail(one: Installation) -> None:
    digest = (await one.trail(""))[5].digest
    await one.archive(one.days_ago(2))
    event = (await one.trail(""))[-1].event
    detail: dict[str, str | int | bool | None] = {"node": "", "sequence": 1003, "digest": digest.hex(), "events": 6}
    assert event == Event(EventTag.TRAIL_ARCHIVED, one.clock.now(), None, "operator", detail=detail)
    cut = await one.store.trail().cut()
    assert cut is not None
    assert cut.head == AuditHead(1003, digest)
    assert await one.hsm.holds_cut(DEPLOYMENT, cut.head, cut.mac)
    assert not await one.hsm.holds_seal(DEPLOYMENT, cut.head, cut.mac)


async def test_an_archive_has_the_lines_of_its_parts_in_order(two: Installation) -> None:
    archive = await two.archive(two.days_ago(3))
    kinds = [type(line) for line in archive.lines()]
    assert archive.ends == [("a", 3), ("b", 7)]
    assert kinds == [NodeBegins, *3 * [ArchivedEvent], AuditSeal, NodeBegins, *4 * [ArchivedEvent], AuditSeal]
    assert archive.texts[0] == text_of(ArchiveOf(DEPLOYMENT))


async def test_the_token_is_asked_for_a_cut_of_what_was_written_and_read_back_and_of_nothing_before(
    two: Installation,
) -> None:
    archiving, archive = await two.written(two.days_ago(2))
    require_leads_to_seals(archive.lines(), archive.parts)
    assert two.hsm.cuts == []
    await archiving.cut(archive.parts)
    assert two.hsm.cuts == [each.seal.head for each in archive.parts]
    for part in archive.parts:
        cut = await two.store.trail(part.node).cut()
        assert cut is not None
        assert cut.mac.hex() not in "".join(archive.texts)


# --- again, and of several nodes -----------------------------------------------------------------------


async def test_one_archive_goes_on_where_another_ended(one: Installation) -> None:
    whole = list(await one.trail(""))
    archives = [await one.archive(one.days_ago(days)) for days in (3, 2, 1)]
    assert [each.ends for each in archives] == [[("", 3)], [("", 1003)], [("", 2003)]]
    assert [each.parts[0].events for each in archives] == [3, 3, 3]
    assert [event for each in archives for event in each.events("")] == whole[:9]
    assert (await one.archive(one.days_ago(0))).parts == []
    assert await one.found() == []
    assert await one.found(archives) == []
    head = whole[4]
    assert await one.found(archives, AuditHead(head.sequence, head.digest)) == []
    assert await one.found(None, AuditHead(head.sequence, head.digest)) == [Break(1002, BreakReason.HEAD_ARCHIVED)]


async def test_archives_that_are_not_all_there_are_in_their_order_are_found(one: Installation) -> None:
    first, second, third = [await one.archive(one.days_ago(days)) for days in (3, 2, 1)]
    for archives, found in (
        ([second, third], Break(3, BreakReason.ARCHIVE_MISSING)),
        ([first, third], Break(1003, BreakReason.ARCHIVE_MISSING)),
        ([second, first, third], Break(3, BreakReason.ARCHIVE_MISSING)),
        ([first, third, second], Break(1003, BreakReason.ARCHIVE_MISSING)),
        ([first, first, second, third], Break(3, BreakReason.ARCHIVE_MISSING)),
        ([first, second], Break(1003, BreakReason.CUT_ELSEWHERE)),
        ([first], Break(3, BreakReason.CUT_ELSEWHERE)),
        ([], Break(2003, BreakReason.ARCHIVE_MISSING)),
    ):
        assert await one.found(archives) == [found]
    one.edit("DELETE FROM audit_cuts")
    assert await one.found([first, second, third]) == [Break(2003, BreakReason.CUT_ELSEWHERE)]
    assert await one.found() == [Break(3001, BreakReason.DIGEST)]


async def test_an_archive_whose_seal_is_not_the_token_s_is_found(one: Installation) -> None:
    archives, cuts = [], []
    for days in (3, 2, 1):
        archives.append(await one.archive(one.days_ago(days)))
        cuts.append(await one.store.trail().cut())
    seals = [line for each in archives for line in each.lines() if isinstance(line, AuditSeal)]
    for which, seal in enumerate(seals):
        own = cuts[which]
        assert own is not None
        assert own.head == seal.head
        for mac in (bytes(32), own.mac, *(each.mac for each in seals if each != seal)):
            forged = Archive([*archives[which].texts[:-1], text_of(replace(seal, mac=mac))], archives[which].parts)
            named = [*archives[:which], forged, *archives[which + 1 :]]
            assert await one.found(named) == [Break(seal.head.sequence, BreakReason.SEAL_FORGED)]


async def test_an_archive_chained_anew_does_not_lead_to_its_seal(one: Installation) -> None:
    archive = await one.archive(one.days_ago(2))
    begins, *events, seal = archive.lines()
    digest, changed = GENESIS, []
    for each in events:
        assert isinstance(each, ArchivedEvent)
        event = replace(each.chained.event, actor="ak-2")
        digest = link(digest, event)
        changed.append(replace(each, chained=replace(each.chained, event=event, digest=digest)))
    assert isinstance(seal, AuditSeal)
    for end, found in (
        (seal, BreakReason.ARCHIVED_OTHERWISE),
        (replace(seal, head=replace(seal.head, digest=digest)), BreakReason.CUT_ELSEWHERE),
    ):
        lines = [ArchiveOf(DEPLOYMENT), begins, *changed, end]
        named = [Archive([text_of(each) for each in lines], archive.parts)]
        assert (await one.found(named))[-1] == Break(1003, found)


async def test_the_trails_of_all_nodes_are_archived_and_each_has_a_cut_of_its_own(two: Installation) -> None:
    whole = {node: list(await two.trail(node)) for node in two.stores}
    first, second = [await two.archive(two.days_ago(days)) for days in (3, 1)]
    for node in two.stores:
        held = whole[node][: len(whole[node]) - 3]
        assert [*first.events(node), *second.events(node)] == held
    named = [each.event for each in await two.trail("a") if each.event.tag is EventTag.TRAIL_ARCHIVED]
    assert [each.detail["node"] for each in named] == ["a", "b", "a", "b"]
    assert EventTag.TRAIL_ARCHIVED not in [each.event.tag for each in await two.trail("b")]
    assert await two.found() == []
    assert await two.found([first, second]) == []
    assert [each.reason for each in await two.found([second])] == [BreakReason.ARCHIVE_MISSING] * 2


async def test_a_node_may_have_nothing_to_archive(two: Installation) -> None:
    two.clock.advance(10 * DAY)
    before = two.clock.now()
    for _ in range(2):
        await two.grow("b")
        await two.seal()
        two.next_block()
    await two.archive(Instant(before))
    two.clock.advance(DAY)
    later = await two.archive(Instant(before + 1))
    assert {each.node for each in later.parts} == {"b"}
    assert await two.found() == []


async def test_a_node_whose_trail_is_gone_altogether_is_missed_by_the_archives(two: Installation) -> None:
    archive = await two.archive(two.days_ago(1))
    two.edit(*(f"DELETE FROM {table} WHERE node = 'b'" for table in ("events", "audit_seals", "audit_cuts")))  # noqa: S608
    assert await two.found() == []  # without them, only a head kept elsewhere tells
    assert [each.reason for each in await two.found([archive])] == [BreakReason.CUT_ELSEWHERE]


async def test_of_two_archives_at_once_the_later_one_says_so_whenever_the_other_was_made(two: Installation) -> None:
    archiving = two.archiving()
    parts = await archiving.parts(two.days_ago(1))
    await archiving.require_not_cut(parts)
    await two.archive(two.days_ago(1))
    with pytest.raises(ArchiveUnusable, match="Another archive was made meanwhile"):
        await archiving.require_not_cut(parts)


async def test_the_service_goes_on_sealing_also_after_a_restart(one: Installation) -> None:
    await one.archive(one.days_ago(1))
    await one.grow("")
    await one.seal()
    assert one.hsm.sealed[-1].sequence == 4004
    one.next_block()
    await one.grow("")
    restarted = one.sealer("")
    await restarted.seal_new()
    assert one.hsm.sealed[-1].sequence == 5003
    assert not restarted.level.broken
    head = await one.store.trail().head()
    assert head is not None
    assert await one.found(None, head) == []


async def test_of_a_trail_that_does_not_hold_nothing_is_archived(two: Installation) -> None:
    two.edit("UPDATE events SET actor = 'ak-2' WHERE node = 'b' AND sequence = 1005")
    left = two.rows("events")
    with pytest.raises(ArchiveUnusable, match="does not hold"):
        await two.archiving().parts(two.days_ago(1))
    two.edit("UPDATE events SET actor = 'ak-1' WHERE node = 'b' AND sequence = 1005")
    two.edit("DELETE FROM events WHERE node = 'a'", "DELETE FROM audit_seals WHERE node = 'a'")
    with pytest.raises(ArchiveUnusable, match="does not hold"):
        await two.archiving().parts(two.days_ago(1))
    assert [each[0] for each in two.rows("events")] == [each[0] for each in left if each[1] == "b"]


# --- whoever is killed, or interferes ------------------------------------------------------------------


class Killable(SqlStore):
    """The store of a process that is killed at one of its transactions, before it or when it is committed."""

    def __init__(self, store: SqlStore, writes: int, *, committed: bool = False) -> None:
        self.__dict__.update(store.__dict__)
        self._left = writes
        self._committed = committed

    async def write(self, change: Callable[[Writing], object]) -> object:  # type: ignore[override]
        self._left -= 1
        if self._left < 0 and not self._committed:
            raise Killed
        result = await super().write(change)
        if self._left < 0:
            raise Killed
        return result


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("writes", range(5))
async def test_who_is_killed_leaves_a_trail_that_holds_and_the_next_archive_does_the_rest(
    installed: Callable[..., Awaitable[Installation]], writes: int, committed: bool
) -> None:
    made = await installed()
    await made.grow("", 2 * SEAL_BLOCK + 100)
    await made.seal()
    made.clock.advance(DAY)
    whole = await made.trail("")
    archiving = made.archiving(Killable(made.store, writes, committed=committed))
    parts = await archiving.parts(made.clock.now())
    archive = Archive([text_of(line) async for line in archiving.lines(parts)], parts)
    require_leads_to_seals(archive.lines(), parts)
    if writes < 4:  # the cut, two thousand events, and once more to see that there are none
        with pytest.raises(Killed):
            await archiving.cut(parts)
    else:
        await archiving.cut(parts)
    removed = max(0, min(2, writes + committed - 1)) * 1000
    happened = writes + committed > 0
    assert len(await made.trail("")) == len(whole) - removed + happened
    assert [*(archive.events("") if happened else ()), *await made.exported("")][: len(whole)] == whole
    assert await made.found() == []
    assert await made.found([archive] if happened else []) == []
    await made.grow("", 1)
    await made.sealer("").seal_new()
    assert await made.found() == []
    assert (
        [each.seal.head.sequence for each in await made.archiving().parts(made.clock.now())] == []
        if happened
        else [2000]
    )
    if happened:
        assert (await made.trail(""))[0].sequence == 2 * SEAL_BLOCK + 1
        assert len(made.rows("audit_seals")) == 1
        assert await made.found([archive]) == []


@pytest.mark.parametrize("writes", range(1, 6))
async def test_of_several_nodes_all_are_cut_or_none(two: Installation, writes: int) -> None:
    """Or the archive that names what was not cut would have it, and the next one would have it, too."""
    archiving = two.archiving(Killable(two.store, writes - 1))
    parts = await archiving.parts(two.days_ago(2))
    archive = Archive([text_of(line) async for line in archiving.lines(parts)], parts)
    try:
        await archiving.cut(parts)
    except Killed:
        assert writes < 6
    cuts = [await two.store.trail(node).cut() for node in two.stores]
    happened = cuts != [None, None]
    made = [AuditCut(part.seal.head, await two.hsm.cut_after(DEPLOYMENT, part.seal.head)) for part in parts]
    assert cuts == (made if happened else [None, None])
    archives = [*([archive] if happened else []), await two.archive(two.days_ago(1))]
    assert await two.found(archives) == []


async def test_whoever_is_told_that_a_cut_failed_that_was_made_loses_nothing(one: Installation) -> None:
    class Forgetful(SqlStore):
        def __init__(self, store: SqlStore) -> None:
            self.__dict__.update(store.__dict__)

        async def write(self, change: Callable[[Writing], object]) -> object:  # type: ignore[override]
            await super().write(change)
            raise StoreUnavailable

    archiving = one.archiving(Forgetful(one.store))
    parts = await archiving.parts(one.days_ago(1))
    archive = Archive([text_of(line) async for line in archiving.lines(parts)], parts)
    with pytest.raises(StoreUnavailable):
        await archiving.cut(parts)
    assert await one.found([archive]) == []
    assert (await one.archive(one.days_ago(1))).parts == []
    assert (await one.trail(""))[0].sequence == 3001


@pytest.mark.parametrize("days", [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("nodes", [(), ("a", "b")])
async def test_of_two_archives_at_once_one_is_refused(
    installed: Callable[..., Awaitable[Installation]], days: tuple[int, int], nodes: tuple[str, ...]
) -> None:
    made = await installed(*nodes)
    await made.blocks(4)
    archivings = made.archiving(), made.archiving()
    parts = [await each.parts(made.days_ago(day)) for each, day in zip(archivings, days, strict=True)]
    texts = [[text_of(line) async for line in each.lines(of)] for each, of in zip(archivings, parts, strict=True)]
    await archivings[0].cut(parts[0])
    tables = [made.rows(table) for table in ("events", "audit_seals", "audit_cuts")]
    with pytest.raises(ArchiveUnusable, match="Another archive"):
        await archivings[1].cut(parts[1])
    assert [made.rows(table) for table in ("events", "audit_seals", "audit_cuts")] == tables
    assert await made.found([Archive(texts[0], parts[0])]) == []
    late = [text_of(line) async for line in archivings[1].lines(parts[1])]
    with pytest.raises(ArchiveUnusable):
        require_leads_to_seals(read(late, DEPLOYMENT), parts[1])


async def test_what_is_appended_and_sealed_between_writing_and_cutting_stays(two: Installation) -> None:
    archiving = two.archiving()
    parts = await archiving.parts(two.days_ago(1))
    await two.blocks(1)
    archive = Archive([text_of(line) async for line in archiving.lines(parts)], parts)
    await two.blocks(1)
    require_leads_to_seals(archive.lines(), parts)
    await archiving.cut(parts)
    await two.blocks(1)
    assert archive.ends == [("a", 2003), ("b", 2006)]
    assert await two.found() == []
    assert await two.found([archive]) == []


class Meanwhile(SqlStore):
    """A store on which something happens right after a trail was read for the so-manieth time, in small pieces."""

    def __init__(
        self, store: SqlStore, which: int, happens: Callable[[], Awaitable[object]], piece: int = 1000
    ) -> None:
        self.__dict__.update(store.__dict__)
        self.left = which
        self.piece = piece
        self._happens = happens

    def trail(self, node: str | None = None) -> NodeTrail:
        return _Trail(self, super().trail(node))

    async def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            await self._happens()


class _Trail(NodeTrail):
    def __init__(self, store: Meanwhile, trail: NodeTrail) -> None:
        super().__init__(trail._backend, trail.node)
        self._store = store

    async def cut(self) -> AuditCut | None:
        found = await super().cut()
        await self._store.tick()
        return found

    async def last_seal(self) -> AuditSeal | None:
        found = await super().last_seal()
        await self._store.tick()
        return found

    async def seals(self, after: int, limit: int) -> Sequence[AuditSeal]:
        found = await super().seals(after, min(limit, self._store.piece))
        await self._store.tick()
        return found

    async def events(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        found = await super().events(after, min(limit, self._store.piece))
        await self._store.tick()
        return found


MOST_READS: Final = 40


@pytest.mark.parametrize("new_blocks", [0, 1, 2])
async def test_whenever_the_trail_grows_neither_its_last_seal_nor_what_is_new_is_archived(
    one: Installation, new_blocks: int
) -> None:
    async def grow() -> None:
        await one.grow("")
        await one.seal()
        await one.blocks(new_blocks)

    for which in range(1, MOST_READS):
        one.clock.advance(DAY)
        before = one.clock.now()
        store = Meanwhile(one.store, which, grow)
        archiving = one.archiving(store)
        for part in await archiving.parts(before):
            newest = await one.store.trail().last_seal()
            assert newest is not None
            assert part.seal.head.sequence < newest.head.sequence, which
            archived = [each for each in await one.trail("") if each.sequence <= part.seal.head.sequence]
            assert max(each.event.at for each in archived) < before, which
        if store.left > 0:
            break
    assert 8 < which < MOST_READS - 1


FORGED: Final[dict[str, tuple[str, ...]]] = {
    "a cut that skips what was not archived": (
        "INSERT INTO audit_cuts SELECT node, sequence, digest, zeroblob(32) FROM events WHERE sequence = 3",
    ),
    "the same, with a seal in it": (
        "INSERT INTO audit_cuts SELECT node, sequence, digest, mac FROM audit_seals WHERE sequence = 1003",
    ),
    "a seal over other events": (
        "UPDATE events SET digest = zeroblob(32) WHERE sequence = 2003",
        "UPDATE audit_seals SET digest = zeroblob(32) WHERE sequence = 2003",
    ),
    "a seal where none was": (
        "INSERT INTO audit_seals SELECT node, 7, 7001, digest, mac FROM audit_seals WHERE sequence = 3003",
    ),
}


CHAINED_ANEW: Final = "an event changed, and all digests made anew, also those in the seals"


def chain_anew(made: Installation, trail: Sequence[ChainedEvent]) -> None:
    digest = GENESIS
    for each in trail:
        event = replace(each.event, actor="ak-2") if each.sequence == 2 else each.event
        digest = link(digest, event)
        made.edit_with(
            ("UPDATE events SET actor = ?, digest = ? WHERE sequence = ?", (event.actor, digest, each.sequence)),
            ("UPDATE audit_seals SET digest = ? WHERE sequence = ?", (digest, each.sequence)),
        )


@pytest.mark.parametrize("forged", [*FORGED, CHAINED_ANEW])
async def test_whenever_somebody_writes_into_the_database_nothing_is_lost_unnoticed(
    one: Installation, forged: str
) -> None:
    tables = {table: one.rows(table) for table in ("events", "audit_seals", "audit_cuts", "sqlite_sequence")}
    whole = await one.trail("")

    async def forge() -> None:
        if forged == CHAINED_ANEW:
            chain_anew(one, whole)
        else:
            one.edit(*FORGED[forged])

    for which in range(1, MOST_READS):
        store = Meanwhile(one.store, which, forge)
        try:
            archive = await one.archive(one.days_ago(1), store)
        except ArchiveUnusable:
            assert [each[0] for each in one.rows("events")] == [each.sequence for each in whole], which
        else:
            written = archive.events("") if archive.parts else []
            assert written == whole[: len(written)], "what is archived was sealed"
            kept = [*written, *await one.trail("")]
            assert kept[: len(whole)] == whole or await one.found() != [], which
        if store.left > 0:
            break
        one.put_back(tables)
    assert 8 < which < MOST_READS - 1


# --- whoever verifies meanwhile ------------------------------------------------------------------------

TABLES: Final = ("events", "audit_seals", "audit_cuts", "sqlite_sequence")
PIECES: Final = pytest.mark.parametrize("piece", [1, 2, 1000])


async def found_meanwhile(
    one: Installation, happens: Callable[[], Awaitable[object]], piece: int, archives: Sequence[Archive] | None = None
) -> list[list[Break]]:
    """Return what is found by who verifies when that happens after his first read, his second, and so on."""
    tables = {table: one.rows(table) for table in TABLES}
    named = None if archives is None else partial(lines_of, archives)
    found: list[list[Break]] = []
    while True:
        store = Meanwhile(one.store, len(found) + 1, happens, piece)
        done = await verify(store.trail(""), one.hsm, DEPLOYMENT, None, named)
        one.put_back(tables)
        if store.left > 0:
            return found
        found.append(done.found)


@PIECES
async def test_whenever_the_trail_is_cut_who_verifies_it_finds_nothing(one: Installation, piece: int) -> None:
    found = await found_meanwhile(one, lambda: one.archive(one.days_ago(1)), piece)
    assert len(found) >= 5
    assert found == [[]] * len(found)


@PIECES
async def test_whenever_the_trail_is_cut_a_break_above_is_found_and_nothing_else(one: Installation, piece: int) -> None:
    archiving, archive = await one.written(one.days_ago(2))
    one.edit("UPDATE events SET actor = 'ak-2' WHERE sequence = 2002")
    found = await found_meanwhile(one, lambda: archiving.cut(archive.parts), piece)
    assert len(found) >= 5
    assert found == [[Break(2002, BreakReason.DIGEST)]] * len(found)


@PIECES
async def test_whenever_the_trail_is_cut_who_verifies_with_archives_is_told_at_most_that_one_is_missing(
    one: Installation, piece: int
) -> None:
    archives = [await one.archive(one.days_ago(3))]
    found = await found_meanwhile(one, lambda: one.archive(one.days_ago(1)), piece, archives)
    missing = [Break(3, BreakReason.CUT_ELSEWHERE)]
    assert [each for each in found if each not in ([], missing)] == []
    assert missing in found
    assert found[-3:] == [[]] * 3, "who has read all of it and found nothing does not begin anew"


class CutAgain(NodeTrail):
    """A trail that is cut in each walk over it, so many times."""

    def __init__(self, made: Installation, cuts: int) -> None:
        super().__init__(made.store.trail()._backend, "")
        self._made = made
        self.left = cuts

    async def seals(self, after: int, limit: int) -> Sequence[AuditSeal]:
        found = await super().seals(after, limit)
        if found and self.left:
            self.left -= 1
            cut = await self.cut()
            done = 0 if cut is None else cut.head.sequence // SEAL_BLOCK + 1
            await self._made.archive(self._made.days_ago(5 - done))
        return found


@pytest.mark.parametrize(
    ("cuts", "left", "found"), [(1, 0, None), (2, 0, None), (3, 0, 3001), (4, 1, 3001), (5, 2, 3001)]
)
async def test_of_a_trail_that_is_cut_again_and_again_the_third_walk_counts(
    installed: Callable[..., Awaitable[Installation]], cuts: int, left: int, found: int | None
) -> None:
    made = await installed()
    await made.blocks(6)
    trail = CutAgain(made, cuts)
    done = await verify(trail, made.hsm, DEPLOYMENT, None)
    assert trail.left == left
    assert done.found == ([] if found is None else [Break(found, BreakReason.DIGEST)])
    assert await made.found() == []


async def test_a_cut_that_cannot_be_read_is_found(one: Installation) -> None:
    archive = await one.archive(one.days_ago(1))
    one.edit("UPDATE audit_cuts SET mac = zeroblob(31)")
    for named in (None, [archive]):
        assert [each.reason for each in await one.found(named)] == [BreakReason.UNREADABLE]


# --- an archive that was altered -----------------------------------------------------------------------


def chain(after: AuditHead | None, node: str, sequences: Sequence[int]) -> tuple[list[Line], Part]:
    """Return the lines of a node and what they are a part of."""
    digest = GENESIS if after is None else after.digest
    lines: list[Line] = [NodeBegins(node, after)]
    for each in sequences:
        event = Event(EventTag.KEY_ENCRYPTED, Instant(each), None, "ak-1")
        digest = link(digest, event)
        lines.append(ArchivedEvent(node, ChainedEvent(each, digest, event)))
    seal = AuditSeal(AuditHead(sequences[-1], digest, node), bytes(32))
    return [*lines, seal], Part(None if after is None else AuditCut(after, bytes(32)), seal, len(sequences))


OF_A, PART_A = chain(None, "a", [1, 2, 5, 6])
OF_B, PART_B = chain(AuditHead(3, bytes(32), "b"), "b", [4, 7, 9])
LINES: Final = [*OF_A, *OF_B]
PARTS: Final = [PART_A, PART_B]


def others_than(line: Line) -> list[Line]:
    """Return what says something else."""
    match line:
        case NodeBegins():
            heads = [AuditHead(3, bytes(32), line.node), AuditHead(3, bytes(31) + b"1", line.node)]
            heads += [AuditHead(2, bytes(32), line.node)]
            others: list[Line] = [NodeBegins(node, head) for node in "ab" for head in (None, *heads)]
        case ArchivedEvent():
            chained = line.chained
            others = [
                replace(line, chained=replace(chained, event=replace(chained.event, actor="ak-2"))),
                replace(line, chained=replace(chained, digest=bytes(32))),
                replace(line, chained=replace(chained, sequence=chained.sequence - 5)),
            ]
        case AuditSeal():
            others = [
                replace(line, mac=bytes(31) + b"1"),
                replace(line, head=replace(line.head, digest=bytes(32))),
                replace(line, head=replace(line.head, sequence=line.head.sequence + 1)),
            ]
        case _:
            others = []
    return [each for each in others if each != line]


def altered() -> Iterator[list[Line]]:
    """Yield the archive with a line changed, dropped, moved or repeated, cut short, and with parts in another order."""
    for at, line in enumerate(LINES):
        yield from ([*LINES[:at], other, *LINES[at + 1 :]] for other in others_than(line))
        rest = [*LINES[:at], *LINES[at + 1 :]]
        yield rest
        yield from ([*rest[:to], line, *rest[to:]] for to in range(len(LINES)) if to != at)
        yield from ([*LINES[:to], line, *LINES[to:]] for to in range(len(LINES) + 1))
        yield LINES[:at]
    yield from (OF_A, OF_B, [*OF_B, *OF_A], [*OF_A, *OF_A, *OF_B])


def test_an_archive_that_was_altered_does_not_lead_to_the_seals() -> None:
    for lines in altered():
        texts = [text_of(each) for each in (ArchiveOf(DEPLOYMENT), *lines)]
        with pytest.raises(ArchiveUnusable):
            require_leads_to_seals(read(texts, DEPLOYMENT), PARTS)


def test_an_archive_as_it_was_written_leads_to_the_seals() -> None:
    require_leads_to_seals(LINES, PARTS)
    require_leads_to_seals(OF_A, [PART_A])
    require_leads_to_seals(OF_B, [PART_B])
