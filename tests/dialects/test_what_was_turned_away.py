"""A request that becomes no command is noted once, with whose it was; of the others the service itself takes note."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from hsmkms.core import errors
from hsmkms.core.ids import Account, AccountName, RequestId
from hsmkms.core.material import Edition
from hsmkms.dialects.base import NO_ACTION
from hsmkms.dialects.huawei.dialect import HuaweiDialect
from hsmkms.dialects.tencent.dialect import TencentDialect
from tests.dialects.huawei.signing import PROJECT
from tests.dialects.huawei.signing import Signer as HuaweiSigner
from tests.dialects.scripted_service import ACCESS_ID, KEY_ID, ScriptedService, StoppedClock, shown
from tests.dialects.tencent.signing import Signer as TencentSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsmkms.dialects.base import Dialect, RequestHead

REQUEST_ID: Final = RequestId("5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11")
SOURCE: Final = "192.0.2.7"
SERVICE_ACCOUNT: Final = Account(7, AccountName(PROJECT))


@dataclass(frozen=True)
class Cloud:
    """A dialect, one action of it, and a client who asks for that."""

    kind: Callable[..., Dialect]
    api: str
    key_field: str
    sign: Callable[[Mapping[str, Any], str], tuple[RequestHead, bytes]]
    """Given the body's members and the access id."""
    nonsense: Callable[[], tuple[RequestHead, bytes]]
    """A signed request that names no action of the dialect."""


def _signed_for_tencent(members: Mapping[str, Any], access_id: str) -> tuple[RequestHead, bytes]:
    return TencentSigner(access_id=access_id).sign("DescribeKey", dict(members))


def _signed_for_huawei(members: Mapping[str, Any], access_id: str) -> tuple[RequestHead, bytes]:
    return HuaweiSigner(access_id=access_id).sign(dict(members))


def _nonsense_for_huawei() -> tuple[RequestHead, bytes]:
    return HuaweiSigner(path=f"/v1.0/{PROJECT}/kms/nonsense").sign({})


CLOUDS: Final = {
    "tencent": Cloud(
        TencentDialect, "DescribeKey", "KeyId", _signed_for_tencent, lambda: TencentSigner().sign("Nonsense", {})
    ),
    "huawei": Cloud(HuaweiDialect, "describe-key", "key_id", _signed_for_huawei, _nonsense_for_huawei),
}


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return CLOUDS[request.param]


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService(outcome=shown(), account=SERVICE_ACCOUNT)


async def _noted(
    cloud: Cloud, service: ScriptedService, members: Mapping[str, Any], access_id: str = ACCESS_ID
) -> list[tuple[str, str, str | None, str | None]]:
    """Return fault, source, access id and action of each note that a request makes."""
    head, body = cloud.sign(members, access_id)
    dialect = cloud.kind(service, StoppedClock(), Edition.FIPS)
    await dialect.answer(replace(head, source=SOURCE), body, REQUEST_ID)
    return [
        (type(error).__name__, source, None if caller is None else caller.access_id, api)
        for error, source, caller, api in service.refusals
    ]


async def test_a_stranger_is_noted_without_the_access_id_that_he_claims(cloud: Cloud, service: ScriptedService) -> None:
    noted = await _noted(cloud, service, {cloud.key_field: KEY_ID}, access_id="AKIDNOBODY")
    assert noted == [("CredentialUnknown", SOURCE, None, cloud.api)]
    assert not service.admitted


async def test_what_is_no_command_is_noted_with_its_caller(cloud: Cloud, service: ScriptedService) -> None:
    noted = await _noted(cloud, service, {cloud.key_field: "no key id"})
    assert noted == [("KeyIdMalformed", SOURCE, ACCESS_ID, cloud.api)]
    assert [api for _caller, api in service.admitted] == [cloud.api]


async def test_too_many_requests_are_refused_before_they_are_read(cloud: Cloud, service: ScriptedService) -> None:
    service.rate_fault = errors.RequestRateExceeded(cloud.api, 0.5)
    noted = await _noted(cloud, service, {cloud.key_field: "no key id"})
    assert noted == [("RequestRateExceeded", SOURCE, ACCESS_ID, cloud.api)]


async def test_what_is_no_action_counts_as_one(cloud: Cloud, service: ScriptedService) -> None:
    head, body = cloud.nonsense()
    dialect = cloud.kind(service, StoppedClock(), Edition.FIPS)
    service.rate_fault = errors.RequestRateExceeded(NO_ACTION, 0.5)
    await dialect.answer(head, body, REQUEST_ID)
    assert [api for _caller, api in service.admitted] == [NO_ACTION]
    assert [type(error) for error, _source, _caller, _api in service.refusals] == [errors.RequestRateExceeded]


async def test_what_the_service_refuses_is_not_noted_twice(cloud: Cloud, service: ScriptedService) -> None:
    service.outcome = errors.KeyNotFound()
    assert await _noted(cloud, service, {cloud.key_field: KEY_ID}) == []
    assert len(service.asked) == 1


async def test_what_is_granted_is_not_noted(cloud: Cloud, service: ScriptedService) -> None:
    assert await _noted(cloud, service, {cloud.key_field: KEY_ID}) == []
    assert [api for _caller, api in service.admitted] == [cloud.api]
