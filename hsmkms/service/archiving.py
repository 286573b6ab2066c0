"""Use case: the oldest part of the audit trail goes into an archive, and out of the database.

Laws:

- a trail is archived only if all of it holds, and only up to a seal of the token: the cut takes that seal's place.
  Somebody may write into the database while that is found out: where the trail begins and that seal are held against
  what was found, and the archive leads from the one to the other;
- what was sealed last stays, so that a trail of which nothing is left is never taken for one that was archived;
- nothing is removed before the archive was read again, and leads to those very seals; and before that the token is not
  asked for a cut, whose MAC is in the database alone, and there only when the archive is whole;
- the cuts of all nodes come first, in one transaction and with an event that names each, and the removal after them:
  whoever was killed in between does the rest with the next archive. What the database still has of a sequence up to a
  cut is nobody's any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from hsmkms.audit.archive import ArchivedEvent, ArchiveOf, NodeBegins
from hsmkms.audit.verification import Walk, require_initialised
from hsmkms.core.errors import ArchiveUnusable, ChangedMeanwhile
from hsmkms.core.events import AuditCut, AuditSeal, Event, EventTag
from hsmkms.service import verifying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from hsmkms.audit.archive import Line
    from hsmkms.core.events import AuditHead, ChainedEvent
    from hsmkms.core.ids import Instant
    from hsmkms.core.ports import Clock, Hsm, Inspection, Store, TrailReading, Writing

    class ArchivingStore(Store, Inspection, Protocol):
        """A store whose trails can be read."""


_PIECE: Final = 1000
_SEALS: Final = 100
_ACTOR: Final = "operator"
_PAUSE_SECONDS: Final = 0.01
"""Between two pieces: who waits for SQLite's lock looks for it now and then, and would hardly ever find it free."""
_MADE_MEANWHILE: Final = "Another archive was made meanwhile: keep that one, and remove this one."
_BROKEN: Final = "The audit trail does not hold, and is not archived: run 'hsmkms audit verify'."


@dataclass(frozen=True, slots=True)
class Part:
    """What is archived of one node's trail."""

    old: AuditCut | None
    """Where the trail begins now."""
    seal: AuditSeal
    """After which it is to begin."""
    events: int

    @property
    def node(self) -> str:
        """Whose trail it is."""
        return self.seal.head.node


