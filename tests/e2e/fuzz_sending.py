"""Sends what was drawn to a running service, and judges each answer."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hsmkms.dialects.huawei import wire
from tests.dialects.huawei.signing import Signer as HuaweiSigner
from tests.dialects.tencent.signing import Signer as TencentSigner
from tests.e2e.fuzz_answers import GRANTED, NOT_BELIEVED, judged
from tests.e2e.fuzz_bodies import SPOILERS
from tests.e2e.fuzz_flaws import Live
from tests.e2e.fuzz_message import Message
from tests.e2e.fuzz_requests import FORGERIES, HUAWEI, MODELS, TENCENT
from tests.e2e.fuzz_twists import twisted
from tests.e2e.fuzz_wire import Connection, Malformed

if TYPE_CHECKING:
    from hsmkms.dialects.base import RequestHead
    from tests.e2e.fuzz_requests import Asked
    from tests.e2e.fuzz_stock import Stock
    from tests.e2e.raw import Answer

_MOST_SHOWN: Final = 4000
_LATE_SECONDS: Final = 3600
_MOST_IN_QUERY: Final = 500
"""Characters of a parameter: what makes a head too long is no message that a cloud hears of."""
_GETS: Final = (wire.Nothing, wire.ListProjects)


class Wrong(AssertionError):
    """An answer that must not be, with what is needed to ask again."""


@dataclass
class Sender:
    """A client of both clouds who signs most of what he sends."""

    endpoint: str
    keys: dict[str, str]
    stranger: dict[str, str]
    auth_token: str
    stock: Stock
    connection: Connection = field(init=False)
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each cloud (or the service itself) said what."""
    granted: Counter[str] = field(default_factory=Counter)
    """How often each action was granted."""
    sent: int = 0

    def __post_init__(self) -> None:
        """Open no connection yet."""
        self.connection = Connection(self.endpoint)

    def send(self, asked: Asked) -> None:
        """Send one request.

        Raises:
            Wrong: the answer is not one that may be.
        """
        message = self.message(asked)
        self.sent += 1
        answers: list[Answer] = []
        try:
            if asked.twists:
                answers = self.connection.twisted(twisted(message, asked.twists), self._last())
            else:
                answers = [self.connection.ask(message.raw(), message.method)]
            said = [judged(each) for each in answers]
            self.said.update(said)
            if not asked.twists:
                _require_fitting(asked, *said[0])
                self.granted[asked.action] += said[0][1] == GRANTED
        except (AssertionError, OSError, ValueError, KeyError, TypeError) as error:
            self.connection.close()
            raise Wrong(_report(asked, message, answers, error)) from error

    def never_granted(self) -> set[str]:
        """Return which actions were never granted."""
        return {action for models in MODELS.values() for action in models if not self.granted[action]}

    def message(self, asked: Asked) -> Message:
        """Return the message that a request is sent as."""
        members = {name: self._resolved(value) for name, value in asked.members.items()}
        body = json.dumps(members).encode()
        if asked.body is not None:
            name, number = asked.body
            body = SPOILERS[name](body, number)
        sign = self._signed_as_tencent if asked.cloud == TENCENT else self._signed_as_huawei
        head, body = sign(asked, members, body)
        kept = [(name, value) for name, value in head.headers if name.lower() != "content-length"]
        if asked.signer == "nothing" or (asked.signer == "auth token" and asked.cloud != TENCENT):
            kept = [(name, value) for name, value in kept if name != "Authorization"]
        if asked.signer == "auth token":
            kept.append(("X-Auth-Token", self.auth_token))
        if asked.signer == "other body":
            body += b" "
        return Message(head.method, head.target, kept, body)

    def _resolved(self, value: Any) -> Any:
        return self.stock.resolve(value) if isinstance(value, Live) else value

    def _signed_as_tencent(self, asked: Asked, _members: dict[str, Any], body: bytes) -> tuple[RequestHead, bytes]:
        headers = {
            "Host": self.endpoint,
            **({"Content-Type": "application/json; charset=utf-8"} if len(body) % 2 else {}),
        }
        return TencentSigner(**self._signer(asked)).sign(asked.action, body, headers)

    def _signed_as_huawei(self, asked: Asked, members: dict[str, Any], body: bytes) -> tuple[RequestHead, bytes]:
        keys = self.stranger if asked.signer == "stranger" else self.keys
        path, method = f"/v1.0/{keys['account']}/kms/{asked.action}", "POST"
        query: tuple[tuple[str, str], ...] = ()
        model = MODELS[HUAWEI].get(asked.action)
        if model in _GETS:
            method, body = "GET", b"" if asked.body is None else body
        if model is wire.ListProjects:
            path = "/v3/projects"
            query = tuple(
                (name, str(value)[:_MOST_IN_QUERY].encode("utf-8", "replace").decode())
                for name, value in members.items()
            )
        signer = HuaweiSigner(**self._signer(asked), method=method, path=path, query=query)
        return signer.sign(body, {"Host": self.endpoint, "X-Project-Id": keys["account"]})

    def _signer(self, asked: Asked) -> dict[str, Any]:
        keys = self.stranger if asked.signer == "stranger" else self.keys
        secret = self.stranger["secret_key"] if asked.signer == "wrong secret" else keys["secret_key"]
        access_id = "AKID" + "0" * 32 if asked.signer == "nobody" else keys["secret_id"]
        at = int(time.time()) - (_LATE_SECONDS if asked.signer == "late" else 0)
        return {"access_id": access_id, "secret": secret, "at": at}

    def _last(self) -> bytes:
        return f"GET /healthz HTTP/1.1\r\nHost: {self.endpoint}\r\nConnection: close\r\n\r\n".encode()


def _require_fitting(asked: Asked, cloud: str, code: str) -> None:
    """Require that a message which is sound as such was answered in its cloud's words, and no forgery granted."""
    if cloud != asked.cloud:
        raise Malformed(f"answered in the words of {cloud}")
    if asked.signer in FORGERIES and not NOT_BELIEVED.fullmatch(code):
        raise Malformed(f"believed: {code}")


def _report(asked: Asked, message: Message, answers: list[Answer], error: BaseException) -> str:
    parts = {
        type(error).__name__: error,
        "asked": asked,
        "sent": message.raw()[:_MOST_SHOWN],
        "answered": str(answers)[:_MOST_SHOWN],
    }
    return "\n".join(f"{name}: {part}" for name, part in parts.items())
