"""The life of a key beside its material, as clients of both official SDKs see it, on tokens of any ability."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from tencentcloud.kms.v20190118 import models

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.huawei_client import HuaweiClient
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

DAY: Final = 86_400
NOT_FOUND: Final = "ResourceUnavailable.CmkNotFound"


# --- Tencent ----------------------------------------------------------------------------------------------


def test_several_keys_are_switched_at_once_or_none(client: TencentClient, stranger: TencentClient) -> None:
    keys = [client.generated_key() for _ in range(3)]
    for action, state in (("DisableKeys", "Disabled"), ("DisableKeys", "Disabled"), ("EnableKeys", "Enabled")):
        client.call(action, KeyIds=keys)
        assert [client.state(key_id) for key_id in keys] == [state] * 3
    assert client.code("DisableKeys", KeyIds=[*keys, stranger.generated_key()]) == NOT_FOUND
    assert [client.state(key_id) for key_id in keys] == ["Enabled"] * 3


@pytest.mark.parametrize("days", [7, "30"])
def test_a_deletion_is_scheduled_and_cancelled(client: TencentClient, days: Any) -> None:
    key_id = client.generated_key()
    client.disable(key_id)
    before = int(time.time())
    answer = client.schedule_deletion(key_id, days)
    assert before <= answer.DeletionDate - int(days) * DAY <= time.time()
    shown = client.describe(key_id)
    assert (shown.KeyState, shown.DeletionDate) == ("PendingDelete", answer.DeletionDate)
    client.cancel_deletion(key_id)
    shown = client.describe(key_id)
    assert (shown.KeyState, shown.DeletionDate) == ("Disabled", 0)


def test_a_key_that_is_to_be_deleted_takes_no_import_though_it_is_kept_then(client: TencentClient) -> None:
    key_id = client.external_key()
    client.bring(key_id, material := secrets.token_bytes(32))
    client.disable(key_id)
    client.enable(key_id)
    parameters = client.parameters(key_id)
    client.disable(key_id)
    client.schedule_deletion(key_id)
    client.cancel_deletion(key_id)
    client.enable(key_id)
    encrypted = client.wrapped(parameters, material)
    assert client.import_code(key_id, parameters, encrypted) == "ResourceUnavailable.TokenExpired"
    client.bring(key_id, material)
    assert client.state(key_id) == "Enabled"


@pytest.mark.parametrize("on", [True, False])
def test_a_key_comes_out_of_the_archive_as_it_went_in(client: TencentClient, *, on: bool) -> None:
    key_id = client.generated_key()
    if not on:
        client.disable(key_id)
    client.call("ArchiveKey", KeyId=key_id)
    assert client.state(key_id) == "Archived"
    client.call("CancelKeyArchive", KeyId=key_id)
    assert client.state(key_id) == ("Enabled" if on else "Disabled")


def test_keys_are_listed_by_the_states_of_their_life(client: TencentClient, huawei: HuaweiClient) -> None:
    doomed, archived = client.generated_key(), client.generated_key()
    listed = client.call("ListKeys").TotalCount
    client.disable(doomed)
    client.schedule_deletion(doomed)
    client.call("ArchiveKey", KeyId=archived)
    for key_id, state in ((doomed, 3), (archived, 5)):
        newest = client.call("ListKeyDetail", KeyState=state, Limit=1).KeyMetadatas
        assert [each.KeyId for each in newest] == [key_id]
    assert client.call("ListKeys").TotalCount == listed - 2, "ListKeys has neither"
    assert doomed in huawei.call("list_keys", key_state="4", limit="1000").keys
    assert huawei.state(archived) == "7"


def test_a_key_is_given_another_alias_and_description(client: TencentClient) -> None:
    key_id, alias, description = client.external_key(), f"s-{secrets.token_hex(8)}", "\u8bf4\u660e"
    before = client.describe(key_id).Alias
    for _ in range(2):  # the second changes nothing, and is no error
        client.call("UpdateAlias", KeyId=key_id, Alias=alias)
        client.call("UpdateKeyDescription", KeyId=key_id, Description=description)
    shown = client.describe(key_id)
    assert (shown.Alias, shown.Description) == (alias, description)
    client.call("CreateKey", Alias=before, Type=2)  # which is free now


def test_no_key_is_rotated(client: TencentClient, huawei: HuaweiClient) -> None:
    # That none can be: ways_of_tencent_uses.
    for key_id in (client.external_key(), client.generated_key()):
        client.call("DisableKeyRotation", KeyId=key_id)
        assert client.is_rotated(key_id) is huawei.is_rotated(key_id) is False
    answer = huawei.call("show_key_rotation_status", key_id=key_id)
    assert (answer.number_of_rotations, answer.last_rotation_time, answer.key_materials) == (0, "", [])


# --- tags -------------------------------------------------------------------------------------------------


def tags(**pairs: str) -> list[Any]:
    made = []
    for name, value in pairs.items():
        tag = models.Tag()
        tag.TagKey, tag.TagValue = name, value
        made.append(tag)
    return made


def wanted(name: str, *values: str) -> Any:
    tag_filter = models.TagFilter()
    tag_filter.TagKey = name
    if values:
        tag_filter.TagValue = list(values)
    return tag_filter


@pytest.fixture(scope="module")
def tagger(service: RunningService) -> TencentClient:
    """A client of an account whose keys only this test makes."""
    return service.client(service.instance.another_credential(f"tagger-{secrets.token_hex(3)}"))


@pytest.fixture(scope="module")
def tagged(tagger: TencentClient) -> dict[str, str]:
    """Keys by their aliases, oldest first."""
    pairs: dict[str, dict[str, str]] = {
        "none": {},
        "test": {"stage": "test"},
        "live": {"stage": "live", "team": "\u652f\u4ed8"},
        "most": {f"t{number}": "x" for number in range(50)},
    }
    return {
        alias: str(tagger.call("CreateKey", Alias=alias, Type=2, Tags=tags(**each)).KeyId)
        for alias, each in pairs.items()
    }


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], ["none", "test", "live", "most"]),
        ([wanted("stage")], ["test", "live"]),
        ([wanted("stage", "live")], ["live"]),
        ([wanted("stage", "live", "test")], ["test", "live"]),
        ([wanted("stage"), wanted("team")], ["live"]),
        ([wanted("stage", "test"), wanted("team")], []),
        ([wanted("team", "\u652f\u4ed8")], ["live"]),
        ([wanted("Stage")], []),
        ([wanted("stage", "tes")], []),
        ([wanted("t49", "x")], ["most"]),
    ],
    ids=lambda value: ",".join(value) if value and isinstance(value[0], str) else "filter",
)
def test_keys_are_found_by_their_tags(
    tagger: TencentClient, tagged: dict[str, str], filters: list[Any], expected: list[str]
) -> None:
    answer = tagger.call("ListKeyDetail", OrderType=1, TagFilters=filters)
    assert [each.KeyId for each in answer.KeyMetadatas] == [tagged[alias] for alias in expected]
    assert answer.TotalCount == len(expected)


# --- Huawei -----------------------------------------------------------------------------------------------


def enabled(huawei: HuaweiClient) -> str:
    return huawei.generated_key()


def disabled(huawei: HuaweiClient) -> str:
    key_id = huawei.generated_key()
    huawei.disable(key_id)
    return key_id


def pending_import(huawei: HuaweiClient) -> str:
    return huawei.external_key()


@pytest.mark.parametrize("days", [7, 1096])
@pytest.mark.parametrize(("make", "kept"), [(enabled, "3"), (disabled, "3"), (pending_import, "5")])
def test_a_deletion_is_scheduled_and_cancelled_in_huaweis_way(
    huawei: HuaweiClient, make: Callable[[HuaweiClient], str], kept: str, days: int
) -> None:
    key_id = make(huawei)
    before = int(time.time() * 1000)
    huawei.schedule_deletion(key_id, days)
    assert huawei.answer.json() == {"key_id": key_id, "key_state": "4"}
    shown = huawei.describe(key_id)
    assert before <= int(shown.scheduled_deletion_date) - days * DAY * 1000 <= time.time() * 1000
    assert shown.key_state == "4"
    huawei.cancel_deletion(key_id)
    assert huawei.answer.json() == {"key_id": key_id, "key_state": kept}
    shown = huawei.describe(key_id)
    assert (shown.key_state, shown.scheduled_deletion_date) == (kept, "")
