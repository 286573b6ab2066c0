"""The audit trail in its tables: rows to events and seals and back, and what to do with a row that is neither.

Laws:

- a row is read as an event only if it is, byte for byte, what this program writes for that event: otherwise somebody
  could change a row, and the digest of what is read would not tell;
- a row that cannot be read hides no other: those before it are returned, then it is named (`EventUnreadable`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from hsmkms.core.errors import EventUnreadable, HsmkmsError, StoreUnavailable
from hsmkms.core.events import DIGEST_BYTES, MAC_BYTES, AuditCut, AuditHead, AuditSeal, ChainedEvent, Event, EventTag
from hsmkms.store import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Executable, Row

    from hsmkms.store.reading import SqlReading

Read = TypeVar("Read")

_LAST_INSTANT: Final = 253_402_300_799_999
"""9999-12-31, the last one that has a date of four digits for its year."""
_LAST_SEQUENCE: Final = 2**63 - 1
_VALUES: Final = (str, int, bool, type(None))
_DETAIL: Final = json.JSONEncoder(sort_keys=True)


class _Statements(NamedTuple):
    """How the rows of a table are read."""

    page: Executable
    sequences: Executable
    one: Executable
    what: str


_EVENTS: Final = _Statements(queries.EVENTS_AFTER, queries.EVENT_SEQUENCES, queries.EVENT, "Event")
_CUT: Final = "The cut after event"
_SEALS: Final = _Statements(queries.SEALS_AFTER, queries.SEAL_SEQUENCES, queries.SEAL, "The seal of event")


def events(reading: SqlReading, node: str, after: int, limit: int) -> Sequence[ChainedEvent]:
    """Return at most `limit` events of a node, of a sequence above `after`, up to the first that cannot be read.

    Raises:
        EventUnreadable: that is the very first.
    """
    return _page(reading, _EVENTS, event_of, node, after, limit)


def seals(reading: SqlReading, node: str, after: int, limit: int) -> Sequence[AuditSeal]:
    """Return at most `limit` seals of a node, of events above the sequence `after`, up to the first unreadable one.

    Raises:
        EventUnreadable: that is the very first.
    """
    return _page(reading, _SEALS, seal_of, node, after, limit)


def last_seal(reading: SqlReading, node: str) -> AuditSeal | None:
    """Return the newest seal of a node.

    Raises:
        EventUnreadable: it cannot be read.
    """
    return _only(reading, queries.LAST_SEAL, queries.LAST_SEAL_THERE, seal_of, node, _SEALS.what)


def cut(reading: SqlReading, node: str) -> AuditCut | None:
    """Return where a node's trail begins after what was archived; None: it begins with its first event.

    Raises:
        EventUnreadable: it cannot be read.
    """
    return _only(reading, queries.CUT, queries.CUT_THERE, cut_of, node, _CUT)


def _only(
    reading: SqlReading,
    statement: Executable,
    there: Executable,
    read: Callable[[Row[Any]], Read],
    node: str,
    what: str,
) -> Read | None:
    """Return what is read from the one row of a statement; `there` asks for nothing that may be spoilt in it."""
    asked = {"node": node}
    try:
        rows = reading.rows(statement, asked)
    except StoreUnavailable:
        raise
    except HsmkmsError:
        reading.failed = False
        if reading.rows(there, asked):
            raise EventUnreadable(0, what) from None
        raise
    return read(rows[0]) if rows else None


def _page(
    reading: SqlReading, statements: _Statements, read: Callable[[Row[Any]], Read], node: str, after: int, limit: int
) -> Sequence[Read]:
    if after >= _LAST_SEQUENCE:
        return []
    # The first one and not the one before it: SQLite's least number has none before it.
    asked = {"node": node, "first": after + 1, "limit": limit}
    try:
        return [read(row) for row in reading.rows(statements.page, asked)]
    except StoreUnavailable:
        raise
    except HsmkmsError:
        # A text that is not UTF-8, say, of which the driver does not tell in which row it is.
        reading.failed = False
        sequences = [row.sequence for row in reading.rows(statements.sequences, asked)]
    found: list[Read] = []
    for sequence in sequences:
        try:
            found += [read(row) for row in reading.rows(statements.one, {"node": node, "sequence": sequence})]
        except StoreUnavailable:
            raise
        except HsmkmsError:
            if found:
                break
            raise EventUnreadable(sequence if isinstance(sequence, int) else 0, statements.what) from None
    return found


def event_of(row: Row[Any]) -> ChainedEvent:
    """Return the event of a row.

    Raises:
        EventUnreadable: it is none.
    """
    try:
        detail: Mapping[str, str | int | bool | None] = json.loads(row.detail)
        event = Event(EventTag(row.tag), row.at, row.account, row.actor, row.key_id, row.request_id, detail)
        texts = (event.actor, *(each for each in (event.account, event.key_id, event.request_id) if each is not None))
        written = (
            type(row.digest) is bytes
            and type(event.at) is int
            and 0 <= event.at <= _LAST_INSTANT
            and all(type(each) is str for each in texts)
            and all(type(each) in _VALUES for each in detail.values())
            and _written(detail) == row.detail
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        written = False
    if not written:
        raise EventUnreadable(row.sequence)
    return ChainedEvent(row.sequence, row.digest, event)


def event_values(node: str, event: Event, digest: bytes) -> dict[str, object]:
    """Return the row of an event, but for its sequence."""
    return {
        "node": node,
        "tag": event.tag.value,
        "at": event.at,
        "account": event.account,
        "actor": event.actor,
        "key_id": event.key_id,
        "request_id": event.request_id,
        "detail": _written(event.detail),
        "digest": digest,
    }


def _written(detail: Mapping[str, str | int | bool | None]) -> str:
    return _DETAIL.encode(dict(detail))


def seal_of(row: Row[Any]) -> AuditSeal:
    """Return the seal of a row.

    Raises:
        EventUnreadable: it is none.
    """
    head = _head_of(row, _SEALS.what)
    if row.block != head.block:
        raise EventUnreadable(row.sequence, _SEALS.what)
    return AuditSeal(head, row.mac)


def seal_values(seal: AuditSeal) -> dict[str, object]:
    """Return the row of a seal."""
    head = seal.head
    return {
        "node": head.node,
        "block": head.block,
        "sequence": head.sequence,
        "digest": head.digest,
        "mac": seal.mac,
    }


def cut_of(row: Row[Any]) -> AuditCut:
    """Return the cut of a row.

    Raises:
        EventUnreadable: it is none.
    """
    return AuditCut(_head_of(row, _CUT), row.mac)


def cut_values(cut: AuditCut) -> dict[str, object]:
    """Return the row of a cut."""
    return {"node": cut.head.node, "sequence": cut.head.sequence, "digest": cut.head.digest, "mac": cut.mac}


def _head_of(row: Row[Any], what: str) -> AuditHead:
    if type(row.sequence) is not int or row.sequence < 1:
        raise EventUnreadable(0, what)
    values = ((row.digest, DIGEST_BYTES), (row.mac, MAC_BYTES))
    if any(type(each) is not bytes or len(each) != size for each, size in values):
        raise EventUnreadable(row.sequence, what)
    head = AuditHead(row.sequence, row.digest, row.node)
    if AuditHead.parse(str(head)) != head:  # of what no node is called
        raise EventUnreadable(row.sequence, what)
    return head
