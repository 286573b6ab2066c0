"""Verification of a trail: walk it once, and hold it against its seals and against a head kept elsewhere."""

from __future__ import annotations

import hmac
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hsmkms.audit.chain import GENESIS, link
from hsmkms.core.events import AuditHead, EventTag, block_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hsmkms.core.events import AuditCut, AuditSeal, ChainedEvent


_FIRST: Final = 1
"""The sequence that a trail begins with, where nothing is there that could say."""


class BreakReason(StrEnum):
    """How a trail can fail to be what was written."""

    DISORDER = "its sequence does not follow the one before it"
    DIGEST = "it, or something before it, is not what was written"
    NOT_BEGUN = (
        "it should be the first, deployment:initialised or node:joined, and is not: what came before was deleted"
    )
    NOT_INITIALISED = "no node's trail begins with deployment:initialised: the one that did was deleted"
    UNREADABLE = "it cannot be read: it was changed, or the database is damaged"
    SEAL_FORGED = "its seal is not the token's"
    SEALED_OTHERWISE = "its seal is over another digest: it, or something before it, was changed and chained anew"
    SEALED_AND_GONE = "it was sealed, and is not there any more"
    SEAL_GONE = "it ends a block that was sealed, and has no seal"
    CUT_FORGED = "the cut after it is not the token's: what came before was deleted, and not archived"
    ARCHIVED_OTHERWISE = "the archive does not lead to the seal that it ends with: it was changed"
    CUT_ELSEWHERE = (
        "the archives end with it, and the database goes on after another: one is missing, the archiving was "
        "interrupted, or the database is another copy"
    )
    ARCHIVE_MISSING = "what is there goes on after it, and the archive that ends with it is missing"
    ALL_GONE = "what came after it was sealed when it was archived, and no seal is there"
    HEAD_ARCHIVED = "it was the head, and is in an archive: name all archives with --archive"
    HEAD_GONE = "it was the head, and is not there: the trail was cut short, or is an older copy"
    HEAD_OTHERWISE = "it was the head with another digest: it, or something before it, was changed and chained anew"


@dataclass(frozen=True, slots=True)
class Break:
    """An event at which the trail does not hold."""

    sequence: int
    reason: BreakReason


def beginning(first: ChainedEvent | None, node: str = "") -> Break | None:
    """Return the break that a node's trail begins with whose first event is this one; None: it has no event at all.

    A deployment that is ready has a trail: `init` makes it ready and appends its first event in one transaction. Where
    there are several nodes, each of the others begins its own when it has something to append.
    """
    if first is None:
        return None if node else Break(_FIRST, BreakReason.NOT_BEGUN)
    begins = {EventTag.DEPLOYMENT_INITIALISED, EventTag.NODE_JOINED} if node else {EventTag.DEPLOYMENT_INITIALISED}
    if first.event.tag not in begins:
        return Break(first.sequence, BreakReason.NOT_BEGUN)
    return None


class Walk:
    """One pass over a trail, in as many pieces as it is read in.

    Attributes:
        head: the digest of the last event that held; keep it elsewhere to notice a trail cut short.
        sequence: its place.
        length: how many events held.
        broken: where the chain broke, or None so far; after a break nothing more is judged.
    """

    def __init__(self, head: bytes = GENESIS, sequence: int = 0) -> None:
        """Start after the event of this digest and sequence; without arguments, before the first one."""
        self.head = head
        self.length = 0
        self.sequence = sequence
        self.broken: Break | None = None

    def follow(self, events: Iterable[ChainedEvent]) -> Break | None:
        """Go on with the next events and return the break, if there is one by now."""
        for chained in events:
            if self.broken is not None:
                break
            self._step(chained)
        return self.broken

    def _step(self, chained: ChainedEvent) -> None:
        if chained.sequence <= self.sequence:
            self.broken = Break(chained.sequence, BreakReason.DISORDER)
        elif not hmac.compare_digest(chained.digest, link(self.head, chained.event)):
            self.broken = Break(chained.sequence, BreakReason.DIGEST)
        else:
            self.head = chained.digest
            self.length += 1
            self.sequence = chained.sequence


def require_initialised(trails: Sequence[Verification]) -> None:
    """Find fault with the first of a deployment's trails if none of them begins with the deployment itself.

    Each node has a trail, and one of them has initialised the deployment: if that trail is gone altogether, nothing in
    those of the others tells. One that was archived may be it, if the archive was not looked at.
    """
    begun = {EventTag.DEPLOYMENT_INITIALISED}
    if trails and not any(each.first in begun or (each.first is None and each.cut is not None) for each in trails):
        missing = Break(_FIRST, BreakReason.NOT_INITIALISED)
        if not trails[0].found:
            trails[0].found.append(missing)


