"""A message of HTTP/1.1 that need not be one: every part of it can be replaced before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Reading(Enum):
    """How long the client stays."""

    TO_THE_END = auto()
    """Until the service closes: behind the message goes one that asks it to."""
    ONE_ANSWER = auto()
    NONE = auto()
    """It goes away as soon as it has sent."""


@dataclass
class Message:
    """A message as it is sent; strings stand for bytes in ISO 8859-1."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    version: str = "HTTP/1.1"
    line_end: str = "\r\n"
    before: bytes = b""
    framing: str | None = None
    """The header lines in place of Content-Length."""
    framed: bytes | None = None
    """The body as they frame it."""
    flip: int | None = None
    """Which bit of the head is flipped."""
    copies: int = 1
    piece_bytes: int = 0
    """How much is sent at a time; 0: everything."""
    cut: int | None = None
    """After how many 256ths the client goes away."""
    reading: Reading = Reading.TO_THE_END

    def head(self) -> bytes:
        """Return the head."""
        lines = [f"{self.method} {self.target} {self.version}", *(f"{name}: {value}" for name, value in self.headers)]
        head = bytearray(self.line_end.join(lines).encode("latin-1", "replace"))
        if self.flip is not None:
            place = self.flip % len(head)
            head[place] ^= 1 << self.flip % 7
        framing = f"Content-Length: {len(self.body)}" if self.framing is None else self.framing
        return bytes(head) + "".join(
            f"{self.line_end}{each}" for each in (framing, "", "") if each or each is not framing
        ).encode("latin-1")

    def raw(self) -> bytes:
        """Return all that is sent."""
        raw = self.before + (self.head() + (self.body if self.framed is None else self.framed)) * self.copies
        return raw if self.cut is None else raw[: len(raw) * self.cut // 256]


def picked(variants: Sequence[T], number: int) -> T:
    """Return the variant of this number, counted round and round."""
    return variants[number % len(variants)]
