"""The dialect itself: one request from bytes to bytes, in the order of checks that the package states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hsmkms.core.credentials import Caller
from hsmkms.core.errors import (
    AccountForeign,
    ActionUnknown,
    AuthorizationMalformed,
    AuthTokenUnknown,
    HsmkmsError,
)
from hsmkms.core.secrets import AuthToken
from hsmkms.dialects import claiming, wire_models
from hsmkms.dialects.base import Ready, Reply
from hsmkms.dialects.huawei import auth, fields, routes
from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.huawei.fields import View
from hsmkms.dialects.huawei.refusals import refusal
from hsmkms.dialects.refusing import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import RequestId
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock
    from hsmkms.dialects.base import KeyService, RequestHead
    from hsmkms.dialects.huawei.routes import Route
    from hsmkms.dialects.strict_json import JsonObject

DEFAULT_REGION: Final = "on-prem"
"""The SDKs take any region and we read none; a cloud's region name here would say that the keys are there."""

_FOR_ALL: Final[Mapping[str, JsonObject]] = {routes.VERSIONS: fields.VERSIONS, routes.VERSION: fields.VERSION}
"""What is answered to everybody: clients ask for the versions before they have credentials."""


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
            shown = await self._serve(caller, head, route, body)
        except HsmkmsError as error:
            return _refused(head, route, error, request_id, caller)
        return _reply(route, request_id, HTTPStatus.OK, shown, {"code": "OK"} | _origin(caller))

    def refuse(self, head: RequestHead, error: HsmkmsError, request_id: RequestId) -> Reply:
        """Say `error` as this API does."""
        return _refused(head, routes.find(head), error, request_id, None)

    async def _authenticate(self, head: RequestHead, body: bytes, request_id: RequestId) -> Caller | None:
        """Return who asks, or None if the request does not say."""
        if auth.speaks(head):
            claim = auth.read_claim(head, self.clock.now())
            credential = auth.verify(head, body, claim, await self.service.secret_of(claim.access_id))
            return Caller(credential.account, claim.access_id, credential.roles, request_id)
        tokens = head.values("x-auth-token")
        if not tokens:
            return None
        [token, *more] = tokens
        holder = None if more else await self.service.holder_of(AuthToken(token.encode("latin-1")))
        if holder is None:
            raise AuthTokenUnknown
        return Caller(holder.account, holder.access_id, holder.roles, request_id)

    async def _serve(self, caller: Caller | None, head: RequestHead, route: Route, body: bytes) -> JsonObject:
        if caller is not None:
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
        asked = operation.command(view, request)
        outcome = asked.outcome if isinstance(asked, Ready) else await self.service.execute(caller, asked)
        return operation.show(view, request, outcome)


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


def _origin(caller: Caller | None) -> dict[str, str]:
    return {} if caller is None else {"account": caller.account.name, "access_id": caller.access_id}


def _refused(
    head: RequestHead, route: Route, error: HsmkmsError, request_id: RequestId, caller: Caller | None
) -> Reply:
    said = refusal(error, route.operation)
    facts = facts_of(head, error, said.code.text) | _origin(caller)
    return _reply(route, request_id, said.code.status, said.envelope(request_id), facts)


def _reply(route: Route, request_id: RequestId, status: int, shown: JsonObject, facts: dict[str, str]) -> Reply:
    headers = (("Content-Type", "application/json"), ("X-Request-Id", request_id))
    if route.operation is not None:
        facts["action"] = route.operation
    return Reply(status, headers, json.dumps(shown).encode("ascii"), facts)