class Verification:
    """One pass over a whole trail with its seals; the token says of each seal whether it is genuine.

    Attributes:
        node: whose trail it is.
        first: what its first event is; None: it has none, or begins after a cut.
        cut: the last event that was archived; None: none was.
        found: what is wrong, in the order in which it was come upon. A broken chain ends the pass: what follows it
            cannot be judged.
        sealed: the last head under a genuine seal that the chain agrees with.
        newer: how many events that held came after it.
        seals: how many seals there are, whatever they are worth.
    """

    def __init__(self, expected: AuditHead | None = None, node: str = "") -> None:
        """Begin before the first event of a node; `expected` is a head of it that was kept elsewhere."""
        self.node = node
        self.first: EventTag | None = None
        self.cut: AuditHead | None = None
        self._walk = Walk()
        self._expected = expected
        self._seals: deque[tuple[AuditSeal, bool]] = deque()
        """Those whose event is still to come."""
        self._last_sealed = 0
        self.found: list[Break] = []
        self.sealed: AuditHead | None = None
        self.newer = 0
        self.seals = 0

    @property
    def length(self) -> int:
        """How many events held."""
        return self._walk.length

    @property
    def head(self) -> AuditHead | None:
        """The last event that held."""
        return AuditHead(self._walk.sequence, self._walk.head, self.node) if self._walk.length else None

    @property
    def last(self) -> AuditHead | None:
        """What the next event has to follow: the last one that held, or the cut; None: it has to be the first."""
        return self.head or self.cut

    @property
    def ended(self) -> bool:
        """Whether the chain is broken."""
        return self._walk.broken is not None

    def judge(self, seal: AuditSeal, *, genuine: bool) -> None:
        """Take the next seal in the order of the trail; to be called before its event is followed."""
        self.seals += 1
        self._seals.append((seal, genuine))
        if not genuine:
            self.found.append(Break(seal.head.sequence, BreakReason.SEAL_FORGED))

    def begin_after(self, cut: AuditCut, *, genuine: bool) -> None:
        """Begin after what was archived, which is not looked at."""
        self._walk = Walk(cut.head.digest, cut.head.sequence)
        self.go_on_after(cut, genuine=genuine)
        if self._expected is not None and self._expected.sequence < cut.head.sequence:
            self.found.append(Break(self._expected.sequence, BreakReason.HEAD_ARCHIVED))
        self._compare_with_expected(cut.head)

    def end_archive(self, seal: AuditSeal, *, genuine: bool) -> None:
        """Hold what was followed, which was read from an archive, against the seal it ends with."""
        if self.last != seal.head:
            self.end_with(seal.head, BreakReason.ARCHIVED_OTHERWISE)
        else:
            self._pass(seal.head, None if genuine else BreakReason.SEAL_FORGED)

    def go_on_after(self, cut: AuditCut, *, genuine: bool) -> None:
        """Go on with the database, which begins after what was archived."""
        self._pass(cut.head, None if genuine else BreakReason.CUT_FORGED)

    def end_with(self, head: AuditHead, reason: BreakReason) -> None:
        """Find a break after which nothing can be judged."""
        self._walk.broken = Break(head.sequence, reason)
        self.found.append(self._walk.broken)

    def _pass(self, archived: AuditHead, forged: BreakReason | None) -> None:
        self.cut = archived
        self._last_sealed = archived.sequence
        if forged is None:
            self.sealed, self.newer = archived, 0
        else:
            self.found.append(Break(archived.sequence, forged))

    def unreadable(self, sequence: int) -> None:
        """Take notice of an event or a seal that cannot be read, which ends the pass."""
        self._walk.broken = Break(sequence, BreakReason.UNREADABLE)
        self.found.append(self._walk.broken)

    def follow(self, events: Iterable[ChainedEvent]) -> None:
        """Go on with the next events."""
        for chained in events:
            before = self._walk.sequence
            if self._walk.follow((chained,)) is not None:
                break
            if self._walk.length == 1 and self.cut is None:
                self.first = chained.event.tag
                if (unbegun := beginning(chained, self.node)) is not None:
                    self.found.append(unbegun)
            self._leave_behind(before, chained.sequence)
            self._arrive_at(AuditHead(chained.sequence, chained.digest, self.node))
        if self._walk.broken is not None and self._walk.broken not in self.found:
            self.found.append(self._walk.broken)

    def end(self) -> None:
        """Judge what only the end of the trail tells."""
        if self.ended:
            return
        if self.cut is not None:
            if not self.seals:
                self.found.append(Break(self.cut.sequence, BreakReason.ALL_GONE))
        elif not self._walk.length and (unbegun := beginning(None, self.node)) is not None:
            self.found.append(unbegun)
        self.found += [Break(seal.head.sequence, BreakReason.SEALED_AND_GONE) for seal, _ in self._seals]
        if self._expected is not None and self._walk.sequence < self._expected.sequence:
            self.found.append(Break(self._expected.sequence, BreakReason.HEAD_GONE))

    def _leave_behind(self, before: int, sequence: int) -> None:
        """Judge what should have been met before the event of this sequence."""
        expected = self._expected
        if expected is not None and before < expected.sequence < sequence:
            self.found.append(Break(expected.sequence, BreakReason.HEAD_GONE))
        while self._seals and self._seals[0][0].head.sequence < sequence:
            missed = self._seals.popleft()[0].head.sequence
            self.found.append(Break(missed, BreakReason.SEALED_AND_GONE))
        over = before and block_of(before) < block_of(sequence)
        if over and self._seals and self._last_sealed != before:
            self.found.append(Break(before, BreakReason.SEAL_GONE))

    def _arrive_at(self, head: AuditHead) -> None:
        """Hold an event of the chain against its seal and against the head expected."""
        self.newer += 1
        self._compare_with_expected(head)
        if not self._seals or self._seals[0][0].head.sequence != head.sequence:
            return
        seal, genuine = self._seals.popleft()
        self._last_sealed = head.sequence
        if seal.head != head:
            self.found.append(Break(head.sequence, BreakReason.SEALED_OTHERWISE))
        elif genuine:
            self.sealed, self.newer = head, 0

    def _compare_with_expected(self, head: AuditHead) -> None:
        if self._expected is not None and self._expected.sequence == head.sequence and self._expected != head:
            self.found.append(Break(head.sequence, BreakReason.HEAD_OTHERWISE))
