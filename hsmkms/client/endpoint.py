"""Where the service is, and one request to it and back, by the standard library alone.

A new connection for each request, straight to the host that the URL names: no proxy, whatever the environment says,
because whoever answers in the service's place could hand out a public key of his own. For the same reason plain HTTP
is for this machine only, unless the user says otherwise.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from hsmkms.core.errors import InputUnusable, ServiceUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

    from hsmkms.dialects.base import RequestHead

ANSWER_SECONDS: Final = 30.0
_MOST_ANSWER_BYTES: Final = 1024 * 1024
_PASSING: Final = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
)
"""What something before the service says while the service is away."""
_CUT_IN_TLS: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""How a connection that ends within TLS is told; who is stopped or started just then does not refuse to speak it."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nobody knows whether the request was heard; the same one may be sent again."""

    why: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The service's address."""

    host: str
    port: int | None
    authority: str
    """The Host header (RFC 9110, 7.2), as the URL spells it."""
    context: ssl.SSLContext | None
    """None: plain HTTP."""

    def post(self, head: RequestHead, body: bytes, seconds: float = ANSWER_SECONDS) -> bytes | NoAnswer:
        """Send a request and return the body of the answer.

        Args:
            head: the request's head.
            body: its body.
            seconds: how long to wait for the whole answer, from the start of this call; a connection and its handshake
                may each take as long.

        Raises:
            ServiceUnreachable: there is no such host, its certificate is not trusted, or what answers is something
                else than this API.
        """
        deadline = time.monotonic() + seconds
        connection = self._connection(seconds)
        try:
            connection.request(head.method, head.target, body, dict(head.headers))
            answer = _answer(connection.sock, head.method, deadline)
            content = answer.read(_MOST_ANSWER_BYTES)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            final = self._final(error)
            if final is not None:
                raise ServiceUnreachable(final) from error
            return NoAnswer(_passing(error, seconds))
        finally:
            connection.close()
        if answer.length:  # `read` with a limit does not say that it met the end too early
            return NoAnswer("the answer was cut off")
        if answer.status in _PASSING:
            return NoAnswer(f"status {answer.status}")
        if answer.status != HTTPStatus.OK:
            raise ServiceUnreachable(
                f"{self.authority} answers with HTTP status {answer.status}, which this API never does. "
                "Check --endpoint."
            )
        return content

    def _final(self, error: Exception) -> str | None:
        """Return what to say of an error that the same request would only meet again, or None if it may pass."""
        match error:
            case ssl.SSLCertVerificationError():
                return (
                    f"The certificate of {self.authority} is not trusted ({error.verify_message}). Name the file with "
                    "the certificate of its authority with --ca, and the host as the certificate does."
                )
            case ssl.SSLError() if not isinstance(error, _CUT_IN_TLS):
                return f"{self.authority} does not speak TLS with this client ({error.reason or 'no reason given'})."
            case UnicodeError() | socket.gaierror() if getattr(error, "errno", None) != socket.EAI_AGAIN:
                return f"There is no host {self.host}. Check --endpoint."
            case _:
                return None

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self.context is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=seconds)
        return http.client.HTTPSConnection(self.host, self.port, timeout=seconds, context=self.context)


class _Arriving(io.RawIOBase):
    """What arrives at a socket until a deadline, however it is spread: a socket's own timeout starts with each part."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return this as the file that `http.client` reads an answer from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connected.settimeout(left)
        return self._connected.recv_into(buffer)


def _answer(connected: socket.socket, method: str, deadline: float) -> http.client.HTTPResponse:
    """Return the answer, of which the head was read."""
    # Of its socket a response uses `makefile` alone.
    answer = http.client.HTTPResponse(cast("socket.socket", _Arriving(connected, deadline)), method=method)
    answer.begin()
    return answer


def _passing(error: Exception, seconds: float) -> str:
    """Return why there is no answer."""
    match error:
        case TimeoutError():
            return f"no whole answer came within {seconds:g} seconds"
        case OSError() if error.strerror and not isinstance(error, ssl.SSLError):
            return error.strerror.lower()
        case OSError():
            return "the connection was cut"
        case _:
            return "the answer was cut off or is not HTTP"


def endpoint(url: str, ca: Path | None = None, *, insecure_http: bool = False) -> Endpoint:
    """Return the endpoint that a URL names.

    Args:
        url: `https://host[:port]`, or `http://` for this machine.
        ca: a file of certificates (PEM) to trust in place of the system's; None: the system's.
        insecure_http: whether plain HTTP may leave this machine.

    Raises:
        InputUnusable: the URL is of another form, plain HTTP would leave this machine, or `ca` cannot be used.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    plain = url.lower().startswith("http://")
    if not host or not (plain or parts.scheme == "https") or _goes_on(url, parts.netloc):
        raise InputUnusable("--endpoint must be https://HOST or https://HOST:PORT, and nothing behind it.")
    if not plain:
        return Endpoint(host, port, parts.netloc, _context(ca))
    if ca is not None:
        raise InputUnusable("--ca is for an https:// endpoint.")
    if not (insecure_http or _is_this_machine(host)):
        raise InputUnusable(
            f"Plain HTTP to {host} would let anybody between answer with a public key of his own. Use https://, or "
            "--insecure-http if the way there is protected otherwise."
        )
    return Endpoint(host, port, parts.netloc, None)


def _goes_on(url: str, netloc: str) -> bool:
    """Tell whether there is more than scheme, host and port: our API has no path, and a URL is no place for secrets."""
    return "@" in netloc or not netloc.isascii() or url.partition("://")[2].removesuffix("/") != netloc


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:  # ssl.SSLError is one
        raise InputUnusable(
            f"The certificates of --ca {ca} cannot be used ({error.strerror or 'no certificate in PEM form'})."
        ) from error
