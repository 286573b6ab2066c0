"""Whoever reads and changes traffic between a client and the service, where no TLS keeps him out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from tests.e2e import raw

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True)
class Request:
    """A request as a client sent it."""

    target: str
    headers: dict[str, str]
    body: bytes

    def send(self, endpoint: str, **changed: str) -> raw.Answer:
        """Send it once more, some headers changed; their names are written with underscores."""
        headers = {**self.headers, **{name.replace("_", "-"): value for name, value in changed.items()}}
        return raw.send(endpoint, "POST", self.target, headers, self.body)


@dataclass
class Wiretap:
    """Passes requests on to the service, and keeps them."""

    endpoint: str
    """Of the service."""
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        tap = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                # Names as everybody may write them: what is changed later must not be there twice.
                request = Request(self.path, {name.title(): value for name, value in self.headers.items()}, body)
                tap.requests.append(request)
                answer = request.send(tap.endpoint)
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Length"):
                    self.send_header(name, *answer.values(name.lower()))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """host:port, for a client to send to."""
        return f"127.0.0.1:{self._server.server_port}"
