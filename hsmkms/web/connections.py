"""Connections: how many there may be, which one ends for another, and how long each may keep us waiting.

Laws:

- a connection counts from when it was accepted, before any TLS handshake, until it is closed;
- it is at work only while a whole request is: whoever keeps us waiting, for a handshake, the rest of a request or the
  taking of a reply, may have to make room.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from hsmkms.log import REQUEST_ID
from hsmkms.web.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage

    from hsmkms.web.app import Limits

_logger = logging.getLogger(__name__)
_DoneT = TypeVar("_DoneT")

_SPOKEN: Final = (HttpVersion10, HttpVersion11)
READ_AT_ONCE: Final = 1 << 14
"""Bytes. asyncio takes 256 KiB for each read and gives back what was not needed: whatever is kept then comes to lie in
between, and the heap grows by the holes."""
_OTHER_DESCRIPTORS: Final = 100
"""For the database, the hosts and the libraries: connections must never take the last descriptor."""


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Make a request; one of a version that is not spoken here will be answered in one that is.

    aiohttp's parser takes HTTP/0.9 and HTTP/2.0 in a request line, and its answer begins with the request's version.
    To CONNECT any status of 2xx, and Tencent's refusals have one, would open a tunnel through a proxy that lets it pass
    (RFC 9110 9.3.6), past all that the proxy says of its clients.
    """
    loop = asyncio.get_running_loop()
    if message.version in _SPOKEN and message.method != hdrs.METH_CONNECT:
        return web.BaseRequest(message, payload, protocol, writer, task, loop)
    return Unspoken(message._replace(version=HttpVersion10), payload, protocol, writer, task, loop)


class Unspoken(web.BaseRequest):
    """A request of a version of HTTP that is not spoken here, or for a tunnel."""


class Server(web.Server):
    """Makes the connections: every request ends in one handler, whatever its target."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits) -> None:
        super().__init__(handler, request_factory=_request)
        self._limits = limits
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_connections = max(1, min(limits.connections, descriptors - _OTHER_DESCRIPTORS))
        self._here: dict[Connection, None] = {}
        """From when they were accepted until they are over or were told to give way."""

    def place_for(self, accepted: socket.socket) -> Connection | None:
        """Return a new connection, in the place of another if there are too many; None if all are at work."""
        if len(self._here) >= self._most_connections and not self.make_room():
            return None
        connection = self._connection(accepted)
        self._here[connection] = None
        return connection

    def make_room(self) -> bool:
        """End the connection that has kept us waiting for longest; return whether there is one."""
        waiting = [each for each in self._here if each.quiet_since is not None]
        quietest = min(waiting, key=lambda each: each.quiet_since or 0.0, default=None)
        if quietest is None:
            return False
        self.forget(quietest)
        quietest.give_way()
        return True

    def forget(self, connection: Connection) -> None:
        """Count a connection no more."""
        self._here.pop(connection, None)

    def end_handshakes(self) -> None:
        """End the connections that have not begun to speak HTTP."""
        for connection in [each for each in self._here if not each.speaking]:
            self.forget(connection)
            connection.give_way()

    def _connection(self, accepted: socket.socket) -> Connection:
        limits = self._limits
        return Connection(
            self,
            accepted,
            head_seconds=limits.head_seconds,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            access_log=None,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            # What was signed is what is read, and nothing small may grow large.
            auto_decompress=False,
            lingering_time=limits.body_seconds,
        )


class _InTheConnectionsTask:
    """The event loop as a connection of aiohttp uses it once it is made; but a request gets no task of its own.

    aiohttp gives it one so that what a request sets in its context ends with it. A tenth of our own work was to start
    those tasks (from Python 3.12 on they begin at once, and cost little), and one variable is all that we set.
    """

    __slots__ = ("call_at", "create_future", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.call_at = loop.call_at
        self.create_future = loop.create_future
        self.time = loop.time

    def create_task(self, work: Coroutine[None, None, _DoneT]) -> Coroutine[None, None, _DoneT]:
        """Return what the connection's task will wait for."""
        return work


class Connection(web.RequestHandler):
    """A connection with a deadline for its first head, whose replies do not say which software wrote them."""

    __slots__ = ("_accepted", "_answered", "_late", "_late_at", "_server", "_speaker", "quiet_since")

    def __init__(
        self,
        server: Server,
        accepted: socket.socket,
        *,
        head_seconds: float,
        **settings: Any,  # noqa: ANN401 - aiohttp's
    ) -> None:
        super().__init__(server, **settings)
        self._server = server
        self._accepted = accepted
        self._speaker: asyncio.Transport | None = None
        self._answered = False
        now = asyncio.get_running_loop().time()
        self._late_at = now + head_seconds
        self._late: asyncio.TimerHandle | None = None
        self.quiet_since: float | None = now
        """Since when we wait for the client: to shake hands, to ask, to send the rest of a request, or to take the
        reply; None while a whole request is worked on."""

    @property
    def speaking(self) -> bool:
        """Whether it can carry requests: with TLS, after the handshake."""
        return self._speaker is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head; the deadline for it began before the handshake."""
        super().connection_made(transport)
        self._speaker = cast("asyncio.Transport", transport)
        # With TLS the protocol in between reads. Neither attribute is documented.
        reading: Any = getattr(transport, "_ssl_protocol", transport)
        reading.max_size = READ_AT_ONCE
        if sys.version_info < (3, 12):
            self._loop = cast("asyncio.AbstractEventLoop", _InTheConnectionsTask(self._loop))
        self._late = asyncio.get_running_loop().call_at(self._late_at, self._speaker.abort)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        """Go on reading, if that was paused; aiohttp parses nothing, at a cost, after every body that was read."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def give_way(self) -> None:
        """End at once: a closing handshake, or the rest of a reply, would wait for the client again."""
        if self._speaker is not None:
            self._speaker.abort()
            return
        with suppress(OSError):
            self._accepted.shutdown(socket.SHUT_RDWR)  # asyncio, to whom it belongs now, reads the end and closes it

    def head_arrived(self, body: StreamReader) -> None:
        """Begin to wait for the rest of a request; the deadline was for the first head."""
        self._in_time()
        self.quiet_since = asyncio.get_running_loop().time()
        self._answered = False
        body.on_eof(self._request_arrived)

    def _request_arrived(self) -> None:
        if not self._answered:  # without having been read
            self.quiet_since = None

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the connection."""
        self._in_time()
        self._server.forget(self)
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send."""
        self._answered = True
        self.quiet_since = asyncio.get_running_loop().time()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP; aiohttp's own answer repeats what it could not read."""
        del request, message
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            REQUEST_ID.set(None)  # it has none, and the one before it on this connection has nothing to do with it
        _logger.info("not a request", extra={"status": status, "fault": type(exc).__name__})
        body = (
            b'{"error": "bad request"}' if status < HTTPStatus.INTERNAL_SERVER_ERROR else b'{"error": "internal error"}'
        )
        response = Response(status, (("Content-Type", "application/json"),), body)
        response.force_close()
        return response
