"""Calls of the Tencent API 3.0: signed, answered, and repeated while the answer is none.

Sources: Tencent Cloud API 3.0, "Signature v3" and "Responses"; the error codes of KMS 2019-01-18.

Law: a request is tried again only if nobody answered, or the service said that it is unavailable for the moment; and
then with the same body to the byte, so that what an import already did is not done twice.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.client.endpoint import NoAnswer
from hsmkms.client.telling import repeated
from hsmkms.core.errors import BodyMalformed, ServiceRefused, ServiceUnreachable
from hsmkms.dialects import strict_json
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.tencent import auth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsmkms.client.credential import ClientCredential
    from hsmkms.client.endpoint import Endpoint
    from hsmkms.client.telling import Teller
    from hsmkms.dialects.strict_json import JsonObject, JsonValue

MemberT = TypeVar("MemberT")

VERSION: Final = "2019-01-18"
PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""How long to wait before each further try: longer in all than a service takes to start again."""

_SIGNED: Final = ("content-type", "host", "x-tc-action")
_UNAVAILABLE: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the service says it."""

    action: str
    code: str
    message: str
    request_id: str

    def fault(self, sentence: str | None = None) -> ServiceRefused:
        """Return it as an error to raise, with our own sentence in place of the service's if there is one."""
        said = sentence or f"The service refused {self.action}: {self.message or 'it says no more'}"
        return ServiceRefused(f"{said} ({self.code}, request id {self.request_id})")


@dataclass(frozen=True, slots=True)
class Api:
    """The API as one credential may use it."""

    endpoint: Endpoint
    credential: ClientCredential
    tell: Teller
    pauses_seconds: Sequence[float] = PAUSES_SECONDS
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time

    def call(self, action: str, **fields: JsonValue) -> JsonObject:
        """Return the answer to a request.

        Raises:
            ServiceRefused: the service will not.
            ServiceUnreachable: no answer came, or none of this API.
        """
        answer = self.ask(action, **fields)
        if isinstance(answer, Refusal):
            raise answer.fault()
        return answer

    def ask(self, action: str, **fields: JsonValue) -> JsonObject | Refusal:
        """Return the answer to a request, or why it is refused.

        Raises:
            ServiceUnreachable: no answer came, or none of this API.
        """
        body = json.dumps(fields).encode("ascii")
        for pause in (*self.pauses_seconds, None):
            answer = self._once(action, body)
            if isinstance(answer, NoAnswer):
                why = answer.why
            elif isinstance(answer, Refusal) and answer.code == _UNAVAILABLE:
                why = "the service says that it is unavailable for the moment"
            else:
                return answer
            if pause is None:
                break
            self.tell.step("waiting", f"{action}: {why}; the same request again in {pause:g} s")
            self.sleep(pause)
        raise ServiceUnreachable(
            f"There was no answer to {action} from {self.endpoint.authority}: {why}. "
            "Run the same command again when the service is there: it goes on where it is."
        )

    def _once(self, action: str, body: bytes) -> JsonObject | Refusal | NoAnswer:
        head = signed(action, body, self.endpoint.authority, self.credential, int(self.clock()))
        answer = self.endpoint.post(head, body)
        return answer if isinstance(answer, NoAnswer) else _opened(action, answer, self.endpoint.authority)


def signed(
    action: str,
    body: bytes,
    authority: str,
    credential: ClientCredential,
    unix_seconds: int,
    names: tuple[str, ...] = _SIGNED,
) -> RequestHead:
    """Return the head of a request with its signature, by default over the action, too, which the SDKs do not sign."""
    headers = (
        ("Host", authority),
        ("Content-Type", "application/json"),
        ("X-TC-Action", action),
        ("X-TC-Version", VERSION),
        ("X-TC-Timestamp", str(unix_seconds)),
    )
    head = RequestHead("POST", "/", headers)
    authorization = auth.authorization(head, body, names, credential.secret_id, credential.secret_key)
    return RequestHead("POST", "/", (*headers, ("Authorization", authorization)))


def member(answer: JsonObject, name: str, kind: type[MemberT]) -> MemberT:
    """Return a member of an answer.

    Raises:
        ServiceUnreachable: it is not there, or of another kind.
    """
    value = answer.get(name)
    if not isinstance(value, kind):
        raise ServiceUnreachable(f"The answer is not one of this API: {name} is absent from it, or of the wrong type.")
    return value


def _opened(action: str, body: bytes, authority: str) -> JsonObject | Refusal:
    """Take an answer out of its envelope."""
    try:
        envelope = strict_json.read_object(body)
    except BodyMalformed:
        envelope = {}
    match envelope.get("Response"):
        case {"Error": {"Code": str(code), "Message": str(message)}, "RequestId": str(request_id)}:
            return Refusal(action, repeated(code), repeated(message), repeated(request_id))
        case {"Error": _}:
            pass
        case dict(response):
            return response
    raise ServiceUnreachable(f"What {authority} answers is not of this API. Check --endpoint.")
