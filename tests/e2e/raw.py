"""HTTP requests that no SDK would send, signed as its own are."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.dialects.huawei.signing import Signer as HuaweiSigner
from tests.dialects.tencent.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_SECONDS: Final = 30


@dataclass(frozen=True)
class Answer:
    """What came back, as it came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for each, value in self.headers if each.lower() == name]

    @property
    def content(self) -> dict[str, Any]:
        """The members of the body."""
        return dict(json.loads(self.body))

    @property
    def response(self) -> dict[str, Any]:
        """The content of Tencent's envelope."""
        return dict(self.content["Response"])

    @property
    def error(self) -> tuple[str, str]:
        """Code and message in Tencent's envelope."""
        error = self.response["Error"]
        return str(error["Code"]), str(error["Message"])


def send(endpoint: str, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Send exactly these headers (and Content-Length, unless they have it) and this body."""
    connection = http.client.HTTPConnection(endpoint, timeout=ANSWER_SECONDS)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, tuple(answer.getheaders()), answer.read())
    finally:
        connection.close()


def signed(
    endpoint: str,
    keys: Mapping[str, str],
    action: str,
    body: object,
    headers: Mapping[str, str | None] | None = None,
    *,
    sent: Mapping[str, str] | None = None,
    **signer: Any,
) -> Answer:
    """Sign a body (bytes are sent as they are) as Tencent's SDK does, and send it.

    A header given as None is left out; `sent` replaces headers after they were signed.
    """
    signer = {"access_id": keys["secret_id"], "secret": keys["secret_key"], "at": int(time.time()), **signer}
    head, raw = Signer(**signer).sign(action, body, {"Host": endpoint, **(headers or {})})
    return send(endpoint, head.method, head.target, {**dict(head.headers), **(sent or {})}, raw)


def signed_as_huawei(
    endpoint: str,
    keys: Mapping[str, str],
    operation: str,
    body: object,
    headers: Mapping[str, str] | None = None,
    *,
    sent: Mapping[str, str] | None = None,
    sent_body: bytes | None = None,
    **signer: Any,
) -> Answer:
    """Sign a body (bytes are sent as they are) as Huawei's SDK does, and send it.

    `sent` and `sent_body` replace headers and body after they were signed.
    """
    account = keys["account"]
    path = f"/v1.0/{account}/kms/{operation}"
    signer = {
        "access_id": keys["secret_id"],
        "secret": keys["secret_key"],
        "at": int(time.time()),
        "path": path,
        **signer,
    }
    head, raw = HuaweiSigner(**signer).sign(body, {"Host": endpoint, "X-Project-Id": account, **(headers or {})})
    return send(
        endpoint,
        head.method,
        head.target,
        {**dict(head.headers), **(sent or {})},
        raw if sent_body is None else sent_body,
    )


def with_token(
    endpoint: str, account: str, auth_token: str, operation: str, body: object, headers: Mapping[str, str] | None = None
) -> Answer:
    """POST as a plain REST client of Huawei's API does, which signs nothing."""
    shown = {"Host": endpoint, "Content-Type": "application/json", "X-Auth-Token": auth_token, **(headers or {})}
    return send(endpoint, "POST", f"/v1.0/{account}/kms/{operation}", shown, json.dumps(body).encode())
