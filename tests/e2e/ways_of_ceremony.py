"""Requests of the ceremony that both clouds refuse: for what key, import token, ciphertext or surroundings are."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import time
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.running import GET_PARAMETERS_BURST, KEYS_PER_ACCOUNT, until
from tests.e2e.ways import Attempt, Codes, WorldT, add, reaches
from tests.e2e.worlds import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient, Failure, ImportParameters

    AnyWorld = World[CloudClient]
    Call = Callable[[AnyWorld, str, ImportParameters], Failure]

MODULUS_BYTES: Final = 256

# --- the token's verdict --------------------------------------------------------------------------------


def unwrappable() -> str:
    """Return what no pair unwraps, and is below every modulus."""
    return base64.b64encode(b"\1" + secrets.token_bytes(MODULUS_BYTES - 1)).decode()


@reaches(tencent="InvalidParameter.DecryptMaterialError", huawei="KMS.0311")
def random_bytes_as_ciphertext(world: AnyWorld) -> Attempt:
    key_id, parameters, _encrypted = world.ready()
    return Attempt(lambda: world.import_(key_id, parameters, unwrappable()), key_id, says="import parameters")


@reaches(tencent="InvalidParameter.DecryptMaterialError", huawei="KMS.0311")
def a_ciphertext_not_below_the_modulus(world: AnyWorld) -> Attempt:
    key_id, parameters, _encrypted = world.ready()
    encrypted = base64.b64encode(b"\xff" * MODULUS_BYTES).decode()
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id)


@reaches(tencent="InvalidParameter.DecryptMaterialError", huawei="KMS.2604")
def material_of_a_wrong_length(world: AnyWorld) -> Attempt:
    key_id, parameters, _encrypted = world.ready()
    bits = 8 * world.service.instance.material_bytes
    encrypted = world.client.wrapped(parameters, world.material()[:-1])
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says=f"{bits} bits")


@reaches(tencent="InvalidParameterValue.MaterialNotMatch", huawei="KMS.2606")
def other_material_than_what_was_deleted(world: AnyWorld) -> Attempt:
    key_id = world.enabled_key()
    world.client.delete_material(key_id)
    parameters = world.client.parameters(key_id)
    encrypted = world.client.wrapped(parameters, world.material())
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="differs")


# --- whose import token ---------------------------------------------------------------------------------


@reaches(tencent="InvalidParameter", huawei="KMS.2605")
def an_unknown_import_token(world: AnyWorld) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    token = base64.b64encode(secrets.token_bytes(len(base64.b64decode(parameters.import_token)))).decode()
    forged = replace(parameters, import_token=token)
    return Attempt(lambda: world.import_(key_id, forged, encrypted), key_id)


@reaches(tencent="InvalidParameter", huawei="KMS.2603")
def an_import_token_of_another_account(world: AnyWorld) -> Attempt:
    key_id, _parameters, _encrypted = world.ready()
    _other, parameters, encrypted = world.ready(world.stranger)
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id)


@reaches(tencent="InvalidParameter", huawei="KMS.2603")
def an_import_token_of_another_key(world: AnyWorld) -> Attempt:
    key_id, _parameters, _encrypted = world.ready()
    _other, parameters, encrypted = world.ready()
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id)


# --- which key ------------------------------------------------------------------------------------------


def _import(world: AnyWorld, key_id: str, parameters: ImportParameters) -> Failure:
    return world.import_(key_id, parameters, world.client.wrapped(parameters, world.material()))


IMPORT_CALLS: Final[dict[str, Call]] = {
    "get_parameters": lambda world, key_id, _: world.client.failure(world.client.parameters, key_id),
    "import": _import,
    "delete_material": lambda world, key_id, _: world.client.failure(world.client.delete_material, key_id),
}
KEY_CALLS: Final[dict[str, Call]] = {
    **IMPORT_CALLS,
    "describe": lambda world, key_id, _: world.client.failure(world.client.describe, key_id),
    "enable": lambda world, key_id, _: world.client.failure(world.client.enable, key_id),
    "disable": lambda world, key_id, _: world.client.failure(world.client.disable, key_id),
}


def _on(call: Call, key_id_of: Callable[[AnyWorld], str]) -> Callable[[AnyWorld], Attempt]:
    def prepare(world: AnyWorld) -> Attempt:
        key_id = key_id_of(world)
        _other, parameters, _encrypted = world.ready()
        return Attempt(lambda: call(world, key_id, parameters))

    return prepare


for _name, _call in KEY_CALLS.items():
    _malformed: Codes = {"tencent": "InvalidParameterValue.InvalidKeyId", "huawei": "KMS.0205"}
    add(f"{_name}_of_no_uuid", _on(_call, lambda _world: "alias/demo"), **_malformed)
    add(f"{_name}_of_an_upper_case_uuid", _on(_call, lambda _world: str(uuid.uuid4()).upper()), **_malformed)
    _absent: Codes = {"tencent": "ResourceUnavailable.CmkNotFound", "huawei": "KMS.0207"}
    add(f"{_name}_of_an_unknown_key", _on(_call, lambda _world: str(uuid.uuid4())), **_absent)
    add(f"{_name}_of_another_accounts_key", _on(_call, lambda world: world.stranger.external_key()), **_absent)
for _name, _call in IMPORT_CALLS.items():
    add(
        f"{_name}_of_a_generated_key",
        _on(_call, lambda world: world.client.generated_key()),
        tencent="UnsupportedOperation.NotExternalCmk",
        huawei="KMS.0309",
    )

# --- which state ----------------------------------------------------------------------------------------


def _let_wait_for_deletion(world: AnyWorld, key_id: str) -> None:
    world.client.disable(key_id)  # one cloud asks for it first
    world.client.schedule_deletion(key_id)


_ENTRANCES: Final[dict[str, Callable[[AnyWorld, str], object]]] = {
    "Enabled": lambda _world, _key_id: None,
    "Disabled": lambda world, key_id: world.client.disable(key_id),
    "PendingImport": lambda world, key_id: world.client.delete_material(key_id),
    "PendingDelete": _let_wait_for_deletion,
    "Archived": World.archive,
}


def in_state(state: str, call: Callable[[WorldT, str, ImportParameters], Failure]) -> Callable[[WorldT], Attempt]:
    """Return how a call on a key in a state is prepared; for an import there are good parameters."""

    def prepare(world: WorldT) -> Attempt:
        key_id = world.client.external_key()
        parameters = world.client.parameters(key_id)  # before the key is in a state in which they may be refused
        world.client.bring(key_id, world.material())
        _ENTRANCES[state](world, key_id)
        return Attempt(lambda: call(world, key_id, parameters), key_id, says=f"The key is {state}")

    return prepare


# --- until when -----------------------------------------------------------------------------------------


def expiring(value: object) -> Callable[[AnyWorld], Attempt]:
    """Return how an import of material that expires at `value`, or at what it returns, is prepared."""

    def prepare(world: AnyWorld) -> Attempt:
        key_id, parameters, encrypted = world.ready()
        valid_to = value() if callable(value) else value
        return Attempt(lambda: world.import_(key_id, parameters, encrypted, valid_to), key_id)

    return prepare


# --- the end of an import token -------------------------------------------------------------------------

_over: Final = partial(reaches, tencent="ResourceUnavailable.TokenExpired", huawei="KMS.2601")


@_over(impatient=True)
def its_deadline_passed(world: AnyWorld) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    until(lambda: time.time() >= parameters.valid_to + 1, "deadline")
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="time")


@_over()
def ten_attempts_failed(world: AnyWorld) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    spoilt = unwrappable()
    assert len({world.import_(key_id, parameters, spoilt).code for _ in range(10)}) == 1
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="attempts")


@_over()
def a_fourth_superseded_it(world: AnyWorld) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    for _ in range(3):
        world.client.parameters(key_id)
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="newer")


@_over()
def it_was_spent(world: AnyWorld) -> Attempt:
    key_id, material = world.client.external_key(), world.material()
    parameters = world.client.bring(key_id, material)
    world.client.delete_material(key_id)
    encrypted = world.client.wrapped(parameters, material)  # the same material, another ciphertext
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="used")


# --- how many keys --------------------------------------------------------------------------------------


@reaches(tencent="LimitExceeded.CmkLimitExceeded", huawei="KMS.1105", impatient=True)
def as_many_keys_as_an_account_may_have(world: AnyWorld) -> Attempt:
    full = world.another(f"full-{secrets.token_hex(4)}")
    for _ in range(KEYS_PER_ACCOUNT):
        full.client.external_key()
    return Attempt(lambda: full.client.failure(full.client.external_key), says=str(KEYS_PER_ACCOUNT))


# --- how often ------------------------------------------------------------------------------------------

_GREEDY: Final[dict[int, dict[str, str]]] = {}
"""By the service's port: a credential of an account that asks for more import parameters than it may."""


