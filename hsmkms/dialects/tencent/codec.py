"""The actions: how a wire request becomes a command, and which fields its outcome is shown as."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from hsmkms.core import errors
from hsmkms.core.ids import from_seconds, key_id
from hsmkms.core.keys import KeyState, KeyUsage, Origin
from hsmkms.core.ports import TagFilter
from hsmkms.core.secrets import ImportToken
from hsmkms.core.wrapping import WRAPPING_KEY_SPEC, WrappingAlgorithm
from hsmkms.dialects import strict_base64
from hsmkms.dialects.base import NO_KEYS, Ready, at_once
from hsmkms.dialects.tencent import fields, uses, wire
from hsmkms.dialects.tencent.states import POLICY
from hsmkms.dialects.wire_models import WireRequest
from hsmkms.service import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsmkms.core.ids import KeyId
    from hsmkms.dialects.strict_json import JsonObject
    from hsmkms.dialects.tencent.fields import View
    from hsmkms.service.commands import Command, Outcome

RequestT = TypeVar("RequestT", bound=WireRequest)
OutcomeT = TypeVar("OutcomeT", bound="Outcome")

_ALIAS: Final = re.compile(r"(?!kms-)[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)
_ALIAS_RULE: Final = (
    "The alias must be 1 to 60 letters, digits, '-' or '_', start with a letter or digit, and not start with 'kms-'."
)
_EXTERNAL_TYPE: Final = 2
_TYPES: Final[Mapping[int, Origin]] = {1: Origin.GENERATED, _EXTERNAL_TYPE: Origin.EXTERNAL}
_USAGES_ELSEWHERE: Final = frozenset(
    {
        "ASYMMETRIC_DECRYPT_RSA_2048",
        "ASYMMETRIC_DECRYPT_SM2",
        "ASYMMETRIC_SIGN_VERIFY_SM2",
        "ASYMMETRIC_SIGN_VERIFY_ECC",
        "ASYMMETRIC_SIGN_VERIFY_RSA_2048",
        "ASYMMETRIC_SIGN_VERIFY_ECDSA384",
    }
)
"""Documented, and not offered here."""
_LISTED_STATES: Final = frozenset({KeyState.ENABLED, KeyState.DISABLED, KeyState.PENDING_IMPORT})
_STATE_FILTERS: Final[Mapping[int, frozenset[KeyState] | None]] = {
    0: None,
    1: frozenset({KeyState.ENABLED}),
    2: frozenset({KeyState.DISABLED}),
    3: frozenset({KeyState.PENDING_DELETE}),
    4: frozenset({KeyState.PENDING_IMPORT}),
    5: frozenset({KeyState.ARCHIVED}),
}
_ORIGIN_FILTERS: Final[Mapping[str, Origin | None]] = {
    "": None,
    "ALL": None,
    **{name: origin for origin, name in fields.ORIGINS.items()},
}
_USAGE_FILTERS: Final[Mapping[str, KeyUsage | None]] = {
    "": KeyUsage.ENCRYPT_DECRYPT,
    "ALL": None,
    **{usage.value: usage for usage in KeyUsage},
}


@dataclass(frozen=True, slots=True)
class Action(Generic[RequestT, OutcomeT]):
    """One action: its wire form, the command it asks for, and the fields of its reply."""

    model: type[RequestT]
    command: Callable[[View, RequestT], Command | Ready]
    show: Callable[[View, OutcomeT], JsonObject]

    def read(self, view: View, members: JsonObject) -> Command | Ready:
        """Return the command that the body's `members` ask for.

        Raises:
            RequestFault: a field is missing, unknown, invalid or not offered.
            KeyIdMalformed: a key id is not of key-id form.
        """
        return self.command(view, wire.read(self.model, members))


def _require_alias(alias: str) -> None:
    if not _ALIAS.fullmatch(alias):
        raise errors.AliasInvalid(_ALIAS_RULE)


def _create_key(_view: View, request: wire.CreateKey) -> Command:
    _require_alias(request.Alias)
    if request.Type not in _TYPES:
        raise errors.KeyTypeInvalid("Type must be 1 (generated in the token) or 2 (EXTERNAL, to be imported).")
    if request.KeyUsage in _USAGES_ELSEWHERE:
        raise errors.KeyUsageNotOffered
    if request.KeyUsage not in {"", *KeyUsage}:
        raise errors.KeyUsageInvalid
    usage = KeyUsage(request.KeyUsage or KeyUsage.ENCRYPT_DECRYPT)
    tags = {each.TagKey: each.TagValue for each in request.Tags}
    if len(tags) != len(request.Tags):
        raise errors.TagKeysRepeated
    return commands.CreateKey(request.Alias, request.Description, _TYPES[request.Type], usage, tags)


def _describe_key(_view: View, request: wire.OneKey) -> Command:
    return commands.DescribeKey(key_id(request.KeyId))


def _different_keys(request: wire.SeveralKeys) -> tuple[KeyId, ...]:
    key_ids = tuple(key_id(each) for each in request.KeyIds)
    if len(set(key_ids)) != len(key_ids):
        raise errors.KeyIdsRepeated
    return key_ids


def _describe_keys(_view: View, request: wire.SeveralKeys) -> Command:
    return commands.DescribeKeys(_different_keys(request))


def _list_keys(_view: View, request: wire.ListKeys) -> Command:
    if request.Role:  # keys that cloud products made: there are no cloud products here
        return NO_KEYS
    return commands.ListKeys(request.Offset, request.Limit, states=_LISTED_STATES)


def _list_key_detail(_view: View, request: wire.ListKeyDetail) -> Command:
    if request.Origin not in _ORIGIN_FILTERS:
        raise errors.FieldInvalid("Origin", f"use one of {', '.join(filter(None, _ORIGIN_FILTERS))}.")
    if request.KeyUsage not in _USAGE_FILTERS and request.KeyUsage not in _USAGES_ELSEWHERE:
        raise errors.FieldInvalid("KeyUsage", f"use one of {', '.join(filter(None, _USAGE_FILTERS))}.")
    if request.Role or request.KeyUsage in _USAGES_ELSEWHERE:
        return NO_KEYS
    return commands.ListKeys(
        request.Offset,
        request.Limit,
        states=_STATE_FILTERS[request.KeyState],
        origin=_ORIGIN_FILTERS[request.Origin],
        usage=_USAGE_FILTERS[request.KeyUsage],
        search=request.SearchKeyAlias,
        newest_first=not request.OrderType,
        tags=tuple(TagFilter(each.TagKey, tuple(each.TagValue or ())) for each in request.TagFilters),
    )


def _get_parameters_for_import(view: View, request: wire.GetParametersForImport) -> Command:
    if request.WrappingAlgorithm not in set(WrappingAlgorithm):
        raise errors.NotOffered("WrappingAlgorithm", view.offered)
    if request.WrappingKeySpec != WRAPPING_KEY_SPEC:
        raise errors.NotOffered("WrappingKeySpec", (WRAPPING_KEY_SPEC,))
    algorithm = WrappingAlgorithm(request.WrappingAlgorithm)
    return commands.GetImportParameters(key_id(request.KeyId), algorithm, "WrappingAlgorithm", POLICY)


def _import_key_material(_view: View, request: wire.ImportKeyMaterial) -> Command:
    return commands.ImportMaterial(
        key_id(request.KeyId),
        ImportToken(request.ImportToken.encode("ascii")),
        strict_base64.decode(request.EncryptedKeyMaterial),
        from_seconds(request.ValidTo) if request.ValidTo else None,
        policy=POLICY,
    )


def _delete_imported_key_material(_view: View, request: wire.DeleteImportedKeyMaterial) -> Command:
    return commands.DeleteMaterial(key_id(request.KeyId), POLICY)


def _enable_key(_view: View, request: wire.OneKey) -> Command:
    return commands.SwitchKey(key_id(request.KeyId), on=True, policy=POLICY)


def _disable_key(_view: View, request: wire.OneKey) -> Command:
    return commands.SwitchKey(key_id(request.KeyId), on=False, policy=POLICY)


def _enable_keys(_view: View, request: wire.SeveralKeys) -> Command:
    return commands.SwitchKeys(_different_keys(request), on=True, policy=POLICY)


def _disable_keys(_view: View, request: wire.SeveralKeys) -> Command:
    return commands.SwitchKeys(_different_keys(request), on=False, policy=POLICY)


def _update_alias(_view: View, request: wire.UpdateAlias) -> Command:
    _require_alias(request.Alias)
    return commands.RelabelKey(key_id(request.KeyId), alias=request.Alias, policy=POLICY)


def _update_key_description(_view: View, request: wire.UpdateKeyDescription) -> Command:
    return commands.RelabelKey(key_id(request.KeyId), description=request.Description, policy=POLICY)


def _schedule_key_deletion(_view: View, request: wire.ScheduleKeyDeletion) -> Command:
    return commands.ScheduleDeletion(key_id(request.KeyId), request.PendingWindowInDays, POLICY)


def _cancel_key_deletion(_view: View, request: wire.OneKey) -> Command:
    return commands.CancelDeletion(key_id(request.KeyId), POLICY)


def _archive_key(_view: View, request: wire.OneKey) -> Command:
    return commands.ArchiveKey(key_id(request.KeyId), archived=True, policy=POLICY)


def _cancel_key_archive(_view: View, request: wire.OneKey) -> Command:
    return commands.ArchiveKey(key_id(request.KeyId), archived=False, policy=POLICY)


def _enable_key_rotation(_view: View, request: wire.EnableKeyRotation) -> Command:
    return commands.EnableRotation(key_id(request.KeyId))


def _get_service_status(_view: View, _request: wire.GetServiceStatus) -> Command:
    return commands.DescribeService()


ACTIONS: Final[Mapping[str, Action[Any, Any]]] = {
    "CreateKey": Action(wire.CreateKey, _create_key, fields.created),
    "DescribeKey": Action(wire.OneKey, _describe_key, fields.described),
    "DescribeKeys": Action(wire.SeveralKeys, _describe_keys, fields.all_described),
    "ListKeys": Action(wire.ListKeys, _list_keys, fields.listed),
    "ListKeyDetail": Action(wire.ListKeyDetail, _list_key_detail, fields.listed_in_detail),
    "GetParametersForImport": Action(wire.GetParametersForImport, _get_parameters_for_import, fields.import_parameters),
    "ImportKeyMaterial": Action(wire.ImportKeyMaterial, _import_key_material, fields.nothing),
    "DeleteImportedKeyMaterial": Action(wire.DeleteImportedKeyMaterial, _delete_imported_key_material, fields.nothing),
    "EnableKey": Action(wire.OneKey, _enable_key, fields.nothing),
    "DisableKey": Action(wire.OneKey, _disable_key, fields.nothing),
    "EnableKeys": Action(wire.SeveralKeys, _enable_keys, fields.nothing),
    "DisableKeys": Action(wire.SeveralKeys, _disable_keys, fields.nothing),
    "UpdateAlias": Action(wire.UpdateAlias, _update_alias, fields.nothing),
    "UpdateKeyDescription": Action(wire.UpdateKeyDescription, _update_key_description, fields.nothing),
    "ScheduleKeyDeletion": Action(wire.ScheduleKeyDeletion, _schedule_key_deletion, fields.deletion_scheduled),
    "CancelKeyDeletion": Action(wire.OneKey, _cancel_key_deletion, fields.deletion_cancelled),
    "ArchiveKey": Action(wire.OneKey, _archive_key, fields.nothing),
    "CancelKeyArchive": Action(wire.OneKey, _cancel_key_archive, fields.nothing),
    "GetKeyRotationStatus": Action(wire.OneKey, _describe_key, fields.rotation_status),
    "EnableKeyRotation": Action(wire.EnableKeyRotation, _enable_key_rotation, fields.nothing),
    # No key here is rotated: that the key exists is all there is to find out.
    "DisableKeyRotation": Action(wire.OneKey, _describe_key, fields.nothing),
    "Encrypt": Action(wire.Encrypt, uses.encrypt, fields.encrypted),
    "Decrypt": Action(wire.Decrypt, uses.decrypt, fields.decrypted),
    "ReEncrypt": Action(wire.ReEncrypt, uses.re_encrypt, fields.re_encrypted),
    "GenerateDataKey": Action(wire.GenerateDataKey, uses.generate_data_key, fields.data_key),
    "GenerateRandom": Action(wire.GenerateRandom, uses.generate_random, fields.random_bytes),
    "GetServiceStatus": Action(wire.GetServiceStatus, _get_service_status, fields.service_status),
    "GetRegions": Action(wire.GetRegions, at_once, fields.regions),
    "ListAlgorithms": Action(wire.ListAlgorithms, at_once, fields.algorithms),
}
