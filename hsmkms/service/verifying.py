"""The whole audit trail held against its seals, piece by piece."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final

from hsmkms.audit.verification import Verification
from hsmkms.core.errors import EventUnreadable

if TYPE_CHECKING:
    from hsmkms.core.events import AuditHead
    from hsmkms.core.ports import Hsm, TrailReading

_EVENTS: Final = 1000
_SEALS: Final = 100
_BEFORE_ALL: Final = -(2**63) - 1
"""Of all that SQLite can number: sequences begin with 1, but what was put in below that must be found."""


async def verify(trail: TrailReading, hsm: Hsm, deployment_id: str, expected: AuditHead | None) -> Verification:
    """Walk the trail from its first event, and have the token compare each seal.

    It may be written and sealed meanwhile: seals are read before the events that they are over.

    Args:
        trail: the trail.
        hsm: the token.
        deployment_id: whose trail it is.
        expected: a head that was kept elsewhere.
    """
    verification = Verification(expected, trail.node)
    try:
        sealed = _BEFORE_ALL
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


async def _follow(trail: TrailReading, verification: Verification, last: int | None) -> None:
    """Follow the events up to the sequence `last`, or to the end."""
    while not verification.ended:
        after = verification.head.sequence if verification.head is not None else _BEFORE_ALL
        events = await trail.events(after, _EVENTS)
        wanted = list(events if last is None else takewhile(lambda each: each.sequence <= last, events))
        if not wanted:
            return
        verification.follow(wanted)
