"""Requests to use a key, and on its life, that only Tencent's API refuses so: its fields, and states of its policy."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.ways import TENCENT, Attempt
from tests.e2e.ways_of_ceremony import in_state
from tests.e2e.ways_of_tencent_requests import ANY_KEY, INVALID, add_required, sends
from tests.e2e.ways_of_uses import USES, naming

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import Failure
    from tests.e2e.worlds import TencentWorld

STATE: Final = "ResourceUnavailable.CmkStateNotSupport"
PLAINTEXT: Final = base64.b64encode(b"a secret").decode()

# --- which fields ---------------------------------------------------------------------------------------

_ONE_KEY: Final = ("CancelKeyDeletion", "ArchiveKey", "CancelKeyArchive", "GetKeyRotationStatus", "DisableKeyRotation")
_REQUIRED: Final[dict[str, dict[str, Any]]] = {
    **{action: {"KeyId": ANY_KEY} for action in (*_ONE_KEY, "EnableKeyRotation")},
    "EnableKeys": {"KeyIds": [ANY_KEY]},
    "DisableKeys": {"KeyIds": [ANY_KEY]},
    "UpdateAlias": {"KeyId": ANY_KEY, "Alias": "a"},
    "UpdateKeyDescription": {"KeyId": ANY_KEY, "Description": "d"},
    "ScheduleKeyDeletion": {"KeyId": ANY_KEY, "PendingWindowInDays": 7},
    "Encrypt": {"KeyId": ANY_KEY, "Plaintext": PLAINTEXT},
    "Decrypt": {"CiphertextBlob": "SEtN"},
    "ReEncrypt": {"CiphertextBlob": "SEtN"},
    "GenerateDataKey": {"KeyId": ANY_KEY},
    "GenerateRandom": {"NumberOfBytes": 1},
}
add_required(_REQUIRED)
TENCENT.add(
    "MissingParameter",
    "GenerateDataKey_of_no_size",
    sends("GenerateDataKey", {"KeyId": ANY_KEY}, "KeySpec or NumberOfBytes"),
)

_TOO_MUCH: Final = base64.b64encode(bytes(4097)).decode()
_CONTEXTS: Final[tuple[object, ...]] = (
    *("no object", '"text"', '["a"]', '{"a": 1}', '{"a": {"b": "c"}}', '{"a": null}'),
    *('{"a": "b", "a": "b"}', '{"a": "\\ud800"}', f'{{"a": "{"x" * 1016}"}}', 5, {"a": "b"}),
)
_BAD_FIELDS: Final[dict[tuple[str, str], tuple[object, ...]]] = {
    ("Encrypt", "EncryptionContext"): _CONTEXTS,
    ("Decrypt", "EncryptionContext"): ('{"a": 1}',),
    ("ReEncrypt", "SourceEncryptionContext"): ('{"a": 1}',),
    ("ReEncrypt", "DestinationEncryptionContext"): ('{"a": 1}',),
    ("GenerateDataKey", "EncryptionContext"): ('{"a": 1}',),
    ("GenerateDataKey", "KeySpec"): ("AES_512", "aes_256"),
    ("GenerateDataKey", "NumberOfBytes"): (0, 1025, -1, "many", 16.0),
    ("GenerateDataKey", "IsHostedByKms"): (1,),
    ("GenerateDataKey", "DataKeyName"): ("name",),
    ("GenerateDataKey", "Description"): ("of a hosted data key",),
    ("GenerateDataKey", "Tags"): ([{"TagKey": "a", "TagValue": "b"}],),
    ("GenerateDataKey", "HsmClusterId"): ("cls-1",),
    ("GenerateDataKey", "EncryptionPublicKey"): ("MII=",),
    ("GenerateDataKey", "EncryptionAlgorithm"): ("SM2",),
    ("Decrypt", "EncryptionPublicKey"): ("MII=",),
    ("Decrypt", "EncryptionAlgorithm"): ("SM2",),
    ("GenerateRandom", "NumberOfBytes"): (0, 1025, "many"),
    ("EnableKeyRotation", "RotateDays"): (6, 366),
    ("UpdateKeyDescription", "Description"): ("x" * 1025,),
    ("EnableKeys", "KeyIds"): ([], ANY_KEY),
    ("DisableKeys", "MemberAccount"): ({"MemberUin": 1},),
}
_OTHER_CODES: Final[dict[tuple[str, str, str], tuple[object, ...]]] = {
    ("InvalidParameterValue.InvalidPlaintext", "Encrypt", "Plaintext"): (_TOO_MUCH, "", "a secret", "QUI", 5),
    ("InvalidParameter.InvalidPendingWindowInDays", "ScheduleKeyDeletion", "PendingWindowInDays"): (6, 31, "soon", 7.5),
    ("InvalidParameterValue.InvalidAlias", "UpdateAlias", "Alias"): ("", "kms-mine", "a" * 61),
    ("InvalidParameterValue.DuplicatedKeyId", "EnableKeys", "KeyIds"): ([ANY_KEY, ANY_KEY],),
    ("InvalidParameterValue.DuplicatedKeyId", "DisableKeys", "KeyIds"): ([ANY_KEY, ANY_KEY],),
    ("InvalidParameterValue.InvalidKeyId", "EnableKeys", "KeyIds"): ([ANY_KEY, "alias/demo"],),
    ("InvalidParameterValue.InvalidKeyId", "ReEncrypt", "DestinationKeyId"): ("alias/demo",),
    ("InvalidParameterValue.InvalidCiphertext", "Decrypt", "CiphertextBlob"): ("", "no base64!"),
    ("InvalidParameterValue.InvalidCiphertext", "ReEncrypt", "CiphertextBlob"): ("", "no base64!"),
}
_GENERATE: Final = {"GenerateDataKey": {"KeySpec": "AES_256"}}
for _code, _action, _field, _values in (
    *((INVALID, *named, values) for named, values in _BAD_FIELDS.items()),
    *((*named, values) for named, values in _OTHER_CODES.items()),
):
    _says = _field if _code == INVALID else ""
    for _number, _value in enumerate(_values):
        _members = {**_REQUIRED[_action], **_GENERATE.get(_action, {}), _field: _value}
        TENCENT.add(_code, f"{_action}_{_field}_{_number}", sends(_action, _members, _says))

_TAG_TWICE: Final = [{"TagKey": "a", "TagValue": value} for value in ("b", "c")]
TENCENT.add(
    "InvalidParameterValue.TagKeysDuplicated",
    "a_tag_key_twice",
    sends("CreateKey", {"Alias": "a", "Tags": _TAG_TWICE}, "tag key"),
)


@TENCENT.reaches("InvalidParameterValue.AliasAlreadyExists", everywhere=False)
def an_alias_that_is_another_keys(world: TencentWorld) -> Attempt:
    key_id, other = world.client.external_key(), world.client.external_key()
    alias = world.client.describe(other).Alias
    return Attempt(lambda: world.sdk("UpdateAlias", KeyId=key_id, Alias=alias), key_id, says="another")


# --- which key ------------------------------------------------------------------------------------------


def _on_one_key(action: str, **fields: Any) -> Callable[[TencentWorld, str], Failure]:
    return lambda world, key_id: world.sdk(action, KeyId=key_id, **fields)


_LIFE: Final = {
    "archive": _on_one_key("ArchiveKey"),
    "cancel_archive": _on_one_key("CancelKeyArchive"),
    "rename": _on_one_key("UpdateAlias", Alias="b"),
    "describe_anew": _on_one_key("UpdateKeyDescription", Description="d"),
    "schedule_deletion": USES["schedule_deletion"],
}
for _name in ("archive", "cancel_archive", "rename", "describe_anew"):
    TENCENT.add(
        "ResourceUnavailable.CmkNotFound",
        f"{_name}_of_another_accounts_key",
        naming(_LIFE[_name], lambda world: world.stranger.generated_key()),
    )


@TENCENT.reaches("UnsupportedOperation.ExternalCmkCanNotRotate")
def the_rotation_of_an_external_key(world: TencentWorld) -> Attempt:
    key_id = world.client.external_key()
    return Attempt(lambda: world.sdk("EnableKeyRotation", KeyId=key_id), key_id, says="only ever has")


@TENCENT.reaches("UnsupportedOperation.RotateNotSupported")
def the_rotation_of_a_generated_key(world: TencentWorld) -> Attempt:
    key_id = world.client.generated_key()
    return Attempt(lambda: world.sdk("EnableKeyRotation", KeyId=key_id, RotateDays=30), key_id, says="Create another")


# --- which state ----------------------------------------------------------------------------------------

_FORBIDDEN: Final = {
    "archive": ("PendingImport", "PendingDelete", "Archived"),
    "cancel_archive": ("Enabled", "Disabled", "PendingImport", "PendingDelete"),
    "rename": ("PendingDelete",),
    "describe_anew": ("PendingDelete",),
}


def _in_state(state: str, use: Callable[[TencentWorld, str], Failure]) -> Callable[[TencentWorld], Attempt]:
    return in_state(state, lambda world, key_id, _parameters: use(world, key_id))


for _name, _states in _FORBIDDEN.items():
    for _state in _states:
        TENCENT.add(STATE, f"{_name}_in_{_state}", _in_state(_state, _LIFE[_name]))
for _state in ("Enabled", "PendingImport", "Archived"):
    _way = _in_state(_state, _LIFE["schedule_deletion"])
    TENCENT.add("ResourceUnavailable.CmkShouldBeDisabled", f"schedule_deletion_in_{_state}", _way)


def _all_or_none(action: str) -> Callable[[TencentWorld], Attempt]:
    def prepare(world: TencentWorld) -> Attempt:
        switched = world.client.generated_key()
        if action == "EnableKeys":
            world.client.disable(switched)
        key_ids = [switched, world.client.external_key()]
        return Attempt(lambda: world.sdk(action, KeyIds=key_ids), switched, says="PendingImport")

    return prepare


for _action in ("EnableKeys", "DisableKeys"):
    TENCENT.add(STATE, f"{_action}_of_which_one_is_pending_import", _all_or_none(_action))
