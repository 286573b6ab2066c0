"""Every error code of issues 3 and 4 is reached by a client of the running service, and changes nothing."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core import errors
from hsmkms.dialects.huawei.refusals import CODES, FIELD_CODES, FIELD_CODES_OF, STATE_CODES
from tests.e2e.running import KEYS_PER_ACCOUNT, until
from tests.e2e.ways import HUAWEI, Way, walk
from tests.e2e.worlds import HuaweiWorld

if TYPE_CHECKING:
    from tests.e2e.running import RunningService

STATUSES: Final = {
    "KMS.0101": 500,
    "KMS.0102": 503,
    "KMS.0207": 404,
    "KMS.0301": 401,
    "KMS.0306": 403,
    "KMS.0307": 403,
    "APIGW.0101": 404,
    "APIGW.0301": 401,
    "APIGW.0302": 403,
    "APIGW.0308": 429,
}
"""All others are 400."""
NUMBERS: Final = (
    *(101, 102, 202, 203, 204, 205, 206, 207, 301, 308, 309, 310, 311),
    *(1101, 1103, 1104, 1105, 1601, 1602, 2601, 2602, 2603, 2604, 2605, 2606, 2701),
    *(208, 209, 210, 1201, 1301, 1401, 1402, 1501, 1801, 1901, 1902, 2001, 2101, 2102, 2103, 2201, 2202),
)
"""KMS.nnnn, of issues 3 and 4."""
NOT_SAID: Final = {errors.RotationOfExternal, errors.RotationNotOffered}
"""KMS.0312 and 0313, of enable-key-rotation: no path leads to that operation here."""


@pytest.fixture(scope="module")
def world(service: RunningService) -> HuaweiWorld:
    return HuaweiWorld.of(service, service.instance.another_credential(f"codes-{secrets.token_hex(3)}"))


@pytest.mark.parametrize("way", HUAWEI.tried(everywhere=True), ids=str)
def test_the_code_is_reached_and_nothing_changes(
    way: Way[HuaweiWorld], service: RunningService, request: pytest.FixtureRequest
) -> None:
    failure = walk(way, HUAWEI.stage(way, request))
    assert failure.status == STATUSES.get(failure.code, 400)


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
@pytest.mark.parametrize("way", HUAWEI.tried(everywhere=False), ids=str)
def test_the_code_is_reached_in_this_way_too(way: Way[HuaweiWorld], world: HuaweiWorld) -> None:
    failure = walk(way, world)
    assert failure.status == STATUSES.get(failure.code, 400)


def test_no_code_is_forgotten() -> None:
    reached = HUAWEI.codes(everywhere=True)
    assert reached >= {f"KMS.{number:04}" for number in NUMBERS} | STATUSES.keys()
    by_two = (*FIELD_CODES_OF.values(), *STATE_CODES.values())
    by_error = {code for error, code in CODES.items() if error not in NOT_SAID}
    codes = (*by_error, *FIELD_CODES.values(), *(code for table in by_two for code in table.values()))
    sayable = {code.text for code in codes}
    assert reached == sayable, "the dialect says a code that no test reaches"
    assert HUAWEI.codes(everywhere=False) == reached, "what needs a token that encrypts has no code of its own"


def test_the_request_id_that_the_client_shows_is_in_the_log(world: HuaweiWorld) -> None:
    failure = world.sdk("list_key_detail", key_id=str(uuid.uuid4()))
    assert failure.code == "KMS.0207"
    request_id = world.client.answer.headers["X-Request-Id"]

    def said() -> list[str]:
        lines = (line for line in world.service.log_lines() if line.get("request_id") == request_id)
        return [line["code"] for line in lines if line["event"] == "request"]

    assert until(said, "its line, which is written right after the answer") == [failure.code]


# --- and what is not refused ---------------------------------------------------------------------------------


def test_an_edition_has_its_own_key_spec(sm_service: RunningService) -> None:
    client = sm_service.huawei()
    key_id = client.created(key_spec="SM4", origin="external")
    client.bring(key_id, secrets.token_bytes(16))
    details = client.describe(key_id)
    assert (details.key_spec, details.key_state) == ("SM4", "2")


def test_the_quota_is_the_configured_limit(sm_service: RunningService) -> None:
    resources = {each.type: each for each in sm_service.huawei().call("show_user_quotas").quotas.resources}
    assert resources["CMK"].quota == KEYS_PER_ACCOUNT
