"""Signed requests as bytes, and the keep-alive connections that they are sent over.

Source: Tencent Cloud API 3.0, "Signature v3"; the headers are those that the official SDK for Python sends and signs.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hsmkms.client.api import signed
from scripts.benchmark.trouble import WrongAnswerError

if TYPE_CHECKING:
    from hsmkms.client.credential import ClientCredential

_HEAD_END: Final = b"\r\n\r\n"
_STATUS_OK: Final = b"HTTP/1.1 200 "
_STATUS_NO_CONTENT: Final = b"HTTP/1.1 204 "
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_SIGNED: Final = ("content-type", "host")
_SHOWN_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Signer:
    """Who asks whom."""

    authority: str
    """The Host header."""
    credential: ClientCredential

    def request(self, action: str, **fields: str | int) -> bytes:
        """Return a whole request, good for the 300 s that a signature lives."""
        body = json.dumps(fields).encode("ascii")
        head = signed(action, body, self.authority, self.credential, int(time.time()), _SIGNED)
        lines = [f"{head.method} {head.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (*head.headers, ("Content-Length", str(len(body))))]
        return "\r\n".join(lines).encode("ascii") + _HEAD_END + body


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        """Wait to be connected."""
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def close(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.close()

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer.

        Raises:
            WrongAnswerError: it is an error, no answer at all, or nothing that such a service says.
        """
        if self._transport is None or self._transport.is_closing():
            raise WrongAnswerError("the service closed a connection between two requests")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_connection makes no other
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Gather the answer; hand it over when it is whole."""
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        begin = end + len(_HEAD_END)
        length = self._body_bytes(end)
        if length is not None and len(self._received) < begin + length:
            return
        body = bytes(self._received[begin:])
        well = (
            length is not None
            and self._received.startswith((_STATUS_OK, _STATUS_NO_CONTENT))
            and b'"Error"' not in body  # Tencent's API says what went wrong with status 200
        )
        self._received.clear()
        if self._answer is None or self._answer.done():
            return
        if well:
            self._answer.set_result(body)
        else:
            said = body[:_SHOWN_BYTES].decode("utf-8", "replace")
            self._answer.set_exception(WrongAnswerError(f"the service refused a request: {said}"))

    def _body_bytes(self, end: int) -> int | None:
        """Return how long the body is, by the head that ends at `end`; None if it does not say."""
        if self._received.startswith(_STATUS_NO_CONTENT):
            return 0  # RFC 9110 15.3.5: never has one
        length = _LENGTH.search(self._received, 0, end)
        return None if length is None else int(length[1])

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if self._answer is not None and not self._answer.done():
            why = "" if exc is None else f" ({exc})"
            self._answer.set_exception(WrongAnswerError(f"the service cut a connection instead of an answer{why}"))


def opened(body: bytes) -> dict[str, Any]:
    """Return what an answer says, out of its envelope.

    Raises:
        WrongAnswerError: it is no answer of this API, or an error.
    """
    try:
        response = json.loads(body)["Response"]
    except (ValueError, KeyError, TypeError) as error:
        raise WrongAnswerError("the service gave an answer that is not of this API") from error
    if not isinstance(response, dict) or "Error" in response or "RequestId" not in response:
        raise WrongAnswerError("the service gave an answer that is not of this API")
    return response
