"""A server that gives the answers it was told to, byte by byte as it was told to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence


def answer(body: bytes, status: str = "200 OK") -> bytes:
    """Return an answer as aiohttp's server writes it."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nServer: hsmkms\r\n\r\n%s" % (status.encode(), len(body), body)


def well(number: int = 0) -> bytes:
    """Return the body of an answer that is none of an error."""
    return b'{"Response": {"RequestId": "%d"}}' % number


@asynccontextmanager
async def answering(next_answer: Callable[[bytes], Sequence[bytes]]) -> AsyncIterator[int]:
    """Serve: to each request, given its body, the pieces of `next_answer`; to none of them, the end of the connection.

    Returns:
        The port, on 127.0.0.1.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2].split()[0]))
                pieces = next_answer(body)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not pieces:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
