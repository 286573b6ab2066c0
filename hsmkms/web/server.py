"""Serving an app on a socket that somebody else has bound, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, cast

from aiohttp import web

from hsmkms.core.errors import ConfigurationInvalid
from hsmkms.web.connections import Connection, Server, Unspoken

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from hsmkms.web.app import Limits

_logger = logging.getLogger(__name__)

_BACKLOG: Final = 128
_ACCEPTED_AT_A_TIME: Final = 16
"""Far fewer than `_OTHER_DESCRIPTORS`: who gives way is closed only afterwards."""
_ACCEPTING_AGAIN_SECONDS: Final = 1.0


class Handler(Protocol):
    """What answers requests."""

    @property
    def limits(self) -> Limits:
        """What a client may take."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one."""


def tls_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """Return the server side of TLS 1.2 or newer.

    Raises:
        ConfigurationInvalid: the files cannot be read, are not PEM, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    files = ""
    try:
        for file in (certificate, private_key):
            files = str(file)
            file.open("rb").close()  # `load_cert_chain` does not say which of them it cannot read
        files = f"{certificate} and {private_key}"
        context.load_cert_chain(certificate, private_key, _no_passphrase)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationInvalid(
            f"listen.tls_cert and listen.tls_key cannot be used ({files}: {_reason(error)}); name readable PEM files "
            "that belong together: a certificate chain and its private key, without a passphrase."
        ) from error
    return context


def _no_passphrase() -> str:
    """Refuse, where OpenSSL would ask at a terminal."""
    raise ValueError("the private key has a passphrase")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def serve(
    app: Handler,
    sock: socket.socket,
    ssl_context: ssl.SSLContext | None,
    shutdown_seconds: float,
    stop: asyncio.Event,
) -> None:
    """Serve `app` on `sock` until `stop` is set, then let what is in flight end within `shutdown_seconds`."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        connection.head_arrived(request.content)
        if isinstance(request, Unspoken):
            return connection.handle_error(request, HTTPStatus.BAD_REQUEST)
        response = await app(request)
        if stop.is_set():
            response.force_close()  # or the client would send its next request into a closing connection
        return response

    server = Server(handle, app.limits)
    runner = web.ServerRunner(server, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    entrance = _Entrance(server, sock, ssl_context, app.limits.head_seconds)
    try:
        entrance.open()
        await stop.wait()
    finally:
        await entrance.close()
        try:
            # aiohttp waits up to twice its timeout; the operator was promised once.
            async with asyncio.timeout(shutdown_seconds):
                await runner.cleanup()
        except TimeoutError:
            _logger.warning("requests in flight were abandoned", extra={"shutdown_seconds": shutdown_seconds})


class _Entrance:
    """Accepts connections: each is counted and has its deadline from then on, the TLS handshake included.

    asyncio's own accepting counts nothing before the handshake, and writes a line to the log for each connection that
    waits while there are no descriptors left.
    """

    def __init__(
        self, server: Server, listening: socket.socket, context: ssl.SSLContext | None, head_seconds: float
    ) -> None:
        self._server = server
        self._listening = listening
        self._context = context
        self._head_seconds = head_seconds
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._listening.listen(_BACKLOG)
        self._listening.settimeout(0)
        self._loop.add_reader(self._listening, self._accept)

    async def close(self) -> None:
        """Accept no more; who has not shaken hands yet has no request that could be answered."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        self._server.end_handshakes()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_A_TIME):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            connection = self._server.place_for(accepted)
            if connection is None:
                accepted.close()
                continue
            beginning = self._loop.create_task(self._begin(connection, accepted))
            self._beginning.add(beginning)
            beginning.add_done_callback(self._beginning.discard)

    def _pause(self, error: OSError) -> None:
        """Wait until descriptors are given back: the socket stays readable, and each look at it would fail alike."""
        _logger.error("no connection can be accepted", extra={"fault": error.strerror})
        self._loop.remove_reader(self._listening)
        self._again = self._loop.call_later(
            _ACCEPTING_AGAIN_SECONDS, self._loop.add_reader, self._listening, self._accept
        )

    async def _begin(self, connection: Connection, accepted: socket.socket) -> None:
        seconds = self._head_seconds if self._context else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError as error:  # ssl.SSLError is one
            self._server.forget(connection)
            _logger.debug("no handshake", extra={"fault": type(error).__name__})
