"""What can be wrong with how a message is framed and sent after it was signed: lengths, chunks, what is around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.e2e.fuzz_message import Reading, picked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.e2e.fuzz_message import Message

# --- framing --------------------------------------------------------------------------------------------


def _chunked(body: bytes, size: int, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in pieces)
    return chunks + b"0\r\n" + trailer + b"\r\n"


def _chunks(message: Message, number: int) -> None:
    """Send the body in chunks, well or badly made."""
    sound, chunked = _chunked(message.body, 1 + number), "Transfer-Encoding: chunked"
    variants: tuple[tuple[str, bytes], ...] = (
        (chunked, sound),
        ("Transfer-Encoding: Chunked", sound),
        (chunked, _chunked(message.body, 7, b";a=b;c")),
        (chunked, _chunked(message.body, 64, trailer=b"X-TC-Action: GetRegions\r\n")),
        (chunked, _chunked(message.body, 64, trailer=b"\0bad trailer\r\n")),
        (chunked, b"zz\r\n" + sound),
        (chunked, b"-1\r\n" + sound),
        (chunked, b"0x5\r\n" + sound),
        (chunked, b"F" * 20 + b"\r\n" + sound),
        (chunked, sound.replace(b"\r\n", b"\n")),
        (chunked, sound.replace(b"\r\n", b"", 1)),
        (chunked, _chunked(message.body, 64, b";" + b"x" * 9000)),
        (chunked, _chunked(message.body, 64, trailer=b"X: " + b"y" * 9000 + b"\r\n")),
        (chunked, _chunked(message.body + b" " * 70_000, 1000)),
        (f"{chunked}\r\nContent-Length: {len(sound)}", sound),
        (f"Content-Length: 0\r\n{chunked}", sound),
        ("Transfer-Encoding: gzip, chunked", sound),
        ("Transfer-Encoding: chunked, gzip", sound),
        ("Transfer-Encoding: chunked, chunked", sound),
        (f"{chunked}\r\n{chunked}", sound),
        ("Transfer-Encoding: xchunked", sound),
        ("Transfer-Encoding: identity", sound),
        ("Transfer-Encoding:\tchunked\t", sound),
        ("Transfer-Encoding : chunked", sound),
    )
    message.framing, message.framed = picked(variants, number)


def _unfinished(message: Message, number: int) -> None:
    """Announce more than is sent, and go away."""
    variants = (
        "Content-Length: 99999",
        "Transfer-Encoding: chunked",
        "Content-Length: 65536",
        "Content-Length: 4\r\nExpect: 100-continue",
    )
    message.framing = picked(variants, number)
    message.framed = b"ffff\r\n" + message.body if "chunked" in message.framing else message.body[: number % 4]
    message.reading = Reading.NONE


def _length(message: Message, number: int) -> None:
    """Announce a length that is none, or less than is sent."""
    size = len(message.body)
    variants = (
        f"Content-Length: {size}\r\nContent-Length: {size}",
        f"Content-Length: {size}\r\nContent-Length: {size + 1}",
        f"Content-Length: +{size}",
        f"Content-Length: {size}, {size}",
        f"Content-Length: 0x{size:x}",
        f"Content-Length: {size}.0",
        f"Content-Length: {size}_0",
        f"Content-Length:{size}",
        f"Content-Length: 00{size}",
        "Content-Length: -1",
        "Content-Length:",
        "Content-Length: \u0665".encode().decode("latin-1"),
        f"Content-Length: {'9' * 30}",
        f"Content-Length: {2**64 + size}",
        f"Content-Length: {max(0, size - 2)}",
        "Content-Length: 0",
        "X-No-Length: at all",
    )
    message.framing = picked(variants, number)


# --- around the message ---------------------------------------------------------------------------------

_BEFORE: Final = (
    *(b"\r\n", b"\n\n", b"\0", b" ", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", b"\xff" * 100, b"\r\n" * 5000),
    *(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /healthz\r\n",
        b"x" * 20_000,
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    ),
)


def _something_before(message: Message, number: int) -> None:
    message.before = picked(_BEFORE, number)


def _other_lines(message: Message, number: int) -> None:
    message.line_end = picked(("\n", "\r", "\r\r\n", "\n\r", "\r\n ", "\x0b"), number)


def _flipped_head(message: Message, number: int) -> None:
    message.flip = number * 7


def _other_body(message: Message, number: int) -> None:
    """Change the body behind the signature's back."""
    message.body = picked((b"", b"{}", message.body + b" ", message.body[:-1], b"\0" * 70_000, b"{" * 65_536), number)


def _pipelined(message: Message, number: int) -> None:
    message.copies = 2 + number % 12


def _in_pieces(message: Message, number: int) -> None:
    message.piece_bytes = 1 + number


def _gone(message: Message, number: int) -> None:
    """Go away before the end, or as soon as everything is sent."""
    message.cut = number + 1
    message.reading = Reading.NONE


OF_FRAMING: Final[Mapping[str, Callable[[Message, int], None]]] = {
    "chunks": _chunks,
    "flipped head": _flipped_head,
    "gone": _gone,
    "in pieces": _in_pieces,
    "length": _length,
    "other body": _other_body,
    "other lines": _other_lines,
    "pipelined": _pipelined,
    "something before": _something_before,
    "unfinished": _unfinished,
}
