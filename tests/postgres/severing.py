"""A way to the server that is lost at the moment of a commit, before the server hears of it or after it has done it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tests.postgres.server import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.postgres.server import PostgresServer

_COMMIT: Final = b"COMMIT\0"
"""As a statement ends on the wire: READ COMMITTED is no commit."""


class SeveredWay:
    """A Unix socket in `folder` that leads to the server's."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        name = f".s.PGSQL.{server.port}"
        self._folder, self._port = folder, server.port
        self._server = str(server.socket_folder / name)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / name))
        self._listening.listen()
        self._open: list[socket.socket] = []
        self.severed = 0
        self._next: Callable[[], object] | None = None
        self._after = False
        self._working: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def url(self, database: str) -> str:
        """Return what to write in `store.url`."""
        return f"postgresql://{OWNER}@:{self._port}/{database}?host={quote(str(self._folder))}"

    def sever(self, *, after: bool, meanwhile: Callable[[], object] = bool) -> None:
        """Sever the connection of the next commit, once the server has done it or before; call `meanwhile` before."""
        self._after, self._next = after, meanwhile

    def sever_all(self) -> None:
        """Sever every connection there is."""
        self._sever(*self._open)

    def close(self) -> None:
        """Lead nowhere any more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()  # from here on there are no more
        self.sever_all()
        for working in self._working:
            working.join()
        for each in (self._listening, *self._open):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._open += (client, server)
                lost: list[Callable[[], object]] = []
                for each in (self._ask, self._answer):
                    working = threading.Thread(target=each, args=(client, server, lost))
                    working.start()
                    self._working.append(working)

    def _ask(self, client: socket.socket, server: socket.socket, lost: list[Callable[[], object]]) -> None:
        with contextlib.suppress(OSError):
            while said := client.recv(65536):
                if self._next is not None and _COMMIT in said:
                    lost.append(self._next)
                    self._next = None
                    self.severed += 1
                    if not self._after:
                        break
                server.sendall(said)
        self._sever(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, lost: list[Callable[[], object]]) -> None:
        with contextlib.suppress(OSError):
            while (said := server.recv(65536)) and not lost:
                client.sendall(said)
        for meanwhile in lost:
            meanwhile()
        self._sever(client, server)

    @staticmethod
    def _sever(*ends: socket.socket) -> None:
        for each in ends:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
