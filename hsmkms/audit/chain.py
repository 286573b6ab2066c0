"""The link of the chain: the digest of an event and of everything before it.

Canonical form: every part is preceded by its length as 4 bytes, big-endian. The parts are, in this order: the domain,
the digest before, the tag, the instant, account, actor, key id, request id, the number of details, and for each detail
in the order of its name: name and value. A part that may be absent, or of several types, begins with one byte that
says which.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hsmkms.core.events import Event

GENESIS: Final = b""
"""What stands for the digest before, at the first event."""

_DOMAIN: Final = b"hsmkms audit event v1"


def link(previous: bytes, event: Event) -> bytes:
    """Return the SHA-256 digest (32 bytes) that `event` has after the digest `previous`."""
    return hashlib.sha256(canonical(previous, event)).digest()


def canonical(previous: bytes, event: Event) -> bytes:
    """Return the bytes that `link` digests."""
    parts = [
        _DOMAIN,
        previous,
        _text(event.tag.value),
        _value(event.at),
        _value(event.account),
        _text(event.actor),
        _value(event.key_id),
        _value(event.request_id),
        len(event.detail).to_bytes(8, "big"),
    ]
    for name in sorted(event.detail):
        parts += (_text(name), _value(event.detail[name]))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


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
