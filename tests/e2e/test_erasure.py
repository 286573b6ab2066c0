"""What is deleted is gone from the database's files within a minute."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.database_file import files_with, is_deleted, material_record, pair_of, pair_record
from tests.e2e.running import Instance, hsmkms, until
from tests.e2e.worlds import TencentWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import RunningService

ERASED_SECONDS: Final = 60.0
EXPIRY_SECONDS: Final = 3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with a pair for each ticket."""
    instance = Instance.make(tmp_path_factory.mktemp("erasure") / "instance", extra="")
    with instance.serving() as running:
        yield running


def demand_erased(instance: Instance, record: bytes) -> None:
    """Demand that nothing of `record` is left in time, and that what was not deleted would still be found."""
    until(lambda: not files_with(instance, record), "the deleted record is gone", ERASED_SECONDS)
    # Once more: while it was copied from the WAL into the database, the first look could have missed it in both.
    assert files_with(instance, record) == set()


def key_shown(instance: Instance, key_id: str) -> dict[str, Any]:
    """Return what `hsmkms key show` says."""
    return dict(json.loads(hsmkms("key", "show", "--config", str(instance.config), key_id, "--json").stdout))


def test_deleted_material(served: RunningService) -> None:
    client, instance = served.client(), served.instance
    key_id, kept_key_id = client.external_key(), client.external_key()
    client.bring(key_id, secrets.token_bytes(32))
    client.bring(kept_key_id, secrets.token_bytes(32))
    record, kept = material_record(instance, key_id), material_record(instance, kept_key_id)
    assert files_with(instance, record)
    client.call("DeleteImportedKeyMaterial", KeyId=key_id)
    demand_erased(instance, record)
    assert files_with(instance, kept), "the search finds what is there"


def test_expired_material(served: RunningService) -> None:
    client, instance = served.client(), served.instance
    key_id = client.external_key()
    valid_to = int(time.time()) + EXPIRY_SECONDS
    client.bring(key_id, secrets.token_bytes(32), valid_to)
    record = material_record(instance, key_id)
    assert files_with(instance, record)
    until(lambda: client.state(key_id) == "PendingImport", "it expires", 2 * EXPIRY_SECONDS)
    assert time.time() >= valid_to
    demand_erased(instance, record)


def test_material_replaced_by_the_same_material(served: RunningService) -> None:
    client, instance = served.client(), served.instance
    key_id, material = client.external_key(), secrets.token_bytes(32)
    client.bring(key_id, material)
    record = material_record(instance, key_id)
    assert files_with(instance, record)
    client.bring(key_id, material)
    replacement = material_record(instance, key_id)
    assert replacement != record
    demand_erased(instance, record)
    assert files_with(instance, replacement), "the search finds what is there"


def test_a_key_whose_deletion_is_due(served: RunningService) -> None:
    world, instance = TencentWorld.of(served), served.instance
    client, huawei = world.client, served.huawei()
    key_id, alias = client.external_key(), f"doomed-{secrets.token_hex(4)}"
    client.bring(key_id, secrets.token_bytes(32))
    client.call("UpdateAlias", KeyId=key_id, Alias=alias)
    record = material_record(instance, key_id)
    count = huawei.call("show_user_instances").instance_num
    client.disable(key_id)
    client.schedule_deletion(key_id)
    assert key_shown(instance, key_id)["state"] == "PendingDelete"
    assert files_with(instance, record), "until then it can be kept, with its material"
    world.let_deletion_be_due(key_id)
    # Nobody has to wait for the background pass: it only makes the rows say what is true already.
    assert client.failure(client.describe, key_id).code == "ResourceUnavailable.CmkNotFound"
    assert huawei.failure(huawei.describe, key_id).code == "KMS.0207"
    until(lambda: is_deleted(instance, key_id), "the key is deleted", ERASED_SECONDS)
    assert huawei.call("show_user_instances").instance_num == count - 1
    assert client.failure(client.cancel_deletion, key_id).code == "ResourceUnavailable.CmkNotFound"
    shown = key_shown(instance, key_id)
    assert (shown["state"], shown["account"], shown["origin"]) == ("Deleted", client.keys["account"], "external")
    assert shown["created_at"] <= shown["deleted_at"]
    client.call("CreateKey", Alias=alias, Type=2)
    demand_erased(instance, record)


def test_the_private_half_of_a_pair_after_its_last_ticket(served: RunningService) -> None:
    client, instance = served.client(), served.instance
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    record = pair_record(instance, pair_of(instance, key_id))
    assert files_with(instance, record)
    client.import_(key_id, parameters, client.wrapped(parameters, secrets.token_bytes(32)))
    demand_erased(instance, record)
