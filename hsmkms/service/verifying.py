"""The whole audit trail held against its cuts and seals, piece by piece, with what was archived of it or without."""

from __future__ import annotations

import asyncio
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from hsmkms.audit.archive import ArchivedEvent, NodeBegins
from hsmkms.audit.verification import BreakReason, Verification
from hsmkms.core.errors import EventUnreadable
from hsmkms.core.events import AuditSeal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hsmkms.audit.archive import Line
    from hsmkms.core.events import AuditCut, AuditHead
    from hsmkms.core.ports import Hsm, TrailReading

_EVENTS: Final = 1000
_SEALS: Final = 100
_MOST_CUTS: Final = 3
"""Which a walk begins anew for: there is one a month, say."""
_BEFORE_ALL: Final = -(2**63) - 1
"""Of all that SQLite can number: sequences begin with 1, but what was put in below that must be found."""


async def verify(
    trail: TrailReading,
    hsm: Hsm,
    deployment_id: str,
    expected: AuditHead | None,
    archive: Callable[[], Iterable[Line]] | None = None,
) -> Verification:
    """Walk the trail from its first event, and have the token compare each seal.

    It may be written and sealed meanwhile: seals are read before the events that they are over. What is archived
    meanwhile is gone when it is looked for: then the walk begins anew, after the cut.

    Args:
        trail: the trail.
        hsm: the token; of a command, if any of the trail was archived.
        deployment_id: whose trail it is.
        expected: a head that was kept elsewhere.
        archive: reads what was archived, in its order; None: the trail begins after what was archived.
    """
    for _ in range(_MOST_CUTS):
        cut = await _cut(trail)
        verification = await _verify(trail, hsm, deployment_id, expected, archive)
        if not verification.found or await _cut(trail) == cut:
            break
    return verification


async def _cut(trail: TrailReading) -> AuditCut | None:
    try:
        return await trail.cut()
    except EventUnreadable:
        return None


async def _verify(
    trail: TrailReading,
    hsm: Hsm,
    deployment_id: str,
    expected: AuditHead | None,
    archive: Callable[[], Iterable[Line]] | None,
) -> Verification:
    verification = Verification(expected, trail.node)
    try:
        if archive is not None:
            await _follow_archive(archive(), verification, hsm, deployment_id)
        await _begin(trail, verification, hsm, deployment_id, archived=archive is not None)
        sealed = _BEFORE_ALL if verification.cut is None else verification.cut.sequence
        while not verification.ended and (seals := await trail.seals(sealed, _SEALS)):
            for seal in seals:
                genuine = await hsm.holds_seal(deployment_id, seal.head, seal.mac)
                verification.judge(seal, genuine=genuine)
            sealed = seals[-1].head.sequence
            await _follow(trail, verification, sealed)
        await _follow(trail, verification, None)
    except EventUnreadable as unreadable:
        verification.unreadable(unreadable.sequence)
    verification.end()
    return verification


async def _follow_archive(archive: Iterable[Line], verification: Verification, hsm: Hsm, deployment_id: str) -> None:
    """Follow what the archives have of a node, and hold it against the seal that each ends with."""
    of_node = False
    for number, line in enumerate(archive):
        if verification.ended:
            return
        if number % _EVENTS == 0:
            await asyncio.sleep(0)  # so that whoever stops the command is heard
        match line:
            case NodeBegins():
                of_node = line.node == verification.node
                if of_node and line.after != verification.last:
                    at = line.after or verification.last
                    assert at is not None  # noqa: S101 - they differ
                    verification.end_with(at, BreakReason.ARCHIVE_MISSING)
            case ArchivedEvent() if of_node:
                verification.follow((line.chained,))
            case AuditSeal() if of_node:
                genuine = await hsm.holds_seal(deployment_id, line.head, line.mac)
                verification.end_archive(line, genuine=genuine)


async def _begin(
    trail: TrailReading, verification: Verification, hsm: Hsm, deployment_id: str, *, archived: bool
) -> None:
    """Begin with the database where it begins, and hold that against what was archived, if that was followed."""
    cut = await trail.cut()
    if verification.ended:
        return
    if archived and verification.cut != (None if cut is None else cut.head):
        if verification.cut is not None:
            verification.end_with(verification.cut, BreakReason.CUT_ELSEWHERE)
        elif cut is not None:
            verification.end_with(cut.head, BreakReason.ARCHIVE_MISSING)
    elif cut is not None:
        genuine = await hsm.holds_cut(deployment_id, cut.head, cut.mac)
        if archived:
            verification.go_on_after(cut, genuine=genuine)
        else:
            verification.begin_after(cut, genuine=genuine)


async def _follow(trail: TrailReading, verification: Verification, last: int | None) -> None:
    """Follow the events up to the sequence `last`, or to the end."""
    while not verification.ended:
        after = verification.last.sequence if verification.last is not None else _BEFORE_ALL
        events = await trail.events(after, _EVENTS)
        wanted = list(events if last is None else takewhile(lambda each: each.sequence <= last, events))
        if not wanted:
            return
        verification.follow(wanted)
