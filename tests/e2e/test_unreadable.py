"""Ciphertexts that must not be read: without their material, and with anything wrong, which nobody can tell apart."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.database_file import is_deleted
from tests.e2e.forgeries import flipped, forged, moved
from tests.e2e.running import until
from tests.e2e.ways_of_uses import PLAINTEXT
from tests.e2e.worlds import HuaweiWorld, TencentWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient, Failure
    from tests.e2e.running import RunningService
    from tests.e2e.worlds import World

PAIRS: Final = {"purpose": "test"}
TEXT: Final = "test"
NO_MATERIAL: Final = {"tencent": "ResourceUnavailable.CmkStateNotSupport", "huawei": "KMS.0310"}
INVALID: Final = {"tencent": "InvalidParameterValue.InvalidCiphertext", "huawei": "KMS.0308"}
EXPIRY_SECONDS: Final = 3
LEAST_BYTES: Final = 118
"""Of a ciphertext: 38 before what is encrypted, of that 64, and the tag."""

pytestmark = pytest.mark.parametrize("service", ["softhsm"], indirect=True)


@pytest.fixture
def clients(service: RunningService) -> dict[str, CloudClient]:
    """Both clients of one credential, by the names of the clouds."""
    return {"tencent": service.client(), "huawei": service.huawei()}


@pytest.fixture(params=["tencent", "huawei"])
def cloud(request: pytest.FixtureRequest) -> str:
    """The name of a cloud."""
    return str(request.param)


@pytest.fixture(scope="module")
def keys(service: RunningService) -> dict[str, str]:
    """A credential of another account than the instance's own."""
    return service.instance.another_credential(f"unreadable-{secrets.token_hex(3)}")


@pytest.fixture
def world(cloud: str, service: RunningService, keys: dict[str, str]) -> World[Any]:
    """Clients of two accounts."""
    of: Callable[..., World[Any]] = {"tencent": TencentWorld.of, "huawei": HuaweiWorld.of}[cloud]
    return of(service, keys)


# --- without its material --------------------------------------------------------------------------------


def lose_by_deletion(client: CloudClient, key_id: str, _material: bytes) -> None:
    client.delete_material(key_id)


def lose_by_expiry(client: CloudClient, key_id: str, material: bytes) -> None:
    client.delete_material(key_id)
    client.bring(key_id, material, valid_to=int(time.time()) + EXPIRY_SECONDS)
    until(lambda: client.state(key_id) in {"PendingImport", "5"}, "it expires", 2 * EXPIRY_SECONDS)


@pytest.mark.parametrize("lose", [lose_by_deletion, lose_by_expiry])
def test_it_is_readable_again_when_the_same_material_is_back(
    clients: dict[str, CloudClient], cloud: str, lose: Callable[[CloudClient, str, bytes], None]
) -> None:
    one = clients[cloud]
    (other,) = (client for name, client in clients.items() if name != cloud)
    key_id, material = one.external_key(), secrets.token_bytes(32)
    one.bring(key_id, material)
    ciphertext, made = one.encrypt(key_id, PLAINTEXT), one.data_key(key_id)
    lose(other, key_id, material)
    for name, client in clients.items():
        for unreadable in (ciphertext, made.ciphertext):
            assert client.failure(client.decrypt, unreadable).code == NO_MATERIAL[name]
            assert client.failure(client.re_encrypt, unreadable, key_id).code == NO_MATERIAL[name]
        assert client.failure(client.encrypt, key_id, PLAINTEXT).code == NO_MATERIAL[name]
    other.bring(key_id, material)
    for client in clients.values():
        assert client.decrypt(ciphertext) == PLAINTEXT
        assert client.decrypt(made.ciphertext) == made.plaintext


# --- with anything wrong ---------------------------------------------------------------------------------


def refused_alike(client: CloudClient, name: str, failures: dict[str, Failure]) -> Failure:
    """Return what all of them were told; it must be one and the same."""
    told = set(failures.values())
    assert len(told) == 1, failures
    (failure,) = told
    assert failure == client.failure(client.decrypt, b"no ciphertext at all")
    assert failure.code == INVALID[name]
    return failure


def test_every_byte_counts(clients: dict[str, CloudClient], cloud: str) -> None:
    client = clients[cloud]
    key_id = client.generated_key()
    ciphertext = client.encrypt(key_id, PLAINTEXT, PAIRS)
    assert len(ciphertext) == LEAST_BYTES
    failures = {
        f"byte {position}": client.failure(client.decrypt, flipped(ciphertext, position), PAIRS)
        for position in range(LEAST_BYTES)
    }
    refused_alike(client, cloud, failures)
    assert client.decrypt(ciphertext, PAIRS) == PLAINTEXT


def twins(client: CloudClient) -> tuple[str, str]:
    """Return two keys with the same material."""
    material = secrets.token_bytes(32)
    key_ids = client.external_key(), client.external_key()
    for key_id in key_ids:
        client.bring(key_id, material)
    return key_ids


