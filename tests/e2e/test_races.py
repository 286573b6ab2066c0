"""Requests that meet at one key: whatever they are told, there is an order of one after the other that explains it.

The normal run takes a few dozen rounds; `./scripts/test tests/e2e/test_races.py -m torture` some thousands.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e.running import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

DONE: Final = "done"
SPENT: Final = "ResourceUnavailable.TokenExpired"
MISMATCH: Final = "InvalidParameterValue.MaterialNotMatch"
LATER: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"
NOTHING_TO_DELETE: Final = "ResourceUnavailable.CmkStateNotSupport"
SWEEP_SECONDS: Final = 5
ROUNDS: Final = pytest.mark.parametrize("rounds", [10, pytest.param(1000, marks=pytest.mark.torture)])


@pytest.fixture(scope="module")
def service(serving: Callable[[str, str], RunningService]) -> RunningService:
    """The service on SoftHSM that the tests share."""
    return serving("softhsm", "fips")


def told(send: Callable[[], object], start: threading.Barrier) -> str:
    """Return what a client is told that asks when all are there."""
    start.wait()
    try:
        send()
    except TencentCloudSDKException as error:
        return str(error.get_code())
    return DONE


def at_once(*requests: Callable[[], object]) -> list[str]:
    """Return what each of several clients is told that ask at once."""
    start = threading.Barrier(len(requests))
    with ThreadPoolExecutor(len(requests)) as threads:
        return [each.result() for each in [threads.submit(told, request, start) for request in requests]]


def importing(client: TencentClient, key_id: str, material: bytes) -> Callable[..., object]:
    """Return an import of material with parameters of its own; it takes a `valid_to`."""
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, material)
    return functools.partial(client.import_, key_id, parameters, encrypted)


def holds(client: TencentClient, key_id: str, material: bytes) -> bool:
    """Tell whether a key takes this material again; it takes no other."""
    return at_once(importing(client, key_id, material)) == [DONE]


@ROUNDS
def test_the_same_material_twice(service: RunningService, rounds: int) -> None:
    one, other = service.client(), service.client()
    for _ in range(rounds):
        key_id, material = one.external_key(), secrets.token_bytes(32)
        assert at_once(importing(one, key_id, material), importing(other, key_id, material)) == [DONE, DONE]
        assert one.state(key_id) == "Enabled"


@ROUNDS
def test_different_material(service: RunningService, rounds: int) -> None:
    one, other = service.client(), service.client()
    for _ in range(rounds):
        key_id, materials = one.external_key(), [secrets.token_bytes(32) for _ in range(2)]
        answers = at_once(importing(one, key_id, materials[0]), importing(other, key_id, materials[1]))
        assert sorted(answers) == sorted([DONE, MISMATCH])
        assert [holds(one, key_id, material) for material in materials] == [each == DONE for each in answers]


@ROUNDS
def test_one_import_token_for_two(service: RunningService, rounds: int) -> None:
    one, other = service.client(), service.client()
    for _ in range(rounds):
        key_id, materials = one.external_key(), [secrets.token_bytes(32) for _ in range(2)]
        parameters = one.parameters(key_id)
        wrapped = [one.wrapped(parameters, material) for material in materials]
        answers = at_once(
            lambda: one.import_(key_id, parameters, wrapped[0]),  # noqa: B023 - asked and answered in this round
            lambda: other.import_(key_id, parameters, wrapped[1]),  # noqa: B023
        )
        assert answers.count(DONE) == 1
        assert set(answers) <= {DONE, SPENT, MISMATCH}
        assert holds(one, key_id, materials[answers.index(DONE)])


@ROUNDS
def test_deletion_against_import(service: RunningService, rounds: int) -> None:
    one, other = service.client(), service.client()
    for number in range(rounds):
        key_id, material = one.external_key(), secrets.token_bytes(32)
        is_held = bool(number % 2)
        if is_held:
            one.bring(key_id, material)
        answers = at_once(importing(one, key_id, material), lambda: other.delete_material(key_id))  # noqa: B023
        state = one.state(key_id)
        assert (state == "Enabled") is service.instance.holds_material(key_id)
        if is_held:  # in either order both are done, and what came last holds
            assert answers == [DONE, DONE]
            assert state in {"Enabled", "PendingImport"}
        else:  # what deletes first finds nothing to delete
            assert (answers[0], answers[1], state) in {
                (DONE, DONE, "PendingImport"),
                (DONE, NOTHING_TO_DELETE, "Enabled"),
            }


@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.torture)])
def test_expiry_against_import(service: RunningService, rounds: int) -> None:
    """Keys expire while the same material comes again, without an end: in either order they hold it in the end."""
    client = service.client()
    for _ in range(rounds):
        keys = {client.external_key(): secrets.token_bytes(32) for _ in range(6)}
        first, again = (
            [importing(service.client(), key_id, material) for key_id, material in keys.items()] for _ in range(2)
        )
        expiry = int(time.time()) + 4  # all that takes long is done
        for each in first:
            each(valid_to=expiry)
        assert time.time() < expiry - 0.5, "the machine is too slow for this to be a race"
        moments = [expiry - 0.05 + 0.02 * number for number in range(len(again))]
        answers = at_once(*(_at(moment, each) for moment, each in zip(moments, again, strict=True)))
        assert answers == [DONE] * len(again)
        until(lambda: time.time() > expiry + SWEEP_SECONDS + 1, "a sweep", 2 * SWEEP_SECONDS)  # noqa: B023
        assert {client.state(key_id) for key_id in keys} == {"Enabled"}


def _at(moment: float, send: Callable[[], object]) -> Callable[[], object]:
    def wait_and_send() -> object:
        until(lambda: time.time() >= moment, "its moment")
        return send()

    return wait_and_send


def test_a_locked_database(service: RunningService) -> None:
    """Another process holds the database for longer than the service waits: it lives, and nothing is lost."""
    client = service.client()
    key_id, material = client.external_key(), secrets.token_bytes(32)
    request = importing(client, key_id, material)
    with contextlib.closing(sqlite3.connect(service.instance.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(at_once, request)
            while not wait([answer], timeout=0.5).done:
                assert service.get("/healthz")[0] == 200
                assert service.get("/readyz")[0] == 200
        assert answer.result() == [LATER]
        other.execute("ROLLBACK")
    assert (client.state(key_id), service.attempts(key_id)) == ("PendingImport", 0)
    assert at_once(request) == [DONE]
    assert client.state(key_id) == "Enabled"
