"""The dialect itself: one request from bytes to bytes, in the order of checks that the package states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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
from hsmkms.dialects.base import NO_ACTION, Ready, Reply
from hsmkms.dialects.refusing import facts_of, facts_of_caller
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
    from hsmkms.dialects.tencent.auth import Claim
    from hsmkms.dialects.tencent.binding import ActionBinding
    from hsmkms.dialects.tencent.codec import Action
    from hsmkms.service.commands import Command

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
    binding: ActionBinding | None = None
    """If there is one, a signature serves one action only."""
    name: str = "tencent"

    def claims(self, head: RequestHead) -> bool:
        """Tell whether the request is of API 3.0 or of its predecessor, or says nothing of what it is."""
        return claiming.claimant(head) is claiming.Cloud.TENCENT

    async def answer(self, head: RequestHead, body: bytes, request_id: RequestId) -> Reply:
        """Answer one request."""
        caller = None
        try:
            caller, claim = await self._authenticate(head, body, request_id)
            action, view, asked = self._understood(caller, claim, head, body)
        except HsmkmsError as error:
            return self._turned_away(head, error, request_id, caller)
        try:
            outcome = asked.outcome if isinstance(asked, Ready) else await self.service.execute(caller, asked)
            shown = action.show(view, outcome)
        except HsmkmsError as error:
            return _refused(head, error, request_id, caller)
        return _reply(head, request_id, shown, {"code": "OK"}, caller)

    def refuse(self, head: RequestHead, error: HsmkmsError, request_id: RequestId) -> Reply:
        """Say `error` as this API does."""
        return self._turned_away(head, error, request_id, None)

    def _turned_away(
        self, head: RequestHead, error: HsmkmsError, request_id: RequestId, caller: Caller | None
    ) -> Reply:
        """Refuse what did not become a command."""
        self.service.note_refusal(error, head.source, caller, _known_action(head))
        return _refused(head, error, request_id, caller)

    async def _authenticate(self, head: RequestHead, body: bytes, request_id: RequestId) -> tuple[Caller, Claim]:
        if head.method != "POST":
            raise ProtocolUnsupported
        claim = auth.read_claim(head, self.clock.now())
        credential = auth.verify(head, body, claim, await self.service.secret_of(claim.access_id, head.source))
        caller = Caller(
            credential.account, claim.access_id, credential.roles, request_id, credential.scope, head.received
        )
        return caller, claim

    def _understood(
        self, caller: Caller, claim: Claim, head: RequestHead, body: bytes
    ) -> tuple[Action[Any, Any], View, Command | Ready]:
        if _known_action(head) is None or VERSION not in head.values("x-tc-version"):
            self.service.admit(caller, NO_ACTION)
        name = _the(head, "X-TC-Action")
        if _the(head, "X-TC-Version") != VERSION:
            raise VersionUnknown(f"This API version does not exist. Use {VERSION}.")
        if name not in ACTIONS:
            raise ActionUnknown
        if self.binding is not None:
            self.binding.bind(claim, caller.account.name, name, self.clock.now())
        service = self.service
        service.admit(caller, name)
        view = View(caller.account, self.edition, self.regions, service.offered_algorithms, service.ciphers)
        action = ACTIONS[name]
        return action, view, action.read(view, strict_json.read_object(body))


def _the(head: RequestHead, name: str) -> str:
    """Return the one value of the header `name`."""
    values = head.values(name.lower())
    if not any(values):
        raise FieldMissing(name)
    if len(values) > 1:
        raise FieldInvalid(name, "send it once.")
    return values[0]


def _known_action(head: RequestHead) -> str | None:
    """Return the action that a request names; one that is none of ours is free text, with no place in a log."""
    return next((each for each in head.values("x-tc-action") if each in ACTIONS), None)


def _refused(head: RequestHead, error: HsmkmsError, request_id: RequestId, caller: Caller | None) -> Reply:
    said = refusal(error)
    shown: JsonObject = {"Error": {"Code": said.code, "Message": said.message}}
    return _reply(head, request_id, shown, facts_of(head, error, said.code), caller)


def _reply(
    head: RequestHead, request_id: RequestId, shown: JsonObject, facts: dict[str, str], caller: Caller | None
) -> Reply:
    response: JsonObject = {**shown, "RequestId": request_id}
    if (action := _known_action(head)) is not None:
        facts["action"] = action
    facts |= facts_of_caller(caller)
    return Reply(200, _HEADERS, json.dumps({"Response": response}).encode("ascii"), facts)
