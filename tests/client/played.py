"""A service on 127.0.0.1 that answers as it is told, and a listener that keeps what it hears."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hsmkms.client.api import Api
from hsmkms.client.credential import ClientCredential
from hsmkms.client.endpoint import endpoint
from hsmkms.core.ids import AccessId
from hsmkms.core.secrets import SecretKey

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

CREDENTIAL: Final = ClientCredential(AccessId("AKIDEXAMPLE"), SecretKey(b"made-up-secret"))
REQUEST_ID: Final = "0b5ee0a1-0000-4000-8000-000000000001"
UNAVAILABLE: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"


@dataclass(frozen=True)
class Reply:
    """What to answer; nothing at all if there is no body."""

    body: bytes | None
    status: int = 200
    missing: int = 0
    """How many bytes fewer than announced are sent."""


def answer(**members: object) -> Reply:
    """Grant the request."""
    return Reply(json.dumps({"Response": {**members, "RequestId": REQUEST_ID}}).encode())


def refusal(code: str, message: str = "Do it otherwise.") -> Reply:
    """Refuse it."""
    return answer(Error={"Code": code, "Message": message})


SILENCE: Final = Reply(None)


@dataclass(frozen=True)
class Request:
    """What arrived."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def action(self) -> str:
        """What it asked for."""
        return dict(self.headers)["X-TC-Action"]

    @property
    def fields(self) -> dict[str, Any]:
        """What it asked with."""
        return dict(json.loads(self.body))


@dataclass
class Played:
    """A service's script: for each action its replies in turn, the last of them for ever."""

    script: dict[str, Sequence[Reply]]
    port: int = 0
    requests: list[Request] = field(default_factory=list)

    def of(self, action: str) -> list[Request]:
        """Return the requests of an action."""
        return [each for each in self.requests if each.action == action]

    def reply(self, request: Request) -> Reply:
        """Return the reply to the request that arrived last."""
        replies = self.script[request.action]
        return replies[min(len(self.of(request.action)), len(replies)) - 1]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


PlayedT = TypeVar("PlayedT", bound=Played)


def playing(script: dict[str, Sequence[Reply]]) -> contextlib.AbstractContextManager[Played]:
    """Serve a script until the block ends."""
    return serving(Played(script))


@contextlib.contextmanager
def serving(played: PlayedT, context: ssl.SSLContext | None = None) -> Iterator[PlayedT]:
    """Serve until the block ends, with TLS if there is a context."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            played.requests.append(Request(tuple(self.headers.items()), body))
            reply = played.reply(played.requests[-1])
            if reply.body is None:
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.body) + reply.missing))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        played.port = server.server_port
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield played
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Heard:
    """A teller that keeps what it is told."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def step(self, what: str, fact: str) -> None:
        """Keep a step."""
        self.steps.append((what, fact))

    def warning(self, sentence: str) -> None:
        """Keep a warning."""
        self.warnings.append(sentence)

    @property
    def everything(self) -> str:
        """All that was said."""
        return repr((self.steps, self.warnings))


@dataclass
class Caller:
    """The client of a played service, whose pauses take no time and are counted."""

    played: Played
    tell: Heard = field(default_factory=Heard)
    paused: list[float] = field(default_factory=list)

    def api(self, pauses: Sequence[float] = (0.5, 1.0)) -> Api:
        """Return the client."""
        return Api(endpoint(self.played.url), CREDENTIAL, self.tell, pauses, sleep=self.paused.append)
