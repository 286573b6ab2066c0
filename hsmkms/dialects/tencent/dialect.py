"""The dialect itself: one request from bytes to bytes, in the order of checks that the package states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.credentials import Caller
from hsmkms.core.errors import (
    ActionUnknown,
    FieldInvalid,
    FieldMissing,
    HsmkmsError,
    ProtocolUnsupported,
    VersionUnknown,
)
from hsmkms.dialects import claiming, strict_json
from hsmkms.dialects.base import Ready, Reply
from hsmkms.dialects.refusing import facts_of
from hsmkms.dialects.tencent import auth
from hsmkms.dialects.tencent.codec import ACTIONS
from hsmkms.dialects.tencent.fields import View
from hsmkms.dialects.tencent.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.ids import RequestId
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock
    from hsmkms.dialects.base import KeyService, RequestHead
    from hsmkms.dialects.strict_json import JsonObject

VERSION: Final = "2019-01-18"
DEFAULT_REGIONS: Final = ("on-prem",)
"""The SDKs take any region and we read none; a cloud's region name here would say that the keys are there."""

_HEADERS: Final = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class TencentDialect:
    """Tencent Cloud API 3.0 for one deployment."""

    service: KeyService
    clock: Clock
    edition: Edition
    regions: Sequence[str] = DEFAULT_REGIONS
    name: str = "tencent"

    def claims(self, head: RequestHead) -> bool:
        """Tell whether the request is of API 3.0 or of its predecessor, or says nothing of what it is."""
        return claiming.claimant(head) is claiming.Cloud.TENCENT

    async def answer(self, head: RequestHead, body: bytes, request_id: RequestId) -> Reply:
        """Answer one request."""
        caller = None
        try:
            caller = await self._authenticate(head, body, request_id)
            shown = await self._serve(caller, head, body)
        except HsmkmsError as error:
            return _refused(head, error, request_id, caller)
        return _reply(head, request_id, shown, {"code": "OK"}, caller)

    def refuse(self, head: RequestHead, error: HsmkmsError, request_id: RequestId) -> Reply:
        """Say `error` as this API does."""
        return _refused(head, error, request_id, None)

    async def _authenticate(self, head: RequestHead, body: bytes, request_id: RequestId) -> Caller:
        if head.method != "POST":
            raise ProtocolUnsupported
        claim = auth.read_claim(head, self.clock.now())
        credential = auth.verify(head, body, claim, await self.service.secret_of(claim.access_id))
        return Caller(credential.account, claim.access_id, credential.roles, request_id)

    async def _serve(self, caller: Caller, head: RequestHead, body: bytes) -> JsonObject:
        action = _the(head, "X-TC-Action")
        if _the(head, "X-TC-Version") != VERSION:
            raise VersionUnknown(f"This API version does not exist. Use {VERSION}.")
        if action not in ACTIONS:
            raise ActionUnknown
        service = self.service
        view = View(caller.account, self.edition, self.regions, service.offered_algorithms, service.ciphers)
        asked = ACTIONS[action].read(view, strict_json.read_object(body))
        outcome = asked.outcome if isinstance(asked, Ready) else await self.service.execute(caller, asked)
        return ACTIONS[action].show(view, outcome)


def _the(head: RequestHead, name: str) -> str:
    """Return the one value of the header `name`."""
    values = head.values(name.lower())
    if not any(values):
        raise FieldMissing(name)
    if len(values) > 1:
        raise FieldInvalid(name, "send it once.")
    return values[0]


def _refused(head: RequestHead, error: HsmkmsError, request_id: RequestId, caller: Caller | None) -> Reply:
    said = refusal(error)
    shown: JsonObject = {"Error": {"Code": said.code, "Message": said.message}}
    return _reply(head, request_id, shown, facts_of(head, error, said.code), caller)


def _reply(
    head: RequestHead, request_id: RequestId, shown: JsonObject, facts: dict[str, str], caller: Caller | None
) -> Reply:
    response: JsonObject = {**shown, "RequestId": request_id}
    # Any other action is the caller's free text, which has no place in a log.
    for action in ACTIONS.keys() & set(head.values("x-tc-action")):
        facts["action"] = action
    if caller is not None:
        facts |= {"account": caller.account.name, "access_id": caller.access_id}
    return Reply(200, _HEADERS, json.dumps({"Response": response}).encode("ascii"), facts)