@reaches(tencent="RequestLimitExceeded", huawei="APIGW.0308", impatient=True)
def more_import_parameters_than_an_account_may_have(world: AnyWorld) -> Attempt:
    port = world.service.instance.port
    if port not in _GREEDY:
        _GREEDY[port] = world.service.instance.another_credential("greedy")
    greedy = world.of(world.service, _GREEDY[port]).client
    key_id = greedy.external_key()

    def ask_until_refused() -> Failure:
        for _ in range(2 * GET_PARAMETERS_BURST):
            with contextlib.suppress(pytest.fail.Exception):  # granted
                return greedy.failure(greedy.parameters, key_id)
        return greedy.failure(greedy.parameters, key_id)

    return Attempt(ask_until_refused, says="import parameters")


# --- bad surroundings -----------------------------------------------------------------------------------


@reaches(tencent="UnsupportedOperation.ServiceTemporaryUnavailable", huawei="KMS.0102", impatient=True)
def every_host_hangs(world: AnyWorld) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    hosts = world.service.pids("host")
    for pid in hosts:
        os.kill(pid, signal.SIGSTOP)

    def undo() -> None:
        for pid in hosts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        world.service.until_ready()

    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="again", undo=undo)


@reaches(tencent="InternalError", huawei="KMS.0101")
def a_pair_that_the_token_will_not_open(world: AnyWorld) -> Attempt:
    broken = world.another(f"broken-{secrets.token_hex(4)}")
    key_id, parameters, encrypted = broken.ready()
    find = "SELECT s.pair_id, s.record FROM pair_secrets s JOIN pairs p USING (pair_id) WHERE p.account = ?"
    change = "UPDATE pair_secrets SET record = ? WHERE pair_id = ?"
    with world.database() as database:
        ((pair_id, record),) = database.execute(find, (broken.client.keys["account"],)).fetchall()
        middle = len(record) // 2
        spoilt = record[:middle] + bytes([record[middle] ^ 1]) + record[middle + 1 :]
        database.execute(change, (spoilt, pair_id))

    def undo() -> None:
        world.enabled_key()  # others are not touched
        assert not world.service.instance.holds_material(key_id)
        with world.database() as database:
            database.execute(change, (record, pair_id))
        broken.client.import_(key_id, parameters, encrypted)
        assert world.service.instance.holds_material(key_id)
        broken.client.delete_material(key_id)

    def send() -> Failure:
        return broken.import_(key_id, parameters, encrypted)

    return Attempt(send, says="request id", undo=undo, leaves_traces=True)
