"""An archive of audit trails: the text of each line, and back.

It begins with a line that says of which deployment it is. Of each node there follow the head it goes on after, its
events as `hsmkms audit export` writes them, and the token's seal over the last of them. The token's word for the cut is
never in a file: whoever found it there could pass off as archived what was not. Whoever reads an archive accepts a line
only if it is, byte for byte, what this module writes for what it says, so that nothing can be hidden beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hsmkms.core.errors import ArchiveUnusable
from hsmkms.core.events import DIGEST_BYTES, MAC_BYTES, AuditHead, AuditSeal, ChainedEvent, Event, EventTag
from hsmkms.core.ids import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_FORMAT: Final = "hsmkms audit trail v1"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_VALUES: Final = (str, int, bool, type(None))


@dataclass(frozen=True, slots=True)
class ArchiveOf:
    """The first line: whose archive it is."""

    deployment_id: str


@dataclass(frozen=True, slots=True)
class NodeBegins:
    """The events of a node follow."""

    node: str
    after: AuditHead | None
    """What they go on after; None: the node's trail begins here."""


@dataclass(frozen=True, slots=True)
class ArchivedEvent:
    """One of them."""

    node: str
    chained: ChainedEvent


Line: TypeAlias = ArchiveOf | NodeBegins | ArchivedEvent | AuditSeal


def members_of(node: str, chained: ChainedEvent) -> dict[str, object]:
    """Return an event as the members of one JSON object; without `node` where a database has one."""
    event = chained.event
    at = (_EPOCH + event.at * _MILLISECOND).isoformat(timespec="milliseconds")  # a float does not hold each of them
    return {
        "sequence": chained.sequence,
        "at": at.replace("+00:00", "Z"),
        "tag": event.tag.value,
        "account": event.account,
        "actor": event.actor,
        "key_id": event.key_id,
        "request_id": event.request_id,
        "detail": dict(event.detail),
        "digest": chained.digest.hex(),
        **({"node": node} if node else {}),
    }


def text_of(line: Line) -> str:
    """Return a line of an archive, without its end."""
    match line:
        case ArchiveOf():
            return json.dumps({"archive": _FORMAT, "deployment": line.deployment_id})
        case NodeBegins():
            return json.dumps({"after": None if line.after is None else str(line.after), "node": line.node})
        case ArchivedEvent():
            return json.dumps(members_of(line.node, line.chained))
        case AuditSeal():
            return json.dumps({"seal": str(line.head), "mac": line.mac.hex()})


def read(texts: Iterable[str], deployment_id: str) -> Iterator[Line]:
    """Yield the lines of an archive, without the first one; `texts` may keep their line ends.

    Raises:
        ArchiveUnusable: it is none, of another deployment, or was changed.
    """
    before: Line | None = None
    number = 0
    for number, text in enumerate(texts, 1):
        line = line_of(text.removesuffix("\n"))
        if isinstance(line, ArchiveOf) and number == 1 and line.deployment_id != deployment_id:
            raise ArchiveUnusable("The archive is of another deployment; name those of this one.")
        if line is None or not _follows(before, line):
            raise ArchiveUnusable(
                f"Line {number} of the archive is not what was written there: it was changed, or is no archive."
            )
        before = line
        if not isinstance(line, ArchiveOf):
            yield line
    if not isinstance(before, AuditSeal):
        raise ArchiveUnusable(f"The archive ends after line {number}, and not with a seal: it is not whole.")


def _follows(before: Line | None, line: Line) -> bool:
    """Tell whether `line` may come after the line `before`: whose, and then of each node begin, events and seal."""
    match line:
        case ArchiveOf():
            return before is None
        case NodeBegins():
            return isinstance(before, ArchiveOf | AuditSeal) and (line.after is None or line.after.node == line.node)
        case ArchivedEvent():
            return isinstance(before, NodeBegins | ArchivedEvent) and before.node == line.node
        case AuditSeal():
            return isinstance(before, ArchivedEvent) and before.node == line.head.node


def line_of(text: str) -> Line | None:
    """Return what `text_of` made `text` of; None if it made it of nothing."""
    try:
        members: Any = json.loads(text)
        kind = next((read for name, read in _READING.items() if name in members), None)
        line = None if kind is None else kind(members)
        return line if line is not None and text_of(line) == text else None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _archive(members: dict[str, Any]) -> ArchiveOf:
    return ArchiveOf(_text(members["deployment"]))


def _begins(members: dict[str, Any]) -> NodeBegins:
    after = members["after"]
    return NodeBegins(_text(members["node"]), None if after is None else _head(after))


def _seal(members: dict[str, Any]) -> AuditSeal:
    return AuditSeal(_head(members["seal"]), _bytes(members["mac"], MAC_BYTES))


def _event(members: dict[str, Any]) -> ArchivedEvent:
    since = datetime.fromisoformat(members["at"]) - _EPOCH
    detail = members["detail"]
    texts = [each for each in map(members.__getitem__, ("account", "key_id", "request_id")) if each is not None]
    if type(members["sequence"]) is not int or not all(type(each) is str for each in texts):
        raise TypeError
    if not all(type(each) in _VALUES for each in detail.values()):
        raise TypeError
    event = Event(
        EventTag(members["tag"]),
        Instant(since // _MILLISECOND),
        members["account"],
        _text(members["actor"]),
        members["key_id"],
        members["request_id"],
        detail,
    )
    digest = _bytes(members["digest"], DIGEST_BYTES)
    return ArchivedEvent(_text(members.get("node", "")), ChainedEvent(members["sequence"], digest, event))


_READING: Final[dict[str, Callable[[dict[str, Any]], Line]]] = {
    "archive": _archive,
    "after": _begins,
    "seal": _seal,
    "sequence": _event,
}
"""By the member that only a line of this kind has."""


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _head(text: str) -> AuditHead:
    head = AuditHead.parse(text)
    if head is None:
        raise ValueError
    return head


def _bytes(text: str, size: int) -> bytes:
    content = bytes.fromhex(text)
    if len(content) != size:
        raise ValueError
    return content
