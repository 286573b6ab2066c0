"""Requests signed by the official SDK's own signer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer as SdkSigner

from hsmkms.dialects.base import RequestHead
from tests.dialects.scripted_service import ACCESS_ID, SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW: Final = 1795286014
"""The second at which the recorded requests were signed: 20261121T183334Z."""
PROJECT: Final = "0123456789abcdef0123456789abcdef"
HOST: Final = "127.0.0.1:18732"


def written(second: int) -> str:
    """Return the Unix second as X-Sdk-Date spells it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True)
class Signer:
    """A client of the SDK, with everything that a test may want to be wrong."""

    access_id: str = ACCESS_ID
    secret: str = SECRET.reveal().decode()
    at: int = NOW
    method: str = "POST"
    path: str = f"/v1.0/{PROJECT}/kms/describe-key"
    query: tuple[tuple[str, object], ...] = ()
    signed: tuple[str, ...] | None = None
    """What SignedHeaders lists; None: what the SDK would."""
    on_the_wire: str | None = None
    """The target sent, where the HTTP client spells the signed one in another way."""

    def sign(self, body: object = None, headers: Mapping[str, str] | None = None) -> tuple[RequestHead, bytes]:
        """Return the signed request; a body that is not bytes is sent as JSON, none as no bytes."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = SdkRequest(
            method=self.method,
            schema="http",
            host=HOST,
            resource_path=self.path,
            query_params=list(self.query),
            header_params={
                "User-Agent": "huaweicloud-usdk-python/3.0",
                "Content-Type": "application/json;charset=utf-8",
                "X-Project-Id": PROJECT,
                "X-Sdk-Date": written(self.at),
                **(headers or {}),
            },
            body=raw,
        )
        signer = SdkSigner(BasicCredentials(self.access_id, self.secret, PROJECT))
        if self.signed is not None:
            signer._process_signed_headers = lambda _request: list(self.signed or ())
        sent = signer.sign(request)
        head = RequestHead(self.method, self.on_the_wire or sent.uri, tuple(sent.header_params.items()))
        return head, raw
