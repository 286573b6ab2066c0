"""The dialect itself: one request from bytes to bytes, in the order of checks that the package states."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from hsmkms.core.credentials import Caller
from hsmkms.core.errors import (
    AccountForeign,
    ActionUnknown,
    AuthorizationMalformed,
    AuthTokenUnknown,
    HsmkmsError,
    RequestRateExceeded,
    TemporarilyUnavailable,
)
from hsmkms.core.secrets import AuthToken
from hsmkms.dialects import claiming, wire_models
from hsmkms.dialects.base import NO_ACTION, Ready, Reply
from hsmkms.dialects.huawei import auth, fields, routes
from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.huawei.fields import View
from hsmkms.dialects.huawei.refusals import refusal
from hsmkms.dialects.refusing import facts_of, facts_of_caller

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from hsmkms.core.ids import RequestId
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock
    from hsmkms.dialects.base import KeyService, RequestHead
    from hsmkms.dialects.huawei.codec import Operation
    from hsmkms.dialects.huawei.routes import Route
    from hsmkms.dialects.strict_json import JsonObject
    from hsmkms.dialects.wire_models import WireRequest
    from hsmkms.service.commands import Command

    Headers: TypeAlias = tuple[tuple[str, str], ...]

DEFAULT_REGION: Final = "on-prem"
"""The SDKs take any region and we read none; a cloud's region name here would say that the keys are there."""

_FOR_ALL: Final[Mapping[str, JsonObject]] = {routes.VERSIONS: fields.VERSIONS, routes.VERSION: fields.VERSION}
"""What is answered to everybody: clients ask for the versions before they have credentials."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was understood."""

    caller: Caller
    operation: Operation[Any, Any]
    view: View
    request: WireRequest
    command: Command | Ready


@dataclass(frozen=True, slots=True)
class HuaweiDialect:
    """Huawei Cloud KMS for one deployment."""

    service: KeyService
    clock: Clock
    edition: Edition
    region: str = DEFAULT_REGION
    name: str = "huawei"

    def claims(self, head: RequestHead) -> bool:
        """Tell whether the request is authenticated as this cloud's are, or names a path of this cloud."""
        return claiming.claimant(head) is claiming.Cloud.HUAWEI

    async def answer(self, head: RequestHead, body: bytes, request_id: RequestId) -> Reply:
        """Answer one request."""
        route, caller = routes.find(head), None
        try:
            caller = await self._authenticate(head, body, request_id)
            asked = self._understood(caller, head, route, body)
        except HsmkmsError as error:
            return self._turned_away(head, route, error, request_id, caller)
        try:
            shown = asked if isinstance(asked, dict) else await self._done(asked)
        except HsmkmsError as error:
            return _refused(head, route, error, request_id, caller)
        return _reply(route, request_id, HTTPStatus.OK, shown, {"code": "OK"} | facts_of_caller(caller))

    def refuse(self, head: RequestHead, error: HsmkmsError, request_id: RequestId) -> Reply:
        """Say `error` as this API does."""
        return self._turned_away(head, routes.find(head), error, request_id, None)

    def _turned_away(
        self, head: RequestHead, route: Route, error: HsmkmsError, request_id: RequestId, caller: Caller | None
    ) -> Reply:
        """Refuse what did not become a command."""
        self.service.note_refusal(error, head.source, caller, route.operation)
        return _refused(head, route, error, request_id, caller)

    async def _authenticate(self, head: RequestHead, body: bytes, request_id: RequestId) -> Caller | None:
        """Return who asks, or None if the request does not say."""
        if auth.speaks(head):
            claim = auth.read_claim(head, self.clock.now())
            credential = auth.verify(head, body, claim, await self.service.secret_of(claim.access_id, head.source))
            return Caller(
                credential.account, claim.access_id, credential.roles, request_id, credential.scope, head.received
            )
        tokens = head.values("x-auth-token")
        if not tokens:
            return None
        [token, *more] = tokens
        holder = None if more else await self.service.holder_of(AuthToken(token.encode("latin-1")), head.source)
        if holder is None:
            raise AuthTokenUnknown
        return Caller(holder.account, holder.access_id, holder.roles, request_id, holder.scope, head.received)

    def _understood(self, caller: Caller | None, head: RequestHead, route: Route, body: bytes) -> _Asked | JsonObject:
        """Return what a request asks for, or the answer if it is the same for everybody."""
        if caller is not None:
            self.service.admit(caller, route.operation or NO_ACTION)
            _require_account(caller, head, route)
        if route.operation is not None and route.operation in _FOR_ALL:
            return _FOR_ALL[route.operation]
        if caller is None:
            raise AuthorizationMalformed(auth.TWO_WAYS)
        if route.operation is None:
            raise ActionUnknown
        operation = OPERATIONS[route.operation]
        view = View(caller.account, self.edition, self.region, self.service.offered_algorithms)
        request = wire_models.read(operation.model, routes.members(head, route, body))
        return _Asked(caller, operation, view, request, operation.command(view, request))

    async def _done(self, asked: _Asked) -> JsonObject:
        command = asked.command
        outcome = command.outcome if isinstance(command, Ready) else await self.service.execute(asked.caller, command)
        return asked.operation.show(asked.view, asked.request, outcome)


def _require_account(caller: Caller, head: RequestHead, route: Route) -> None:
    """Return if every project that the request names is the caller's account.

    Raises:
        AccountForeign: one is not.
    """
    name = caller.account.name
    named = (*head.values("x-project-id"), *((route.project_id,) if route.project_id is not None else ()))
    if any(each != name for each in named):
        raise AccountForeign(
            "project_id must be the name of the credential's account: "
            f"give the SDK BasicCredentials(ak, sk, '{name}'), and a plain client /v1.0/{name}/kms/..."
        )


def _refused(
    head: RequestHead, route: Route, error: HsmkmsError, request_id: RequestId, caller: Caller | None
) -> Reply:
    said = refusal(error, route.operation)
    facts = facts_of(head, error, said.code.text) | facts_of_caller(caller)
    return _reply(route, request_id, said.code.status, said.envelope(request_id), facts, _when_to_retry(error))


def _when_to_retry(error: HsmkmsError) -> Headers:
    """Return the header of RFC 9110, 10.2.3, in whole seconds, where waiting helps."""
    match error:
        case RequestRateExceeded(wait_seconds=seconds):
            return (("Retry-After", str(max(1, math.ceil(seconds)))),)
        case TemporarilyUnavailable():
            return (("Retry-After", "1"),)
        case _:
            return ()


def _reply(
    route: Route,
    request_id: RequestId,
    status: int,
    shown: JsonObject,
    facts: dict[str, str],
    more: Headers = (),
) -> Reply:
    headers = (("Content-Type", "application/json"), ("X-Request-Id", request_id), *more)
    if route.operation is not None:
        facts["action"] = route.operation
    return Reply(status, headers, json.dumps(shown).encode("ascii"), facts)
