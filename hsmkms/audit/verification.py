"""Verification of a trail: walk it once, stop at the first break."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hsmkms.audit.chain import GENESIS, link

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsmkms.core.events import ChainedEvent


class BreakReason(StrEnum):
    """How a chain can be broken."""

    DISORDER = "its sequence does not follow the one before it"
    DIGEST = "it, or something before it, is not what was written"


@dataclass(frozen=True, slots=True)
class Break:
    """The first event at which the chain does not hold."""

    sequence: int
    reason: BreakReason


class Walk:
    """One pass over a trail, in as many pieces as it is read in.

    Attributes:
        head: the digest of the last event that held; keep it elsewhere to notice a trail cut short.
        length: how many events held.
        broken: where the chain broke, or None so far; after a break nothing more is judged.
    """

    def __init__(self, head: bytes = GENESIS, sequence: int = 0) -> None:
        """Start after the event of this digest and sequence; without arguments, before the first one."""
        self.head = head
        self.length = 0
        self.broken: Break | None = None
        self._sequence = sequence

    def follow(self, events: Iterable[ChainedEvent]) -> Break | None:
        """Go on with the next events and return the break, if there is one by now."""
        for chained in events:
            if self.broken is not None:
                break
            self._step(chained)
        return self.broken

    def _step(self, chained: ChainedEvent) -> None:
        if chained.sequence <= self._sequence:
            self.broken = Break(chained.sequence, BreakReason.DISORDER)
        elif not hmac.compare_digest(chained.digest, link(self.head, chained.event)):
            self.broken = Break(chained.sequence, BreakReason.DIGEST)
        else:
            self.head = chained.digest
            self.length += 1
            self._sequence = chained.sequence
