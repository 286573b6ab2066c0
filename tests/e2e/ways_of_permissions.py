"""Requests that both clouds refuse for what the credential may do: by its roles, and by the keys it is limited to."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from tests.e2e.ways import Attempt, Codes, add

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient, Failure
    from tests.e2e.worlds import World

    AnyWorld = World[CloudClient]
    Call = Callable[[AnyWorld, CloudClient, str], object]

OTHER_KEYS: Final[Codes] = {"tencent": "AuthFailure.UnauthorizedOperation", "huawei": "KMS.0306"}
NO_ROLE: Final[Codes] = {"tencent": "AuthFailure.UnauthorizedOperation", "huawei": "KMS.0307"}
ROLES: Final = "importer,user"

_keys: dict[str, tuple[str, dict[str, str]]] = {}


def _limited(world: AnyWorld) -> tuple[str, CloudClient]:
    """Return the one key that a credential of the stranger's account is for, and a client with that credential.

    The credential is made once for each service: the command that makes it starts a host.
    """
    instance = world.service.instance
    if str(instance.folder) not in _keys:
        key_id = world.stranger.external_key()
        account = world.stranger.keys["account"]
        _keys[str(instance.folder)] = (key_id, instance.another_credential(account, "--key", key_id, roles=ROLES))
    key_id, keys = _keys[str(instance.folder)]
    return key_id, type(world).of(world.service, keys).client


def _row(world: AnyWorld, key_id: str) -> list[tuple[object, ...]]:
    with world.database() as database:
        return database.execute("SELECT * FROM keys WHERE key_id = ?", (key_id,)).fetchall()


def _import(world: AnyWorld, client: CloudClient, key_id: str) -> object:
    _key_id, parameters, encrypted = world.ready(world.stranger)
    return client.import_(key_id, parameters, encrypted)


CALLS: Final[dict[str, Call]] = {
    "get_parameters": lambda _, client, key_id: client.parameters(key_id),
    "import": _import,
    "delete_material": lambda _, client, key_id: client.delete_material(key_id),
    "encrypt": lambda _, client, key_id: client.encrypt(key_id, b"x"),
    "make_a_data_key": lambda _, client, key_id: client.data_key(key_id),
}


def _with_another_key(call: Call, *, exists: bool) -> Callable[[AnyWorld], Attempt]:
    def prepare(world: AnyWorld) -> Attempt:
        _own, client = _limited(world)
        other = world.stranger.external_key() if exists else str(uuid.uuid4())

        def send() -> Failure:
            before = _row(world, other)
            assert bool(before) is exists
            failure = client.failure(call, world, client, other)
            assert _row(world, other) == before
            return failure

        return Attempt(send, says="limited to other keys")

    return prepare


def _without_the_role(call: Call) -> Callable[[AnyWorld], Attempt]:
    def prepare(world: AnyWorld) -> Attempt:
        own, client = _limited(world)
        return Attempt(lambda: client.failure(call, world, client, own), says="it takes the role")

    return prepare


for _name, _call in CALLS.items():
    add(f"{_name}_with_a_key_out_of_scope", _with_another_key(_call, exists=True), **OTHER_KEYS)
    add(f"{_name}_with_no_key_at_all", _with_another_key(_call, exists=False), **OTHER_KEYS)
for _name, _call in {
    "enable": lambda _, client, key_id: client.enable(key_id),
    "schedule_deletion": lambda _, client, key_id: client.schedule_deletion(key_id),
    "create": lambda _, client, _key_id: client.generated_key(),
}.items():
    add(f"{_name}_as_no_admin", _without_the_role(_call), **NO_ROLE)
