"""Answers as they go back over the socket, one by one or several together.

Law: answers are held back as `pipelining` has it, and by a host with one session only.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NoReturn

from hsmkms.hsm import frames
from hsmkms.hsm.pipelining import HELD_SECONDS, LIGHT, MOST_HELD

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from hsmkms.hsm.messages import Reply, Verb


class Departures:
    """The answers on one socket."""

    def __init__(self, connection: socket.socket, leave: Callable[[], NoReturn], *, sessions: int) -> None:
        """Take the socket, what ends the process, and how many threads answer."""
        self._connection = connection
        self._leave = leave
        self._may_hold = sessions == 1
        self._sending = threading.Lock()
        self._held: list[bytes] = []
        self._held_since = 0.0
        """When the first of them was begun: where calls take long, nothing is held."""

    def send(self, reply: Reply) -> None:
        """Send an answer, behind those that are held."""
        with self._sending:
            self._held.append(frames.frame(reply))
            self._send_held()

    def send_or_hold(self, verb: Verb, reply: Reply) -> None:
        """Send the answer to `verb`, or keep it until `make_way`, `send_held` or `send`."""
        if not self._may_hold or type(verb) not in LIGHT:
            self.send(reply)
            return
        if not self._held:
            self._held_since = time.monotonic() - (reply.microseconds or 0) / 1_000_000
        self._held.append(frames.frame(reply))

    def make_way(self, verb: Verb) -> None:
        """Send what is held unless `verb` may begin before."""
        may_begin = type(verb) in LIGHT and len(self._held) <= MOST_HELD
        if not may_begin or time.monotonic() - self._held_since > HELD_SECONDS:
            self.send_held()

    def send_held(self) -> None:
        """Send what is held."""
        with self._sending:
            self._send_held()

    def _send_held(self) -> None:
        if not self._held:
            return
        together = b"".join(self._held)
        self._held.clear()
        try:
            self._connection.sendall(together)
        except OSError:
            self._leave()
