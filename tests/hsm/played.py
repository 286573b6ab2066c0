"""A host played by the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from hsmkms.hsm import frames
from hsmkms.hsm.messages import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsmkms.hsm import messages
    from hsmkms.hsm.client import HostPool


class PlayedHost:
    """The other end of the socket, in the hands of the test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ours, self._theirs = socket.socketpair()
        for each in (self.ours, self._theirs):
            each.setblocking(False)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def receive(self) -> Request:
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_unix_connection(sock=self._theirs)
        async with asyncio.timeout(5):
            header = await self._reader.readexactly(frames.LENGTH.size)
            return frames.parse_request(await self._reader.readexactly(frames.payload_length(header)))

    def send(self, content: bytes) -> None:
        assert self._writer is not None
        self._writer.write(content)

    def answer(self, request: Request, answer: messages.Answer, microseconds: int | None = None) -> None:
        self.send(frames.frame(Reply(number=request.number, answer=answer, microseconds=microseconds)))

    def cannot_send(self) -> bool:
        """Tell whether nothing that is sent from now on goes through."""
        try:
            self._theirs.send(b"")
        except BrokenPipeError:
            return True
        return False

    def shut_down(self) -> None:
        """End both directions at once; what was sent can still be read."""
        self._theirs.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        else:
            self._theirs.close()

    async def hung_up_on(self) -> None:
        assert self._reader is not None
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):  # it is one if we wrote meanwhile
                assert await self._reader.read() == b""


async def end_of_play(pool: HostPool, hosts: Iterable[PlayedHost]) -> None:
    """Close a pool, and then the ends of the hosts that were played."""
    await pool.close()
    for host in hosts:
        host.hang_up()
    await asyncio.sleep(0)
