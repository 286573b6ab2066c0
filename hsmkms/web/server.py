"""Serving an app on a socket that somebody else has bound, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import hdrs, web

from hsmkms.core.errors import ConfigurationInvalid

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hsmkms.web.app import App, Limits

_logger = logging.getLogger(__name__)

SERVER: Final = "hsmkms"
"""All that a reply says of the software: versions help those who look for holes."""

_SERVER_ERRORS: Final = 500
_OTHER_DESCRIPTORS: Final = 100
"""For the database, the hosts and the libraries: connections must never take the last descriptor."""


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
    app: App,
    sock: socket.socket,
    ssl_context: ssl.SSLContext | None,
    shutdown_seconds: float,
    stop: asyncio.Event,
) -> None:
    """Serve `app` on `sock` until `stop` is set, then let what is in flight end within `shutdown_seconds`."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        cast("_Connection", request.protocol).first_head_arrived()
        response = await app(request)
        if stop.is_set():
            response.force_close()  # or the client would send its next request into a closing connection
        return response

    runner = web.ServerRunner(_Server(handle, app.limits), shutdown_timeout=shutdown_seconds)
    await runner.setup()
    try:
        await web.SockSite(runner, sock, ssl_context=ssl_context).start()
        await stop.wait()
    finally:
        try:
            # aiohttp waits up to twice its timeout; the operator was promised once.
            async with asyncio.timeout(shutdown_seconds):
                await runner.cleanup()
        except TimeoutError:
            _logger.warning("requests in flight were abandoned", extra={"shutdown_seconds": shutdown_seconds})


class _Server(web.Server):
    """Makes the connections: every request ends in one handler, whatever its target."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits) -> None:
        super().__init__(handler)
        self._limits = limits
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_connections = max(1, min(limits.connections, descriptors - _OTHER_DESCRIPTORS))

    @property
    def full(self) -> bool:
        """Whether there are more connections than may be."""
        return len(self.connections) > self._most_connections

    def __call__(self) -> web.RequestHandler:
        limits = self._limits
        return _Connection(
            self,
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


class _Connection(web.RequestHandler):
    """A connection with a deadline for its first head, whose replies do not say which software wrote them."""

    __slots__ = ("_head_seconds", "_late", "_server")

    def __init__(self, server: _Server, *, head_seconds: float, **settings: Any) -> None:  # noqa: ANN401 - aiohttp's
        super().__init__(server, **settings)
        self._server = server
        self._head_seconds = head_seconds
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        if self._server.full:
            transport.close()
        else:
            self._late = asyncio.get_running_loop().call_later(self._head_seconds, transport.close)

    def first_head_arrived(self) -> None:
        """Take the deadline back."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the connection."""
        self.first_head_arrived()
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Name the server, and send."""
        resp.headers[hdrs.SERVER] = SERVER
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
        _logger.info("not a request", extra={"status": status, "fault": type(exc).__name__})
        body = b'{"error": "bad request"}' if status < _SERVER_ERRORS else b'{"error": "internal error"}'
        response = web.Response(status=status, body=body, content_type="application/json")
        response.force_close()
        return response
