"""How the supervisor hands hosts to the web process: one sequenced-packet socket between the two.

Laws:

- the supervisor starts hosts, and only it can kill them; the web process alone speaks to them;
- an offer carries the one socket on which its host is spoken to, and the supervisor keeps no copy of it: when the web
  process dies, every host reads the end of its socket and ends;
- the web process names a host that it has given up, and the supervisor replaces it;
- when either side is gone the other one notices at once: it reads the end of this socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import Final

import msgspec

from hsmkms.hsm.settings import Duty

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
    """The packets of one end, each with the descriptors that came with it; None at the end."""

    def __init__(self, control: socket.socket) -> None:
        control.settimeout(0)
        self._control = control
        self._arrived: asyncio.Queue[tuple[bytes, list[int]] | None] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(control, self._read)

    def _read(self) -> None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._control, _PACKET_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            asyncio.get_running_loop().remove_reader(self._control)
            self._arrived.put_nowait(None)
            return
        self._arrived.put_nowait((packet, descriptors))

    async def next(self) -> tuple[bytes, list[int]] | None:
        return await self._arrived.get()

    def close(self) -> None:
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
        while not self._arrived.empty():
            _, descriptors = self._arrived.get_nowait() or (b"", [])
            for descriptor in descriptors:
                os.close(descriptor)


class SupervisorEnd:
    """The supervisor's end: offers hosts, hears which were given up."""

    def __init__(self, control: socket.socket) -> None:
        """Take the end of `control_pair` that is the supervisor's."""
        self._control = control
        self._packets = _Packets(control)

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
        """Return the next host that the web process gave up; None when that process is gone."""
        packet = await self._packets.next()
        return None if packet is None else _losses.decode(packet[0]).host

    def close(self) -> None:
        """Close this end."""
        self._packets.close()


class WebEnd:
    """The web process's end: takes hosts, names those it gave up."""

    def __init__(self, control: socket.socket) -> None:
        """Take the end of `control_pair` that is the web process's."""
        self._control = control
        self._packets = _Packets(control)

    async def offered(self) -> OfferedHost | None:
        """Return the next host; None when the supervisor is gone."""
        packet = await self._packets.next()
        if packet is None:
            return None
        offer = _offers.decode(packet[0])
        return OfferedHost(offer.host, offer.duty, offer.sessions, socket.socket(fileno=packet[1][0]))

    def give_up(self, host: str) -> None:
        """Ask for the replacement of a host."""
        try:
            self._control.send(_encoder.encode(_Lost(host)))
        except OSError:
            return

    def close(self) -> None:
        """Close this end."""
        self._packets.close()
