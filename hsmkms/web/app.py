"""From an HTTP request to a dialect and back."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import ClientPayloadError, http_exceptions, web

from hsmkms.core.errors import BodyMalformed, BodyTooLarge, InternalFault, RequestFault
from hsmkms.core.ids import RequestId
from hsmkms.core.metering import UNMETERED
from hsmkms.dialects.base import Reply, RequestHead
from hsmkms.log import REQUEST_ID
from hsmkms.web.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp import StreamReader

    from hsmkms.core.metering import Meter
    from hsmkms.dialects.base import Dialect

_logger = logging.getLogger(__name__)

_NONE: Final[Mapping[str, str]] = {}
_WELL: Final[Mapping[str, str]] = {"health": "ok"}
_READING_METHODS: Final = frozenset({"GET", "HEAD"})
_BROKEN_BODY: Final = (ClientPayloadError, http_exceptions.HttpProcessingError, web.RequestPayloadError, OSError)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take of us."""

    body_bytes: int = 64 * 1024
    header_bytes: int = 8 * 1024
    """For the request line and for each header."""
    body_seconds: float = 10.0
    """From the end of the head to the end of the body."""
    head_seconds: float = 10.0
    """From the start of a connection, its TLS handshake included, to the end of its first head."""
    idle_seconds: float = 75.0
    """Between two requests of a connection."""
    connections: int = 1000
    """At a time; one more takes the place of the one that has kept us waiting longest, and is closed at once if each of
    them has a whole request. Fewer, where the system allows this process fewer descriptors."""
    ready_seconds: float = 5.0
    """For the readiness check to come to a result."""


class Health:
    """What the health paths ask: anybody may ask, so that it is found out for all who do at the same time."""

    def __init__(self, obstacle: Callable[[], Awaitable[str | None]]) -> None:
        """Take what finds out why the service cannot be used at present; it returns None when it can."""
        self._find_out = obstacle
        self._finding_out: asyncio.Task[str | None] | None = None

    async def obstacle(self, seconds: float) -> str | None:
        """Return why the service cannot be used at present, or None when it can.

        Raises:
            TimeoutError: that was not found out in so many seconds.
        """
        if self._finding_out is None or self._finding_out.done():
            self._finding_out = asyncio.create_task(self._found_out(seconds))
        return await asyncio.shield(self._finding_out)

    async def _found_out(self, seconds: float) -> str | None:
        async with asyncio.timeout(seconds):
            return await self._find_out()


