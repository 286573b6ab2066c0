"""The link of the chain: the digest of an event and of everything before it.

Canonical form: every part is preceded by its length as 4 bytes, big-endian. The parts are, in this order: the domain,
the digest before, the tag, the instant, account, actor, key id, request id, the number of details, and for each detail
in the order of its name: name and value. A part that may be absent, or of several types, begins with one byte that
says which.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hsmkms.core.events import Event

GENESIS: Final = b""
"""What stands for the digest before, at the first event."""

_MOST_KEPT: Final = 4096
"""Parts of accounts, access ids and keys, most of which are in the next event, too."""
_length: Final = struct.Struct(">I").pack


def link(previous: bytes, event: Event) -> bytes:
    """Return the SHA-256 digest (32 bytes) that `event` has after the digest `previous`."""
    return hashlib.sha256(canonical(previous, event)).digest()


def canonical(previous: bytes, event: Event) -> bytes:
    """Return the bytes that `link` digests."""
    detail = event.detail
    parts = [
        _DOMAIN,
        _part(previous),
        _known_text(event.tag.value),
        _part(_value(event.at)),
        _known_value(event.account),
        _known_text(event.actor),
        _known_value(event.key_id),
        _part(_value(event.request_id)),
        _part(len(detail).to_bytes(8, "big")) if detail else _NO_DETAIL,
    ]
    for name in sorted(detail):
        parts += (_known_text(name), _part(_value(detail[name])))
    return b"".join(parts)


def _part(content: bytes) -> bytes:
    return _length(len(content)) + content


@lru_cache(_MOST_KEPT, typed=True)
def _known_value(value: str | None) -> bytes:
    return _part(_value(value))


@lru_cache(_MOST_KEPT, typed=True)
def _known_text(text: str) -> bytes:
    return _part(_text(text))


def _value(value: str | int | bool | None) -> bytes:  # noqa: FBT001 - a value of any of these types, not a switch
    if value is None:
        return b"n"
    if isinstance(value, bool):  # before int, which it also is
        return b"t" if value else b"f"
    if isinstance(value, int):
        return b"i%d" % value
    return b"s" + _text(value)


def _text(text: str) -> bytes:
    # "surrogatepass": JSON can smuggle in lone surrogates, and even such an event must be written down.
    return text.encode("utf-8", "surrogatepass")


_DOMAIN: Final = _part(b"hsmkms audit event v1")
_NO_DETAIL: Final = _part(bytes(8))
