"""The hash chain of the audit trail, as it grows: what a transaction appends is written at its very end.

So whatever else a transaction waits for, it does not hold the end of the chain meanwhile; and several changes that are
committed together look for it once. Each node has a chain of its own, which begins with `deployment:initialised` on the
node that did so, and with `node:joined` on any other.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import InternalFault
from hsmkms.core.events import DIGEST_BYTES, AuditHead, Event, EventTag
from hsmkms.store import queries
from hsmkms.store.trail import event_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsmkms.store.reading import SqlReading

    Link = Callable[[bytes, Event], bytes]

_logger = logging.getLogger(__name__)

_NOTHING_BEFORE: Final = b""
UNKNOWN_BEFORE: Final = hashlib.sha256(b"hsmkms audit: the digest before is not one").digest()
"""In the place of a last digest that is none, which somebody wrote there: what happens then must be recorded all the
same. Whoever verifies the trail finds the break at the event that was spoilt, or at the first one after it."""
_ACTOR: Final = "store"


@dataclass(frozen=True, slots=True)
class Appended:
    """What a transaction appended to a chain."""

    after: int
    """The sequence of the event before it; 0: there was none."""
    digest: bytes
    """Of its last event, and of no other: all that came before is in it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The chain of one node."""

    link: Link
    """Returns the digest of an event after the digest before it (empty: it is the first)."""
    node: str = ""
    """Its name; empty where a database has one node."""

    def extend(self, transaction: SqlReading, events: Sequence[Event]) -> Appended | None:
        """Write events at the end of the chain, in this order, in a transaction in which nothing else follows.

        Raises:
            InternalFault: the database did not keep them.
        """
        if not events:
            return None
        before = head(transaction, self.node)
        if before is None and self.node and events[0].tag is not EventTag.DEPLOYMENT_INITIALISED:
            events = [Event(EventTag.NODE_JOINED, events[0].at, None, _ACTOR, detail={"node": self.node}), *events]
        rows, digest = [], _digest_of(before)
        for event in events:
            digest = self.link(digest, event)
            rows.append(event_values(self.node, event, digest))
        added = transaction.quick(queries.ADD_EVENT, rows)
        if added.rowcount != len(rows):
            # A trigger can do so: what asked for the event must not happen without it.
            _logger.error("the database did not keep what was appended to the audit trail")
            transaction.failed = True
            raise InternalFault
        return Appended(0 if before is None else before.sequence, digest)

    def holds(self, reading: SqlReading, appended: Appended) -> bool:
        """Tell whether what a transaction appended to the chain is there."""
        asked = {"node": self.node, "after": appended.after, "digest": appended.digest}
        return reading.quick(queries.EVENT_OF_DIGEST, asked).first() is not None


def head(transaction: SqlReading, node: str) -> AuditHead | None:
    """Return the place and digest of a node's newest event; None in an empty trail."""
    row = transaction.quick(queries.HEAD, {"node": node}).first()
    return None if row is None else AuditHead(row.sequence, row.digest, node)


def _digest_of(before: AuditHead | None) -> bytes:
    if before is None:
        return _NOTHING_BEFORE
    if type(before.digest) is bytes and len(before.digest) == DIGEST_BYTES:
        return before.digest
    _logger.error("the audit trail is broken: its last digest is none", extra={"sequence": before.sequence})
    return UNKNOWN_BEFORE