class Archiving:
    """One archive of all trails of a database."""

    def __init__(self, store: ArchivingStore, hsm: Hsm, clock: Clock, deployment_id: str) -> None:
        """Archive the trails of `store`; `hsm` is a command's."""
        self._store = store
        self._hsm = hsm
        self._clock = clock
        self._deployment_id = deployment_id

    async def parts(self, before: Instant | None) -> Sequence[Part]:
        """Return what can be archived: events up to a seal; nothing is changed yet.

        What an archiving that was killed left to remove is removed.

        Args:
            before: all of them are from before that; None: whatever they say, as a clock may have been ahead once.

        Raises:
            ArchiveUnusable: the trail does not hold.
        """
        trails = [self._store.trail(node) for node in await self._store.nodes()]
        found = [await verifying.verify(each, self._hsm, self._deployment_id, None) for each in trails]
        require_initialised(found)
        if any(each.found for each in found):
            raise ArchiveUnusable(_BROKEN)
        parts = []
        for trail, verified in zip(trails, found, strict=True):
            old = await trail.cut()
            if verified.cut != (None if old is None else old.head):
                raise ArchiveUnusable("The audit trail was cut elsewhere while it was read: nothing was archived now.")
            if old is not None:
                await self._remove(old)
            part = await self._part(trail, old, before)
            if part is not None:
                parts.append(part)
        return parts

    async def _part(self, trail: TrailReading, old: AuditCut | None, before: Instant | None) -> Part | None:
        newest = await trail.last_seal()  # first, so that what is sealed while the events are read is kept
        if newest is None:
            return None
        first_kept = None if before is None else await self._first_kept(trail, old, before)
        kept = newest.head.sequence if first_kept is None else min(first_kept, newest.head.sequence)
        seal = await self._last_seal_below(trail, kept)
        if seal is None:
            return None
        if not await self._hsm.holds_seal(self._deployment_id, seal.head, seal.mac):
            raise ArchiveUnusable(_BROKEN)
        events = 0
        async for each in _events(trail, old, seal.head):
            events += len(each)
        return Part(old, seal, events)

    async def _first_kept(self, trail: TrailReading, old: AuditCut | None, before: Instant) -> int | None:
        """Return the sequence of the first event that is too new; None: there is none."""
        async for piece in _events(trail, old, None):
            for each in piece:
                if each.event.at >= before:
                    return each.sequence
        return None

    async def _last_seal_below(self, trail: TrailReading, kept: int) -> AuditSeal | None:
        """Return the last seal over an event of a lower sequence than `kept`."""
        below: AuditSeal | None = None
        after = 0
        while seals := await trail.seals(after, _SEALS):
            for seal in seals:
                if seal.head.sequence >= kept:
                    return below
                below = seal
            after = seals[-1].head.sequence
        return below

    async def lines(self, parts: Sequence[Part]) -> AsyncIterator[Line]:
        """Yield the archive of these parts, line by line."""
        yield ArchiveOf(self._deployment_id)
        for part in parts:
            yield NodeBegins(part.node, None if part.old is None else part.old.head)
            async for piece in _events(self._store.trail(part.node), part.old, part.seal.head):
                for each in piece:
                    yield ArchivedEvent(part.node, each)
            yield part.seal

    async def require_not_cut(self, parts: Sequence[Part]) -> None:
        """Return if the trails still begin where these parts do: what was read of them is all that there was.

        Raises:
            ArchiveUnusable: another archive was made meanwhile.
        """
        for part in parts:
            if await self._store.trail(part.node).cut() != part.old:
                raise ArchiveUnusable(_MADE_MEANWHILE)

    async def cut(self, parts: Sequence[Part]) -> None:
        """Have the trails begin after these parts, all of them or none, and remove them.

        Raises:
            ArchiveUnusable: another archive was made meanwhile.
        """
        heads = [part.seal.head for part in parts]
        cuts = [AuditCut(each, await self._hsm.cut_after(self._deployment_id, each)) for each in heads]
        try:
            await self._store.write(partial(_cut, parts=parts, cuts=cuts, at=self._clock.now()))
        except ChangedMeanwhile:
            raise ArchiveUnusable(_MADE_MEANWHILE) from None
        for cut in cuts:
            await self._remove(cut)

    async def _remove(self, cut: AuditCut) -> None:
        removed = _PIECE
        while removed:
            removed = await self._store.write(lambda writing: writing.remove_archived(cut, _PIECE))
            await asyncio.sleep(_PAUSE_SECONDS)


def require_leads_to_seals(lines: Iterable[Line], parts: Sequence[Part]) -> None:
    """Return if what was read from an archive leads from where each part begins to its seal, and is nothing else.

    Raises:
        ArchiveUnusable: it does not.
    """
    walk = Walk()
    begun: list[tuple[str, AuditHead | None]] = []
    ended: list[AuditSeal] = []
    for line in lines:
        match line:
            case NodeBegins():
                begun.append((line.node, line.after))
                walk = Walk() if line.after is None else Walk(line.after.digest, line.after.sequence)
            case ArchivedEvent():
                walk.follow((line.chained,))
            case AuditSeal() if walk.broken is None and (walk.sequence, walk.head) == (
                line.head.sequence,
                line.head.digest,
            ):
                ended.append(line)
    wanted = [(part.node, None if part.old is None else part.old.head) for part in parts]
    if begun != wanted or ended != [part.seal for part in parts]:
        raise ArchiveUnusable("The archive does not hold what was written; nothing was removed. Look at its disk.")


async def _events(
    trail: TrailReading, after: AuditCut | None, last: AuditHead | None
) -> AsyncIterator[Sequence[ChainedEvent]]:
    """Yield the events after a cut up to a head, in pieces."""
    sequence = 0 if after is None else after.head.sequence
    while events := await trail.events(sequence, _PIECE):
        wanted = [each for each in events if last is None or each.sequence <= last.sequence]
        if wanted:
            yield wanted
        if len(wanted) < len(events):
            return
        sequence = events[-1].sequence


def _cut(writing: Writing, *, parts: Sequence[Part], cuts: Sequence[AuditCut], at: Instant) -> None:
    for part, cut in zip(parts, cuts, strict=True):
        head = cut.head
        detail: dict[str, str | int | bool | None] = {
            "node": head.node,
            "sequence": head.sequence,
            "digest": head.digest.hex(),
            "events": part.events,
        }
        writing.cut(part.old, cut)
        writing.append(Event(EventTag.TRAIL_ARCHIVED, at, None, _ACTOR, detail=detail))
