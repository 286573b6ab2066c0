"""One deployment, one account, one key: what is done through one cloud's API holds in the other's."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from tests.e2e.huawei_client import HuaweiClient
from tests.e2e.tencent_client import TencentClient
from tests.e2e.ways_of_ceremony import unwrappable

if TYPE_CHECKING:
    from tests.e2e.cloud_client import CloudClient
    from tests.e2e.running import RunningService

LATEST_EXPIRY: Final = 2147443200
MATERIAL: Final = secrets.token_bytes(32)
STATES: Final = {"Enabled": "2", "Disabled": "3", "PendingDelete": "4", "PendingImport": "5"}
MISMATCH: Final = {TencentClient: "InvalidParameterValue.MaterialNotMatch", HuaweiClient: "KMS.2606"}
TOKEN_OVER: Final = {TencentClient: "ResourceUnavailable.TokenExpired", HuaweiClient: "KMS.2601"}


class Clouds(NamedTuple):
    """Clients of the same credential, in one order and then in the other."""

    one: CloudClient
    other: CloudClient

    @property
    def tencent(self) -> TencentClient:
        """Tencent's."""
        (found,) = (each for each in self if isinstance(each, TencentClient))
        return found

    @property
    def huawei(self) -> HuaweiClient:
        """Huawei's."""
        (found,) = (each for each in self if isinstance(each, HuaweiClient))
        return found

    def state(self, key_id: str) -> str:
        """Return the key's state, on which both must agree, as on all else that both show."""
        tencent, huawei = self.tencent.describe(key_id), self.huawei.describe(key_id)
        assert huawei.key_state == STATES[tencent.KeyState]
        assert (huawei.key_id, huawei.domain_id) == (key_id, tencent.CreatorUinString)
        assert (huawei.key_alias, huawei.key_description) == (tencent.Alias, tencent.Description)
        assert {"external": "EXTERNAL", "kms": "TENCENT_KMS"}[huawei.origin] == tencent.Origin
        assert huawei.key_usage == tencent.KeyUsage
        seconds = (tencent.CreateTime, tencent.ValidTo, tencent.DeletionDate)
        dates = (huawei.creation_date, huawei.expiration_time, huawei.scheduled_deletion_date)
        assert tuple(int(each or 0) // 1000 for each in dates) == seconds
        return str(tencent.KeyState)


@pytest.fixture(params=["tencent-huawei", "huawei-tencent"])
def clouds(request: pytest.FixtureRequest, service: RunningService) -> Clouds:
    """Both clients."""
    tencent, huawei = service.client(), service.huawei()
    return Clouds(tencent, huawei) if request.param == "tencent-huawei" else Clouds(huawei, tencent)


def refuse(client: CloudClient, key_id: str, codes: dict[Any, str]) -> None:
    """Bring other material, and be told so."""
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, secrets.token_bytes(32))
    assert client.import_code(key_id, parameters, encrypted) == codes[type(client)]


def test_material_is_brought_by_one_and_deleted_and_brought_again_by_the_other(clouds: Clouds) -> None:
    one, other = clouds
    key_id = one.external_key()
    assert clouds.state(key_id) == "PendingImport"
    one.bring(key_id, MATERIAL, LATEST_EXPIRY)
    assert clouds.state(key_id) == "Enabled"
    other.delete_material(key_id)
    assert clouds.state(key_id) == "PendingImport"
    for each in clouds:
        refuse(each, key_id, MISMATCH)
        assert clouds.state(key_id) == "PendingImport"
    other.bring(key_id, MATERIAL)
    assert clouds.state(key_id) == "Enabled"


def test_a_key_is_switched_by_one_and_back_by_the_other(clouds: Clouds) -> None:
    one, other = clouds
    key_id = one.external_key()
    other.bring(key_id, MATERIAL)
    one.disable(key_id)
    assert clouds.state(key_id) == "Disabled"
    other.enable(key_id)
    assert clouds.state(key_id) == "Enabled"


def test_a_generated_key_is_the_same_on_both(clouds: Clouds) -> None:
    key_id = clouds.one.generated_key()
    assert clouds.state(key_id) == "Enabled"
    assert clouds.tencent.code("DeleteImportedKeyMaterial", KeyId=key_id) == "UnsupportedOperation.NotExternalCmk"
    assert clouds.huawei.failure(clouds.huawei.delete_material, key_id).code == "KMS.0309"


