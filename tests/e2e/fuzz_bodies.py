"""Bodies that are not the JSON they should be, to be signed like any other: a signature makes nothing sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.e2e.malformed_bodies import MALFORMED, OVERSIZED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MALFORMED: Final = tuple(MALFORMED.values())
_MEMBERS: Final = (
    b'"KeyId":null',
    b'"key_id":""',
    b'"a":NaN',
    b'"a":"\\ud800"',
    b'"\\udfff":1',
    b'"a":1e999',
    b'"a":-0',
    b'"a":1E400',
    b'"a":' + b"7" * 4400,
    b'"a":' + b"[" * 3000,
    b'"a":' + b'{"a":' * 600 + b"1" + b"}" * 600,
    b'"a":"\xed\xa0\x80"',
    b'"a":"\xc0\xaf"',
    b'"a":"\n"',
    b'"__proto__":{}',
    b'"":0',
)


def _with_member(body: bytes, number: int) -> bytes:
    more = _MEMBERS[number % len(_MEMBERS)]
    return body.replace(b"{", b"{" + more + (b"," if body != b"{}" else b""), 1)


def _twice(body: bytes, number: int) -> bytes:
    """Say the members twice over, the same or not."""
    inside = body[1:-1] or b'"a":1'
    return b"{" + inside + b"," + (inside.swapcase() if number % 2 else inside) + b"}"


def _flipped(body: bytes, number: int) -> bytes:
    at = number * 31 % (len(body) or 1)
    return body[:at] + bytes([body[at] ^ 1 << number % 8]) + body[at + 1 :] if body else b"\0"


def _encoded(body: bytes, number: int) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    codecs = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp037")
    return text.encode(codecs[number % len(codecs)], "replace")


def _padded(body: bytes, number: int) -> bytes:
    """Let white space fill a body to just below or above what the service reads."""
    return body + b" " * max(0, 64 * 1024 - len(body) + number % 3 - 1)


SPOILERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "another": lambda _body, number: _MALFORMED[number % len(_MALFORMED)],
    "another member": _with_member,
    "oversized": lambda _body, _number: OVERSIZED,
    "twice": _twice,
    "flipped": _flipped,
    "cut": lambda body, number: body[: number * 31 % (len(body) or 1)],
    "encoded": _encoded,
    "padded": _padded,
    "behind": lambda body, number: body + (b"\0", b"{}", b"]", b",", b"\n\n")[number % 5],
}
