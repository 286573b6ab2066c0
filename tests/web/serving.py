"""An app on a socket of 127.0.0.1, and a client that writes bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hsmkms.core.errors import BodyMalformed, BodyTooLarge, HsmkmsError, InternalFault
from hsmkms.dialects.base import Reply, RequestHead
from hsmkms.web import server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hsmkms.core.ids import RequestId
    from hsmkms.web.server import Handler

SHUTDOWN_SECONDS = 5.0


async def no_obstacle() -> str | None:
    """Find nothing: a service in order."""
    return None


@dataclass
class Serving:
    """A served app."""

    port: int
    stop: asyncio.Event
    task: asyncio.Task[None]


@contextlib.asynccontextmanager
async def serving(
    app: Handler, context: ssl.SSLContext | None = None, shutdown_seconds: float = SHUTDOWN_SECONDS
) -> AsyncIterator[Serving]:
    """Serve `app` on a free port until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        stop = asyncio.Event()
        task = asyncio.create_task(server.serve(app, listening, context, shutdown_seconds, stop))
        try:
            yield Serving(port, stop, task)
        finally:
            stop.set()
            await task


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever the body is
        """The body as JSON."""
        return json.loads(self.body)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one response."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    return Answer(int(status.split()[1]), headers, await reader.readexactly(int(headers["Content-Length"])))


@contextlib.asynccontextmanager
async def connected(
    port: int, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and leave nothing open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(port: int, request: bytes, context: ssl.SSLContext | None = None) -> Answer:
    """Send bytes, and return the first response to them."""
    async with connected(port, context) as (reader, writer):
        writer.write(request)
        return await read_answer(reader)


@dataclass
class PlainDialect:
    """A dialect that answers what a test tells it to, and remembers what it saw."""

    answering: Callable[[RequestHead, bytes], Awaitable[bytes]] | None = None
    seen: list[tuple[RequestHead, bytes]] = field(default_factory=list)
    request_ids: list[RequestId] = field(default_factory=list)
    claimed: asyncio.Event = field(default_factory=asyncio.Event)
    name: str = "plain"

    def claims(self, head: RequestHead) -> bool:
        """Claim everything but one path."""
        self.claimed.set()
        return head.path != "/unclaimed"

    async def answer(self, head: RequestHead, body: bytes, request_id: RequestId) -> Reply:
        """Answer with the test's body."""
        self.seen.append((head, body))
        self.request_ids.append(request_id)
        answer = b"{}" if self.answering is None else await self.answering(head, body)
        return Reply(200, (("Content-Type", "application/json"),), answer, {"action": "Plain"})

    def refuse(self, head: RequestHead, error: HsmkmsError, request_id: RequestId) -> Reply:
        """Name the error."""
        assert isinstance(error, (BodyTooLarge, BodyMalformed, InternalFault)), head
        self.request_ids.append(request_id)
        body = json.dumps({"refused": type(error).__name__}).encode()
        return Reply(200, (("Content-Type", "application/json"),), body, {"code": type(error).__name__})
