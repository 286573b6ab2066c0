"""A client of HTTP/1.1 that understands nothing but well-formed answers, over a bare socket."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING, Final

from tests.e2e.fuzz_message import Reading
from tests.e2e.raw import Answer

if TYPE_CHECKING:
    from tests.e2e.fuzz_message import Message

ANSWER_SECONDS: Final = 20.0
"""Longer than anything that the service waits for by itself."""
_RECEIVED: Final = 65_536
_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) [ -~]*")
_HEADER: Final = re.compile(rb"([!-9;-~]+): ([ -~]*)")
_NO_BODY: Final = frozenset({204, 304})


class Malformed(AssertionError):
    """What came is no answer."""


def parsed(received: bytes, method: str = "POST") -> tuple[Answer, bytes] | None:
    """Return the first answer of what was received, and the rest; None if it is not there as a whole.

    Raises:
        Malformed: it is no answer of HTTP/1.1.
    """
    head, end, rest = received.partition(_END)
    if not end:
        return None
    status_line, *lines = head.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(status_line)
    headers = [_HEADER.fullmatch(line) for line in lines]
    if status is None or None in headers:
        raise Malformed(head)
    shown = tuple((each[1].decode("ascii"), each[2].decode("ascii")) for each in headers if each is not None)
    answer = Answer(int(status[1]), shown, b"")
    lengths = answer.values("content-length")
    if len(lengths) != 1 or not lengths[0].isdigit() or answer.values("transfer-encoding"):
        raise Malformed(head)
    if method == "HEAD" and not rest.startswith(b"{"):
        return answer, rest
    size = 0 if answer.status in _NO_BODY else int(lengths[0])
    return (Answer(answer.status, shown, rest[:size]), rest[size:]) if len(rest) >= size else None


class Connection:
    """One connection that is kept for message after message, and made again when it is gone."""

    def __init__(self, endpoint: str) -> None:
        """Connect with the first message."""
        host, port = endpoint.split(":")
        self._address = host, int(port)
        self._kept: socket.socket | None = None

    def close(self) -> None:
        """Close it."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def ask(self, raw: bytes, method: str) -> Answer:
        """Send one sound message and return its one answer.

        Raises:
            Malformed: there is none, or more than one.
        """
        if self._kept is None:
            self._kept = self._connected()
        self._kept.sendall(raw)
        received = b""
        while (found := parsed(received, method)) is None:
            more = self._kept.recv(_RECEIVED)
            if not more:
                raise Malformed(b"the service closed the connection before its answer was whole: " + received)
            received += more
        answer, rest = found
        if rest:
            raise Malformed(rest)
        if "close" in answer.values("connection"):
            self.close()
        return answer

    def twisted(self, message: Message, last: bytes) -> list[Answer]:
        """Send a message that is not sound, on a connection of its own, and return the answers.

        `last` is sent behind it: a message whose answer ends the connection.

        Raises:
            Malformed: what came is not only answers.
        """
        with self._connected() as connection:
            to_the_end = message.reading is Reading.TO_THE_END
            # Who is sent away early may find the way back closed.
            with contextlib.suppress(ConnectionError):
                _send(connection, message.raw() + (last if to_the_end else b""), message.piece_bytes)
            if message.reading is Reading.NONE:
                return []
            return _answers(connection, message.method, most=None if to_the_end else 1)

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=ANSWER_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _send(connection: socket.socket, raw: bytes, piece_bytes: int) -> None:
    size = max(piece_bytes, len(raw) // 20) if piece_bytes else len(raw)
    for at in range(0, len(raw), size or 1):
        connection.sendall(raw[at : at + size])


def _answers(connection: socket.socket, method: str, most: int | None) -> list[Answer]:
    answers: list[Answer] = []
    received, ended = b"", False
    while most is None or len(answers) < most:
        if not ended:
            try:
                more = connection.recv(_RECEIVED)
            except ConnectionError:
                more = b""
            ended = not more
            received += more
        found = parsed(received, method)
        if found is not None:
            answers.append(found[0])
            received = found[1]
        elif ended:
            break
    if received and most is None:
        raise Malformed(received)
    if not answers:
        raise Malformed(b"no answer")
    return answers
