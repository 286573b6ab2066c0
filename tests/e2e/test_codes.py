"""Every error code of issue 2 is reached by a client of the running service, on both tokens, and changes nothing."""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.dialects.tencent.refusals import CODES
from tests.e2e.ways import WAYS, Way, World, register_all

if TYPE_CHECKING:
    from tests.e2e.running import Client, RunningService

register_all()

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
    "MissingParameter",
    "UnknownParameter",
    "InvalidAction",
    "NoSuchVersion",
    "InvalidParameterValue.AliasAlreadyExists",
    "InvalidParameterValue.InvalidAlias",
}
NEVER_SAID: Final = re.compile(r"CKR_|[A-Za-z0-9+/]{45}|[0-9a-f]{32}|Traceback|sqlite", re.IGNORECASE)
"""Words of the token, anything as long as a key, an import token or a ciphertext, and words of the inside."""
BOUND_SECONDS: Final = 15


@pytest.fixture(scope="module")
def world(service: RunningService, stranger: Client) -> World:
    client = service.client(service.instance.another_credential(f"codes-{secrets.token_hex(3)}"))
    return World(service, client, stranger)


@pytest.fixture
def stage(service: RunningService, way: Way, request: pytest.FixtureRequest) -> World:
    """The service that a way needs."""
    if not way.impatient:
        world: World = request.getfixturevalue("world")
        return world
    running: RunningService = request.getfixturevalue("sm_service")
    return World(running, running.client(), running.client())


def name_of(way: Way) -> str:
    return f"{way.code}-{way.name}"


@pytest.mark.parametrize("way", [way for way in WAYS if way.everywhere], ids=name_of)
def test_the_code_is_reached_and_nothing_changes(way: Way, stage: World) -> None:
    walk(way, stage)


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
@pytest.mark.parametrize("way", [way for way in WAYS if not way.everywhere], ids=name_of)
def test_the_code_is_reached_in_this_way_too(way: Way, stage: World) -> None:
    walk(way, stage)


def walk(way: Way, stage: World) -> None:
    """Send the request that must be refused, and look at the answer and at what is left."""
    attempt = way.prepare(stage)
    before = stage.shown(attempt.key_id)
    started = time.monotonic()
    try:
        failure = attempt.send()
    finally:
        seconds = time.monotonic() - started
        attempt.undo()
    assert failure.code == way.code, failure
    assert attempt.says in failure.message
    assert not NEVER_SAID.search(failure.message)
    assert seconds < BOUND_SECONDS
    if way.code != "InternalError":  # its undoing imports into another account's key and into one more of ours
        assert stage.shown(attempt.key_id) == before


def test_no_code_is_forgotten() -> None:
    reached = {way.code for way in WAYS if way.everywhere}
    assert reached >= IMPORT_CODES | COMMON_CODES
    assert reached == set(CODES.values()), "the dialect says a code that no test reaches"


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
def test_a_locked_database_is_temporary_and_waited_for_a_bounded_time(world: World) -> None:
    key_id, parameters, encrypted = world.ready()
    before = world.shown(key_id)
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
    assert world.shown(key_id) == before
    world.client.import_(key_id, parameters, encrypted)
    assert world.client.state(key_id) == "Enabled"