def test_nobody_learns_what_is_wrong(world: World[Any], cloud: str) -> None:
    client: CloudClient = world.client
    key_id, twin = twins(client)
    plain, bound = client.encrypt(key_id, PLAINTEXT), client.encrypt(key_id, PLAINTEXT, PAIRS)
    theirs = world.stranger.encrypt(world.stranger.generated_key(), PLAINTEXT)
    wrong: dict[str, tuple[bytes, dict[str, str] | None]] = {
        "nothing": (b"", None),
        "another's form": (secrets.token_bytes(LEAST_BYTES), None),
        "a byte less": (plain[:-1], None),
        "a byte more": (plain + b"\0", None),
        "far too long": (plain + bytes(5000), None),
        "an unknown key": (moved(plain, str(uuid.uuid4())), None),
        "another account's": (theirs, None),
        "moved to another account's key": (moved(plain, world.stranger.generated_key()), None),
        "moved to another key": (moved(plain, client.generated_key()), None),
        "moved to a key of the same material": (moved(plain, twin), None),
        "another generation": (forged(key_id, generation=2), None),
        "forged": (forged(key_id), None),
        "a context where there was none": (plain, PAIRS),
        "no context where there was one": (bound, None),
        "another value": (bound, {"purpose": "Test"}),
        "another name": (bound, {"Purpose": "test"}),
        "name and value exchanged": (bound, {"test": "purpose"}),
        "one pair more": (bound, {**PAIRS, "a": "b"}),
        "the tag of another": (plain[:-16] + bound[-16:], None),
    }
    failures = {name: client.failure(client.decrypt, *case) for name, case in wrong.items()}
    sent = base64.b64encode(theirs).decode()
    failures["re-encryption"] = client.failure(client.re_encrypt, theirs, key_id)
    failures["re-encryption, forged"] = client.failure(client.re_encrypt, forged(key_id), twin)
    if isinstance(world, TencentWorld):
        failures["no base64"] = world.sdk("Decrypt", CiphertextBlob="no base64!")
    elif isinstance(world, HuaweiWorld):
        failures["no base64"] = world.sdk("decrypt_data", cipher_text="no base64!")
        failures["another key named"] = world.sdk("decrypt_data", key_id=key_id, cipher_text=sent)
        named = base64.b64encode(plain).decode()
        failures["the twin named"] = world.sdk("decrypt_data", key_id=twin, cipher_text=named)
        fields = {"key_id": twin, "cipher_text": plain.hex(), "datakey_cipher_length": "8"}
        failures["the twin named for a data key"] = world.json("decrypt_datakey", fields)
    refused_alike(client, cloud, failures)
    assert client.decrypt(plain) == client.decrypt(bound, PAIRS) == PLAINTEXT


def test_contexts_of_different_kinds_are_never_equal(service: RunningService) -> None:
    tencent, huawei = service.client(), service.huawei()
    key_id = tencent.generated_key()
    fields = {"key_id": key_id, "plain_text": "text", "additional_authenticated_data": TEXT}
    of_text = base64.b64decode(huawei.call("encrypt_data", **fields).cipher_text)
    of_pairs = base64.b64encode(tencent.encrypt(key_id, PLAINTEXT, PAIRS)).decode()
    like_pairs = '{"purpose":"test"}'
    for each, name in ((tencent, "tencent"), (huawei, "huawei")):
        contexts: tuple[dict[str, str] | None, ...] = (None, PAIRS, {TEXT: ""}, {"": TEXT})
        refused_alike(each, name, {str(each_): each.failure(each.decrypt, of_text, each_) for each_ in contexts})
    texts = {
        text: huawei.failure(huawei.call, "decrypt_data", cipher_text=of_pairs, additional_authenticated_data=text)
        for text in (TEXT, like_pairs, "purposetest")
    }
    refused_alike(huawei, "huawei", texts)


def test_of_a_deleted_key_nobody_learns_that_it_was_there(
    service: RunningService, clients: dict[str, CloudClient]
) -> None:
    world = TencentWorld.of(service)
    key_id, never_was = world.client.generated_key(), str(uuid.uuid4())
    ciphertext = world.client.encrypt(key_id, PLAINTEXT)
    world.client.disable(key_id)
    world.client.schedule_deletion(key_id)
    world.let_deletion_be_due(key_id)
    at_once = {name: client.failure(client.decrypt, ciphertext) for name, client in clients.items()}
    until(lambda: is_deleted(service.instance, key_id), "it is deleted")
    for name, client in clients.items():
        failures = {
            "at once": at_once[name],
            "when it is deleted": client.failure(client.decrypt, ciphertext),
            "when it never was": client.failure(client.decrypt, forged(never_was)),
        }
        refused_alike(client, name, failures)
        assert client.failure(client.describe, key_id) == client.failure(client.describe, never_was)
