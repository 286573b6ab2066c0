"""How the supervisor hands hosts to the web process: one sequenced-packet socket between the two.

Laws:

- the supervisor starts hosts, and only it can kill them; the web process alone speaks to them;
- an offer carries the one socket on which its host is spoken to, and the supervisor keeps no copy of it: when the web
  process dies, every host reads the end of its socket and ends;
- the web process names a host that it has given up, and the supervisor replaces it;
- the supervisor takes nothing else from the web process, and no descriptor: whoever sends it nonsense is broken;
- when either side is gone the other one notices at once: it reads the end of this socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import dataclass
from typing import Final

import msgspec

from hsmkms.hsm.settings import Duty

_logger = logging.getLogger(__name__)
_PACKET_BYTES: Final = 4096


class _Offer(msgspec.Struct, frozen=True, tag="offer"):
    host: str
    duty: Duty
    sessions: int


class _Lost(msgspec.Struct, frozen=True, tag="lost"):
    host: str


_encoder: Final = msgspec.json.Encoder()
_offers: Final = msgspec.json.Decoder(_Offer)
_losses: Final = msgspec.json.Decoder(_Lost)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Return the supervisor's end and the web process's end."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@dataclass(frozen=True, slots=True)
class OfferedHost:
    """A host that has logged in, and the socket to speak to it."""

    host: str
    duty: Duty
    sessions: int
    socket: socket.socket


class _Packets:
    """The packets of one end; those that nobody has asked for yet wait in the kernel, which bounds them."""

    def __init__(self, control: socket.socket, *, descriptors: int) -> None:
        """Take at most `descriptors` with each packet; the kernel lets go of the others (unix(7), SCM_RIGHTS)."""
        control.settimeout(0)
        self._control = control
        self._descriptors = descriptors
        self._readable: asyncio.Future[None] | None = None

    async def next(self) -> tuple[bytes, list[int]] | None:
        """Return the next packet and its descriptors, after a turn of everybody else; None at the end."""
        while True:
            await self._until_readable()
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._control, _PACKET_BYTES, self._descriptors)
            except BlockingIOError:
                continue
            except OSError:
                return None
            return (packet, descriptors) if packet else None

    async def _until_readable(self) -> None:
        if self._control.fileno() < 0:
            return
        loop = asyncio.get_running_loop()
        self._readable = loop.create_future()
        loop.add_reader(self._control, self._wake)
        try:
            await self._readable
        finally:
            if self._control.fileno() >= 0:
                loop.remove_reader(self._control)

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def close(self) -> None:
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
        self._wake()


class SupervisorEnd:
    """The supervisor's end: offers hosts, hears which were given up."""

    def __init__(self, control: socket.socket) -> None:
        """Take the end of `control_pair` that is the supervisor's."""
        self._control = control
        self._packets = _Packets(control, descriptors=0)

    def offer(self, host: str, duty: Duty, sessions: int, host_socket: socket.socket) -> bool:
        """Hand a host over and close our copy of its socket; False if the web process is gone."""
        packet = _encoder.encode(_Offer(host, duty, sessions))
        with host_socket:
            try:
                socket.send_fds(self._control, [packet], [host_socket.fileno()])
            except OSError:
                return False
        return True

    async def lost(self) -> str | None:
        """Return the next host that the web process gave up; None when that process is gone, or talks nonsense.

        After None it is not to be listened to any more; if it still runs, it must end.
        """
        arrived = await self._packets.next()
        if arrived is None:
            return None
        try:
            return _losses.decode(arrived[0]).host
        except msgspec.DecodeError:
            _logger.critical("the web process sends packets that are none")
            return None

    def close(self) -> None:
        """Close this end."""
        self._packets.close()


class WebEnd:
    """The web process's end: takes hosts, names those it gave up."""

    def __init__(self, control: socket.socket) -> None:
        """Take the end of `control_pair` that is the web process's."""
        self._control = control
        self._packets = _Packets(control, descriptors=1)

    async def offered(self) -> OfferedHost | None:
        """Return the next host; None when the supervisor is gone.

        A host whose socket does not come through (this process has as many descriptors as it may) is given up.
        """
        while (arrived := await self._packets.next()) is not None:
            packet, descriptors = arrived
            try:
                offer = _offers.decode(packet)
            except msgspec.DecodeError:
                _logger.critical("the supervisor sends packets that are none")
                _close_all(descriptors)
                continue
            try:
                return OfferedHost(offer.host, offer.duty, offer.sessions, socket.socket(fileno=descriptors[0]))
            except (IndexError, OSError):
                _logger.error("a host came without its socket", extra={"host": offer.host})
                _close_all(descriptors)
                self.give_up(offer.host)
        return None

    def give_up(self, host: str) -> None:
        """Ask for the replacement of a host."""
        try:
            self._control.send(_encoder.encode(_Lost(host)))
        except OSError:
            return

    def close(self) -> None:
        """Close this end."""
        self._packets.close()
