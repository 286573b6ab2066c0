"""Requests signed by the official SDK's own signing function."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tencentcloud.common.sign import Sign

from hsmkms.dialects.base import RequestHead
from tests.dialects.scripted_service import ACCESS_ID, NOW, SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Signer:
    """A client of API 3.0, with everything that a test may want to be wrong."""

    access_id: str = ACCESS_ID
    secret: str = SECRET.reveal().decode()
    at: int = NOW
    date: str | None = None
    method: str = "POST"
    target: str = "/"
    signed: tuple[str, ...] = ("content-type", "host")
    lower_case: bool = False
    payload: bytes | None = None
    """What is hashed in place of the body."""

    def sign(
        self, action: str, body: object, headers: Mapping[str, str | None] | None = None
    ) -> tuple[RequestHead, bytes]:
        """Return the signed request; a header given as None is left out."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "Content-Type": "application/json",
            "Host": "127.0.0.1:8765",
            "X-TC-Action": action,
            "X-TC-Timestamp": str(self.at),
            "X-TC-Version": "2019-01-18",
            **(headers or {}),
        }
        kept = {name: value for name, value in sent.items() if value is not None}
        kept["Authorization"] = self._authorization(raw, kept)
        if headers and "Authorization" in headers:
            del kept["Authorization"]
            kept |= {name: value for name, value in headers.items() if name == "Authorization" and value}
        return RequestHead(self.method, self.target, tuple(kept.items())), raw

    def _authorization(self, body: bytes, headers: Mapping[str, str]) -> str:
        values = {name.lower(): value.lower() if self.lower_case else value for name, value in headers.items()}
        path, _, query = self.target.partition("?")
        canonical = "\n".join(
            (
                self.method,
                path,
                query,
                "".join(f"{name}:{values.get(name, '')}\n" for name in self.signed),
                ";".join(self.signed),
                hashlib.sha256(body if self.payload is None else self.payload).hexdigest(),
            )
        )
        date = self.date or datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d")
        scope = f"{date}/kms/tc3_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"TC3-HMAC-SHA256\n{values.get('x-tc-timestamp', '')}\n{scope}\n{digest}"
        signature = Sign.sign_tc3(self.secret, date, "kms", to_sign)
        return (
            f"TC3-HMAC-SHA256 Credential={self.access_id}/{scope}, "
            f"SignedHeaders={';'.join(self.signed)}, Signature={signature}"
        )
