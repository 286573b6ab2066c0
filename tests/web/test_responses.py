"""The bytes of a response, whichever way a client asks for it."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from hsmkms.dialects.base import Reply
from hsmkms.web.app import Health, Limits, build_app
from tests.web.serving import PlainDialect, connected, no_obstacle, serving

if TYPE_CHECKING:
    from hsmkms.core.ids import RequestId
    from hsmkms.dialects.base import RequestHead


class SayingDialect(PlainDialect):
    """A dialect that answers with one reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply

    async def answer(self, head: RequestHead, body: bytes, request_id: RequestId) -> Reply:
        await super().answer(head, body, request_id)
        return self.reply


REPLY = Reply(404, (("Content-Type", "application/json"), ("X-Latin", "\xe9")), b'{"a": 1}')
HEAD = (
    b"Content-Type: application/json\r\nX-Latin: \xe9\r\nServer: hsmkms\r\nContent-Length: 8\r\n"
    b"Date: ([A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)\r\n"
)


async def answers(request: bytes, reply: Reply = REPLY) -> bytes:
    """Return all that comes back until the connection ends."""
    async with (
        serving(build_app([SayingDialect(reply)], Limits(idle_seconds=0.05), Health(no_obstacle))) as served,
        connected(served.port) as (reader, writer),
    ):
        writer.write(request)
        return await reader.read()


@pytest.mark.parametrize(
    ("line", "asked", "start", "connection", "body"),
    [
        ("GET / HTTP/1.1", "", b"HTTP/1.1 404 Not Found", b"", REPLY.body),
        ("HEAD / HTTP/1.1", "", b"HTTP/1.1 404 Not Found", b"", b""),
        ("GET / HTTP/1.1", "Connection: close\r\n", b"HTTP/1.1 404 Not Found", b"Connection: close\r\n", REPLY.body),
        ("GET / HTTP/1.0", "", b"HTTP/1.0 404 Not Found", b"", REPLY.body),
        (
            "GET / HTTP/1.0",
            "Connection: keep-alive\r\n",
            b"HTTP/1.0 404 Not Found",
            b"Connection: keep-alive\r\n",
            REPLY.body,
        ),
    ],
)
async def test_a_response_is_these_bytes(line: str, asked: str, start: bytes, connection: bytes, body: bytes) -> None:
    answer = await answers(f"{line}\r\nHost: h\r\n{asked}\r\n".encode())
    found = re.fullmatch(start + b"\r\n" + HEAD + connection + b"\r\n" + re.escape(body), answer)
    assert found is not None, answer
    assert parsedate_to_datetime(found[1].decode()).tzinfo is not None


async def test_answers_to_requests_sent_at_once_come_in_their_order_and_whole() -> None:
    answer = await answers(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
    assert len(re.findall(HEAD + b"\r\n" + re.escape(REPLY.body), answer)) == 3


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
async def test_no_header_ends_before_its_end(value: str) -> None:
    answer = await answers(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Reply(200, (("X-One", value),), b"{}"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"X-O" not in answer