@dataclass(frozen=True, slots=True)
class App:
    """The one handler of all requests."""

    dialects: Sequence[Dialect]
    """In the order in which they are asked whether a request is theirs."""
    health: Health
    limits: Limits = field(default_factory=Limits)
    behind_proxy: bool = False
    """Whether every request comes from a proxy, which says for whom in X-Forwarded-For."""
    meter: Meter = UNMETERED

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request and write its log line."""
        started = time.monotonic()
        request_id = _new_request_id()
        REQUEST_ID.set(request_id)  # the next request of this connection sets its own
        reply = await self._reply(request, request_id)
        seconds, facts = time.monotonic() - started, reply.facts
        if "health" not in facts:
            self.meter.request(facts.get("dialect"), facts.get("action"), facts.get("fault"), seconds)
        _logger.log(
            logging.DEBUG if reply.facts == _WELL else logging.INFO,  # a load balancer asks all day long
            "request",
            extra={
                "method": request.method,
                "status": reply.status,
                "milliseconds": round(seconds * 1000, 3),
                **reply.facts,
            },
        )
        response = Response(reply.status, reply.headers, reply.body)
        if not request.content.is_eof():
            response.force_close()  # what is left of the body would be read as the next request
        return response

    async def _reply(self, request: web.BaseRequest, request_id: RequestId) -> Reply:
        head = self._head(request)
        if head.method in _READING_METHODS and head.path == "/healthz":
            return _plain(request_id, 200, {"status": "ok"}, _WELL)
        if head.method in _READING_METHODS and head.path == "/readyz":
            return await self._readiness(request_id)
        dialect = next((each for each in self.dialects if each.claims(head)), None)
        if dialect is None:
            return _plain(request_id, 404, {"error": "not found"})
        try:
            body = await self._body(request)
            # A request has arrived with its last byte: if it had with its head, a client who keeps the rest back could
            # choose when the periods end at which failed imports are answered.
            reply = await dialect.answer(head.arrived(time.monotonic()), body, request_id)
        except RequestFault as error:
            reply = dialect.refuse(head, error, request_id)
        except Exception:  # the last resort: logged whole, shown to nobody
            _logger.exception("a defect ended a request")
            reply = dialect.refuse(head, InternalFault(), request_id)
        return Reply(reply.status, reply.headers, reply.body, {"dialect": dialect.name, **reply.facts})

    def _head(self, request: web.BaseRequest) -> RequestHead:
        # aiohttp decodes the target as UTF-8 with escapes for stray bytes; this is its way back to the bytes.
        target = request.raw_path.encode("utf-8", "surrogateescape").decode("latin-1")
        headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers])
        source = (_forwarded_for(headers) if self.behind_proxy else None) or request.remote or ""
        return RequestHead(request.method, target, headers, source)

    async def _body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > self.limits.body_bytes:
            raise BodyTooLarge
        content = request.content
        try:
            # Nearly always it came with its head: nothing has to be waited for, and no time limit set.
            body = content.read_nowait() if content.is_eof() else await self._late_body(content)
        except TimeoutError:
            seconds = f"{self.limits.body_seconds:g}"
            raise BodyMalformed(f"The body did not arrive within {seconds} seconds.") from None
        except _BROKEN_BODY:
            raise BodyMalformed("The body did not arrive as its headers announce it.") from None
        if len(body) > self.limits.body_bytes:
            raise BodyTooLarge
        return body

    async def _late_body(self, content: StreamReader) -> bytes:
        body = bytearray()
        async with asyncio.timeout(self.limits.body_seconds):
            while len(body) <= self.limits.body_bytes and (chunk := await content.readany()):
                body += chunk
        return bytes(body)

    async def _readiness(self, request_id: RequestId) -> Reply:
        try:
            obstacle = await self.health.obstacle(self.limits.ready_seconds)
        except TimeoutError:
            obstacle = "the check did not come to a result in time"
        except Exception:  # the last resort: logged whole, shown to nobody
            _logger.exception("the readiness check failed")
            obstacle = "the check failed; see the log"
        if obstacle is None:
            return _plain(request_id, 200, {"status": "ready"}, _WELL)
        return _plain(request_id, 503, {"status": "not ready", "reason": obstacle}, {"health": obstacle})


def build_app(
    dialects: Sequence[Dialect],
    limits: Limits,
    health: Health,
    *,
    behind_proxy: bool = False,
    meter: Meter = UNMETERED,
) -> App:
    """Return the handler that `hsmkms.web.server.serve` serves."""
    return App(tuple(dialects), health, limits, behind_proxy, meter)


def _new_request_id() -> RequestId:
    """Return a UUID of version 4 (RFC 9562 5.4), of random bytes that are formatted once."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) % 4]
    return RequestId(f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}")


def _forwarded_for(headers: Sequence[tuple[str, str]]) -> str | None:
    """Return the address that the nearest proxy had its request from; None if it names none.

    Only the last value is the proxy's own: those before it are what the client sent.
    """
    lines = [value for name, value in headers if name.lower() == "x-forwarded-for"]
    last = lines[-1].rpartition(",")[2].strip(" \t") if lines else ""
    try:
        return str(ipaddress.ip_address(last))
    except ValueError:
        return None


def _plain(request_id: RequestId, status: int, members: dict[str, str], facts: Mapping[str, str] = _NONE) -> Reply:
    headers = (("Content-Type", "application/json"), ("X-Request-Id", request_id))
    return Reply(status, headers, json.dumps(members).encode("ascii"), facts)
