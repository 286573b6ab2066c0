"""The actions on the life of a key, and tags: wire to command, and what they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hsmkms.core import errors
from hsmkms.core.ids import KeyId
from hsmkms.core.keys import KeyUsage
from hsmkms.core.ports import TagFilter
from hsmkms.dialects.tencent.states import POLICY
from hsmkms.service import commands
from tests.dialects.scripted_service import KEY_ID
from tests.dialects.tencent.test_codec import OTHER_ID, read

if TYPE_CHECKING:
    from hsmkms.service.commands import Command

ONE: dict[str, Any] = {"KeyId": KEY_ID}
TWO: dict[str, Any] = {"KeyIds": [OTHER_ID, KEY_ID]}
BOTH = (KeyId(OTHER_ID), KEY_ID)
LONGEST_KEY = "é" * 127
LONGEST_VALUE = "é" * 255


@pytest.mark.parametrize(
    ("action", "members", "command"),
    [
        ("EnableKeys", TWO, commands.SwitchKeys(BOTH, on=True, policy=POLICY)),
        ("DisableKeys", TWO, commands.SwitchKeys(BOTH, on=False, policy=POLICY)),
        (
            "ScheduleKeyDeletion",
            ONE | {"PendingWindowInDays": 7},
            commands.ScheduleDeletion(KEY_ID, 7, POLICY),
        ),
        (
            "ScheduleKeyDeletion",
            ONE | {"PendingWindowInDays": "30"},
            commands.ScheduleDeletion(KEY_ID, 30, POLICY),
        ),
        ("CancelKeyDeletion", ONE, commands.CancelDeletion(KEY_ID, POLICY)),
        ("ArchiveKey", ONE, commands.ArchiveKey(KEY_ID, archived=True, policy=POLICY)),
        ("CancelKeyArchive", ONE, commands.ArchiveKey(KEY_ID, archived=False, policy=POLICY)),
        ("UpdateAlias", ONE | {"Alias": "b"}, commands.RelabelKey(KEY_ID, alias="b", policy=POLICY)),
        (
            "UpdateKeyDescription",
            ONE | {"Description": ""},
            commands.RelabelKey(KEY_ID, description="", policy=POLICY),
        ),
        (
            "UpdateKeyDescription",
            ONE | {"Description": "é" * 512},
            commands.RelabelKey(KEY_ID, description="é" * 512, policy=POLICY),
        ),
        ("GetKeyRotationStatus", ONE, commands.DescribeKey(KEY_ID)),
        ("DisableKeyRotation", ONE, commands.DescribeKey(KEY_ID)),
        ("EnableKeyRotation", ONE, commands.EnableRotation(KEY_ID)),
        ("EnableKeyRotation", ONE | {"RotateDays": 7}, commands.EnableRotation(KEY_ID)),
        ("EnableKeyRotation", ONE | {"RotateDays": "365", "MemberAccount": {}}, commands.EnableRotation(KEY_ID)),
    ],
)
def test_a_request_becomes_a_command(action: str, members: dict[str, Any], command: Command) -> None:
    assert read(action, members) == command


@pytest.mark.parametrize(
    ("action", "members", "kind", "field"),
    [
        *((action, {}, errors.FieldMissing, "KeyIds") for action in ("EnableKeys", "DisableKeys")),
        *((action, {"KeyIds": []}, errors.FieldInvalid, "KeyIds") for action in ("EnableKeys", "DisableKeys")),
        ("EnableKeys", {"KeyIds": [KEY_ID] * 101}, errors.FieldInvalid, "KeyIds"),
        ("DisableKeys", TWO | {"MemberAccount": {"MemberUin": 1}}, errors.NotOffered, "MemberAccount"),
        ("ScheduleKeyDeletion", ONE, errors.FieldMissing, "PendingWindowInDays"),
        *(
            ("ScheduleKeyDeletion", ONE | {"PendingWindowInDays": days}, errors.FieldInvalid, "PendingWindowInDays")
            for days in (6, 31, "6", "31", 7.0, True, "", "x")
        ),
        *(
            (action, ONE | {"MemberAccount": {"MemberUin": 1}}, errors.NotOffered, "MemberAccount")
            for action in (
                "CancelKeyDeletion",
                "ArchiveKey",
                "CancelKeyArchive",
                "GetKeyRotationStatus",
                "DisableKeyRotation",
            )
        ),
        ("UpdateAlias", ONE, errors.FieldMissing, "Alias"),
        ("UpdateKeyDescription", ONE, errors.FieldMissing, "Description"),
        ("UpdateKeyDescription", ONE | {"Description": "é" * 513}, errors.FieldInvalid, "Description"),
        ("UpdateKeyDescription", ONE | {"Description": "\0"}, errors.FieldInvalid, "Description"),
        ("EnableKeyRotation", ONE | {"RotateDays": 6}, errors.FieldInvalid, "RotateDays"),
        ("EnableKeyRotation", ONE | {"RotateDays": 366}, errors.FieldInvalid, "RotateDays"),
        ("DisableKeyRotation", ONE | {"RotateDays": 7}, errors.FieldUnknown, "RotateDays"),
    ],
)
def test_a_wrong_field_is_named(
    action: str, members: dict[str, Any], kind: type[errors.FieldFault], field: str
) -> None:
    with pytest.raises(kind) as raised:
        read(action, members)
    assert type(raised.value) is kind
    assert raised.value.field == field


@pytest.mark.parametrize("alias", ["", "-a", "a" * 61, "kms-a"])
def test_a_new_alias_is_held_to_the_rule_of_a_first(alias: str) -> None:
    with pytest.raises(errors.AliasInvalid):
        read("UpdateAlias", ONE | {"Alias": alias})


@pytest.mark.parametrize("action", ["EnableKeys", "DisableKeys"])
def test_several_keys_are_different_keys(action: str) -> None:
    with pytest.raises(errors.KeyIdsRepeated):
        read(action, {"KeyIds": [KEY_ID, OTHER_ID, KEY_ID]})


# --- tags -----------------------------------------------------------------------------------------------


def tag(key: object = "a", value: object = "b") -> dict[str, object]:
    return {"TagKey": key, "TagValue": value}


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"a": "b"},
        {"部门": "研发 一部", "cost-centre": "+-=._:/@()[],;<>【】：（）"},  # noqa: RUF001  # as documented
        {LONGEST_KEY: LONGEST_VALUE},
        {f"k{n}": "v" for n in range(50)},
    ],
)
def test_tags_become_the_keys(tags: dict[str, str]) -> None:
    members = {"Alias": "a", "Tags": [tag(name, value) for name, value in tags.items()]}
    assert read("CreateKey", members) == commands.CreateKey("a", tags=tags)


@pytest.mark.parametrize(
    ("tags", "kind", "field"),
    [
        ({}, errors.FieldInvalid, "Tags"),
        (["a"], errors.FieldInvalid, "Tags.0"),
        ([tag(f"k{n}") for n in range(51)], errors.FieldInvalid, "Tags"),
        ([{"TagKey": "a"}], errors.FieldMissing, "Tags.0.TagValue"),
        ([tag(), tag() | {"More": 1}], errors.FieldUnknown, "Tags.1.More"),
        *(
            ([tag(key)], errors.FieldInvalid, "Tags.0.TagKey")
            for key in (1, None, "", " a", "a ", "a\n", "a\0", "é" * 128)
        ),
        *(([tag(key)], errors.FieldInvalid, "Tags.0.TagKey") for key in ("qcs:a", "project", "projects")),
        *(([tag(value=value)], errors.FieldInvalid, "Tags.0.TagValue") for value in (["b"], "", " b", "?", "é" * 256)),
    ],
)
def test_a_tag_against_the_rules_is_refused(tags: object, kind: type[errors.FieldFault], field: str) -> None:
    with pytest.raises(kind) as raised:
        read("CreateKey", {"Alias": "a", "Tags": tags})
    assert type(raised.value) is kind
    assert raised.value.field == field


def test_a_tag_key_given_twice_has_its_own_error() -> None:
    with pytest.raises(errors.TagKeysRepeated):
        read("CreateKey", {"Alias": "a", "Tags": [tag("a", "b"), tag("c", "d"), tag("a", "e")]})


def test_what_a_tag_must_be_is_said() -> None:
    with pytest.raises(errors.FieldInvalid) as raised:
        read("CreateKey", {"Alias": "a", "Tags": [1]})
    assert raised.value.message == "The parameter Tags.0 is invalid: send an object."


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ([], ()),
        ([{"TagKey": "a"}], (TagFilter("a", ()),)),
        ([tag("a", None)], (TagFilter("a", ()),)),
        ([tag("a", [])], (TagFilter("a", ()),)),
        ([tag("a", ["b", "c"]), tag("qcs:x", ["d"])], (TagFilter("a", ("b", "c")), TagFilter("qcs:x", ("d",)))),
    ],
)
def test_tag_filters_become_the_lists(filters: list[dict[str, object]], wanted: tuple[TagFilter, ...]) -> None:
    expected = commands.ListKeys(0, 10, usage=KeyUsage.ENCRYPT_DECRYPT, tags=wanted)
    assert read("ListKeyDetail", {"TagFilters": filters}) == expected


@pytest.mark.parametrize(
    ("filters", "kind", "field"),
    [
        ([{"TagValue": ["b"]}], errors.FieldMissing, "TagFilters.0.TagKey"),
        ([tag("a", "b")], errors.FieldInvalid, "TagFilters.0.TagValue"),
        ([tag("a", ["b", 1])], errors.FieldInvalid, "TagFilters.0.TagValue.1"),
        ([tag("a", ["b"] * 51)], errors.FieldInvalid, "TagFilters.0.TagValue"),
        ([tag("a", ["b"])] * 51, errors.FieldInvalid, "TagFilters"),
    ],
)
def test_a_tag_filter_against_the_rules_is_refused(filters: object, kind: type[errors.FieldFault], field: str) -> None:
    with pytest.raises(kind) as raised:
        read("ListKeyDetail", {"TagFilters": filters})
    assert type(raised.value) is kind
    assert raised.value.field == field
