"""Every error code of issues 2 and 4 is reached by a client of the running service, and changes nothing."""

from __future__ import annotations

import secrets
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from hsmkms.core import errors
from hsmkms.dialects.tencent.refusals import CODES, FIELD_CODES, STATE_CODES
from tests.e2e.running import until
from tests.e2e.ways import BOUND_SECONDS, TENCENT, Way, walk
from tests.e2e.worlds import TencentWorld

if TYPE_CHECKING:
    from tests.e2e.running import RunningService

IMPORT_CODES: Final = {
    "InvalidParameter",
    "InvalidParameter.DecryptMaterialError",
    "InvalidParameterValue.InvalidKeyId",
    "InvalidParameterValue.MaterialNotMatch",
    "ResourceUnavailable.CmkNotFound",
    "ResourceUnavailable.CmkStateNotSupport",
    "ResourceUnavailable.TokenExpired",
    "UnsupportedOperation.NotExternalCmk",
    "UnsupportedOperation.ServiceTemporaryUnavailable",
    "InternalError",
}
COMMON_CODES: Final = {
    "AuthFailure.InvalidAuthorization",
    "AuthFailure.SecretIdNotFound",
    "AuthFailure.SignatureFailure",
    "AuthFailure.SignatureExpire",
    "AuthFailure.UnauthorizedOperation",
    "MissingParameter",
    "UnknownParameter",
    "InvalidAction",
    "NoSuchVersion",
    "RequestLimitExceeded",
    "InvalidParameterValue.AliasAlreadyExists",
    "InvalidParameterValue.InvalidAlias",
}
USE_CODES: Final = {
    "InvalidParameter.InvalidPendingWindowInDays",
    "InvalidParameterValue.InvalidCiphertext",
    "InvalidParameterValue.InvalidPlaintext",
    "InvalidParameterValue.TagKeysDuplicated",
    "ResourceUnavailable.CmkArchived",
    "ResourceUnavailable.CmkDisabled",
    "ResourceUnavailable.CmkNotPendingDelete",
    "ResourceUnavailable.CmkShouldBeDisabled",
    "ResourceUnavailable.KeyPendingDelete",
    "UnsupportedOperation",
    "UnsupportedOperation.ExternalCmkCanNotRotate",
    "UnsupportedOperation.RotateNotSupported",
}
NEEDS_A_CIPHER: Final = {"LimitExceeded.KeyLimitExceeded"}
"""Reached only where the token encrypts: uses are counted where there are any."""
TOLD_TO_OTHERS: Final = {errors.AccountForeign}
"""What cannot happen to a client of this cloud: no request of its API names an account."""


@pytest.fixture(scope="module")
def world(service: RunningService) -> TencentWorld:
    return TencentWorld.of(service, service.instance.another_credential(f"codes-{secrets.token_hex(3)}"))


@pytest.mark.parametrize("way", TENCENT.tried(everywhere=True), ids=str)
def test_the_code_is_reached_and_nothing_changes(
    way: Way[TencentWorld], service: RunningService, request: pytest.FixtureRequest
) -> None:
    walk(way, TENCENT.stage(way, request))


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
@pytest.mark.parametrize("way", TENCENT.tried(everywhere=False), ids=str)
def test_the_code_is_reached_in_this_way_too(way: Way[TencentWorld], world: TencentWorld) -> None:
    walk(way, world)


def test_no_code_is_forgotten() -> None:
    everywhere = TENCENT.codes(everywhere=True)
    assert everywhere >= IMPORT_CODES | COMMON_CODES | USE_CODES
    sayable = {code for error, code in CODES.items() if error not in TOLD_TO_OTHERS} | {*FIELD_CODES.values()}
    sayable.update(code for by_state in STATE_CODES.values() for code in by_state.values())
    reached = TENCENT.codes(everywhere=False)
    assert reached == sayable, "the dialect says a code that no test reaches"
    assert reached - everywhere == NEEDS_A_CIPHER


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
def test_a_locked_database_is_temporary_and_waited_for_a_bounded_time(world: TencentWorld) -> None:
    key_id, parameters, encrypted = world.ready()
    before = world.client.shown(key_id)
    other = sqlite3.connect(world.service.instance.database, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with ThreadPoolExecutor() as threads:
            writers = [
                threads.submit(world.import_, key_id, parameters, encrypted),
                threads.submit(world.sdk, "CreateKey", world.stranger, Alias=f"l-{secrets.token_hex(4)}", Type=2),
            ]
            assert world.client.state(key_id) == "PendingImport", "readers do not wait for a writer"
            codes = {writer.result().code for writer in writers}
        seconds = time.monotonic() - started
    finally:
        other.rollback()
        other.close()
    assert codes == {"UnsupportedOperation.ServiceTemporaryUnavailable"}
    assert seconds < BOUND_SECONDS
    # What was done meanwhile is not in the audit trail yet, and nothing more is until it is.
    until(lambda: _answers(world, key_id), "the audit trail is written", BOUND_SECONDS)
    assert world.client.shown(key_id) == before
    world.client.import_(key_id, parameters, encrypted)
    assert world.client.state(key_id) == "Enabled"


def _answers(world: TencentWorld, key_id: str) -> bool:
    try:
        world.client.shown(key_id)
    except TencentCloudSDKException as error:
        if error.get_code() != "UnsupportedOperation.ServiceTemporaryUnavailable":
            raise
        return False
    return True