def test_a_deletion_is_scheduled_by_one_and_cancelled_by_the_other(clouds: Clouds) -> None:
    key_id = clouds.one.external_key()
    clouds.other.bring(key_id, MATERIAL)
    clouds.one.disable(key_id)
    clouds.one.schedule_deletion(key_id)
    assert clouds.state(key_id) == "PendingDelete"
    clouds.other.cancel_deletion(key_id)
    assert clouds.state(key_id) == "Disabled"
    clouds.other.enable(key_id)
    assert clouds.state(key_id) == "Enabled"


# --- import tokens -----------------------------------------------------------------------------------------


def test_an_import_token_of_one_is_used_through_the_other_and_spent_on_both(clouds: Clouds) -> None:
    one, other = clouds
    key_id = one.external_key()
    parameters = one.parameters(key_id)
    other.import_(key_id, parameters, other.wrapped(parameters, MATERIAL))
    assert clouds.state(key_id) == "Enabled"
    one.delete_material(key_id)
    for each in clouds:
        again = each.wrapped(parameters, MATERIAL)
        assert each.import_code(key_id, parameters, again) == TOKEN_OVER[type(each)]
    assert clouds.state(key_id) == "PendingImport"


def test_failures_through_both_exhaust_one_import_token(clouds: Clouds, service: RunningService) -> None:
    one, other = clouds
    key_id = one.external_key()
    parameters = other.parameters(key_id)
    for _ in range(5):
        for each in clouds:
            each.import_code(key_id, parameters, unwrappable())
    assert service.attempts(key_id) == 10
    for each in clouds:
        good = each.wrapped(parameters, MATERIAL)
        assert each.import_code(key_id, parameters, good) == TOKEN_OVER[type(each)]


def test_newer_import_tokens_of_one_supersede_those_of_the_other(clouds: Clouds) -> None:
    one, other = clouds
    key_id = one.external_key()
    parameters = one.parameters(key_id)
    for _ in range(3):
        other.parameters(key_id)
    encrypted = one.wrapped(parameters, MATERIAL)
    for each in clouds:
        assert each.import_code(key_id, parameters, encrypted) == TOKEN_OVER[type(each)]


def test_an_identical_retry_is_answered_though_the_key_is_enabled_by_then(
    clouds: Clouds, service: RunningService
) -> None:
    one, other = clouds
    key_id = one.external_key()
    parameters = one.parameters(key_id)
    encrypted = one.wrapped(parameters, MATERIAL)
    before = service.verbs("ImportMaterial")
    one.import_(key_id, parameters, encrypted, LATEST_EXPIRY)
    assert clouds.state(key_id) == "Enabled"
    for each in (one, other, one):
        each.import_(key_id, parameters, encrypted, LATEST_EXPIRY)
    assert clouds.huawei.answer.json() == {}
    assert service.verbs("ImportMaterial") == before + 1, "a retry does not reach the token"
    assert clouds.state(key_id) == "Enabled"
    another = one.wrapped(parameters, MATERIAL)
    assert clouds.huawei.import_code(key_id, parameters, another, LATEST_EXPIRY) == "KMS.0310"
    assert clouds.tencent.import_code(key_id, parameters, another, LATEST_EXPIRY) == TOKEN_OVER[TencentClient]


# --- what is the account's ---------------------------------------------------------------------------------


def test_an_alias_is_taken_for_both(clouds: Clouds) -> None:
    tencent, huawei = clouds.tencent, clouds.huawei
    alias = tencent.describe(clouds.one.external_key()).Alias
    assert tencent.code("CreateKey", Alias=alias, Type=2) == "InvalidParameterValue.AliasAlreadyExists"
    assert huawei.failure(huawei.call, "create_key", key_alias=alias).code == "KMS.1104"


def test_labels_that_only_one_cloud_can_give_are_shown_by_the_other(clouds: Clouds) -> None:
    key_id = clouds.one.external_key()
    alias = f"evs/{secrets.token_hex(100)}"
    clouds.huawei.call("update_key_alias", key_id=key_id, key_alias=alias)
    clouds.huawei.call("update_key_description", key_id=key_id, key_description="\u8bf4\u660e")
    assert clouds.state(key_id) == "PendingImport"
    assert clouds.tencent.describe(key_id).Alias == alias


def test_both_list_the_same_keys(clouds: Clouds) -> None:
    made = clouds.one.external_key()
    count = clouds.huawei.call("show_user_instances").instance_num
    keys = clouds.huawei.call("list_keys", limit=10, marker=max(0, count - 10)).keys
    newest_first = clouds.tencent.call("ListKeyDetail", Limit=10).KeyMetadatas
    assert [each.KeyId for each in newest_first] == keys[::-1]
    assert keys[-1] == made
