"""Requests as they come over the socket, for whichever thread of a host is free.

Laws:

- one thread reads at a time, and works on what it read: with one session no request changes threads;
- while a whole request is at hand nothing more is read: what cannot be worked on yet waits in the socket, where whoever
  sent it feels it, but for what came along with a request, at most `_MOST_AT_ONCE`;
- what was taken is not kept in here;
- the end of the socket, or what is no request, ends the process.
"""

from __future__ import annotations

import logging
import math
import select
import threading
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from hsmkms.hsm import frames

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from hsmkms.hsm.messages import Request

_logger = logging.getLogger(__name__)
_MOST_AT_ONCE: Final = 1 << 16
"""Bytes."""


class Arrivals:
    """The requests on one socket."""

    def __init__(self, connection: socket.socket, leave: Callable[[], NoReturn]) -> None:
        """Take the socket, and what ends the process."""
        self._connection = connection
        self._leave = leave
        self._reading = threading.Lock()
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        self._received = frames.Stream()

    def at_hand(self) -> Request | None:
        """Return the next request if all of it was read before and no other thread is reading."""
        if not self._reading.acquire(blocking=False):
            return None
        try:
            return self._taken()
        finally:
            self._reading.release()

    def next(self, seconds: float = math.inf) -> Request | None:
        """Return the next request; None if none was there for `seconds`."""
        if not self._reading.acquire(timeout=-1 if math.isinf(seconds) else seconds):
            return None
        try:
            while (request := self._taken()) is None:
                if not self._readable.poll(None if math.isinf(seconds) else math.ceil(seconds * 1000)):
                    return None
                self._receive()
            return request
        finally:
            self._reading.release()

    def _receive(self) -> None:
        try:
            part = self._connection.recv(_MOST_AT_ONCE)
        except OSError:
            part = b""
        if not part:
            self._leave()
        self._received.add(part)

    def _taken(self) -> Request | None:
        """Return the next request if all of it is here."""
        try:
            payload = self._received.next()
            return None if payload is None else frames.parse_request(payload)
        except (frames.FrameTooLarge, msgspec.DecodeError) as error:
            _logger.critical("malformed request", extra={"exception": type(error).__name__})
            self._leave()
