"""The operations: how a wire request becomes a command, and which fields its outcome is shown as."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from hsmkms.core import errors
from hsmkms.core.ids import from_seconds
from hsmkms.core.keys import KeyUsage, Origin
from hsmkms.core.secrets import ImportToken
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.dialects import strict_base64
from hsmkms.dialects.base import NO_KEYS, Ready, at_once
from hsmkms.dialects.huawei import fields, key_ids, states, uses, wire
from hsmkms.dialects.wire_models import WireRequest
from hsmkms.service import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsmkms.dialects.huawei.fields import View
    from hsmkms.dialects.strict_json import JsonObject
    from hsmkms.service.commands import Command, Outcome

RequestT = TypeVar("RequestT", bound=WireRequest)
OutcomeT = TypeVar("OutcomeT", bound="Outcome")

_ALIAS: Final = re.compile(r"[a-zA-Z0-9:/_-]{1,255}(?<!/default)", re.ASCII)
_ALIAS_RULE: Final = (
    "key_alias must be 1 to 255 letters, digits, ':', '/', '_' or '-', and not end in '/default', as the names of the "
    "cloud's own keys do."
)
_SPECS: Final = (
    *fields.SPECS.values(),
    *("RSA_2048", "RSA_3072", "RSA_4096", "EC_P256", "EC_P384", "SECP256K1", "SM2", "ED25519"),
    *("HMAC_256", "HMAC_384", "HMAC_512", "HMAC_SM3"),
)
"""Every documented key_spec; a deployment offers that of its edition."""
_ALL_SPECS: Final = "ALL"
_USAGE_ELSEWHERE: Final = "SIGN_VERIFY"
"""Documented, and not offered here."""
_ORIGINS: Final[Mapping[str, Origin]] = {name: origin for origin, name in fields.ORIGINS.items()}
_ALGORITHM_FIELD: Final = "wrapping_algorithm"

MOST_KEYS_OF_A_PAGE: Final = 1000
"""No bound of limit is documented, and clients send 2000: they get less, and hear where the next page begins."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[RequestT, OutcomeT]):
    """One operation: its wire form, the command it asks for, and the fields of its reply."""

    model: type[RequestT]
    command: Callable[[View, RequestT], Command | Ready]
    show: Callable[[View, RequestT, OutcomeT], JsonObject]


def _create_key(view: View, request: wire.CreateKey) -> Command:
    alias = _alias(request.key_alias)
    offered = fields.SPECS[view.edition]
    if request.key_spec not in {None, offered}:
        if request.key_spec in _SPECS:
            raise errors.NotOffered("key_spec", (offered,))
        raise errors.FieldInvalid("key_spec", f"use {offered}.")
    if request.key_usage == _USAGE_ELSEWHERE:
        raise errors.KeyUsageNotOffered
    if request.key_usage not in set(KeyUsage):
        raise errors.KeyUsageInvalid
    if request.origin not in _ORIGINS:
        raise errors.FieldInvalid("origin", "use kms (generated in the token) or external (to be imported).")
    return commands.CreateKey(alias, request.key_description, _ORIGINS[request.origin], KeyUsage(request.key_usage))


def _describe_key(_view: View, request: wire.OperateKey) -> Command:
    return commands.DescribeKey(key_ids.read(request.key_id))


def _list_keys(view: View, request: wire.ListKeys) -> Command:
    if request.key_spec not in {None, _ALL_SPECS, *_SPECS}:
        raise errors.FieldInvalid("key_spec", f"use {fields.SPECS[view.edition]} or {_ALL_SPECS}.")
    if request.key_state not in {None, *states.LISTED}:
        raise errors.FieldInvalid("key_state", f"use one of {', '.join(sorted(states.LISTED))}.")
    wanted = None if request.key_state is None else states.LISTED[request.key_state]
    if request.key_spec not in {None, _ALL_SPECS, fields.SPECS[view.edition]} or wanted == frozenset():
        return NO_KEYS
    # By age, the oldest first: a key made between two pages moves no other to another page.
    limit = min(request.limit, MOST_KEYS_OF_A_PAGE)
    return commands.ListKeys(request.marker, limit, states=wanted, newest_first=False)


def _get_parameters_for_import(view: View, request: wire.GetParametersForImport) -> Command:
    if request.wrapping_algorithm not in set(WrappingAlgorithm):
        raise errors.NotOffered(_ALGORITHM_FIELD, view.offered)
    algorithm = WrappingAlgorithm(request.wrapping_algorithm)
    return commands.GetImportParameters(key_ids.read(request.key_id), algorithm, _ALGORITHM_FIELD, policy=states.POLICY)


def _import_key_material(_view: View, request: wire.ImportKeyMaterial) -> Command:
    return commands.ImportMaterial(
        key_ids.read(request.key_id),
        ImportToken(request.import_token.encode("ascii")),
        strict_base64.decode(request.encrypted_key_material),
        from_seconds(request.expiration_time) if request.expiration_time else None,
        algorithm_field=_ALGORITHM_FIELD,
        policy=states.POLICY,
    )


def _delete_imported_key_material(_view: View, request: wire.OperateKey) -> Command:
    return commands.DeleteMaterial(key_ids.read(request.key_id), policy=states.POLICY)


def _enable_key(_view: View, request: wire.OperateKey) -> Command:
    return commands.SwitchKey(key_ids.read(request.key_id), on=True, policy=states.POLICY)


def _disable_key(_view: View, request: wire.OperateKey) -> Command:
    return commands.SwitchKey(key_ids.read(request.key_id), on=False, policy=states.POLICY)


def _update_key_alias(_view: View, request: wire.UpdateKeyAlias) -> Command:
    return commands.RelabelKey(key_ids.read(request.key_id), alias=_alias(request.key_alias), policy=states.POLICY)


def _update_key_description(_view: View, request: wire.UpdateKeyDescription) -> Command:
    return commands.RelabelKey(key_ids.read(request.key_id), description=request.key_description, policy=states.POLICY)


def _schedule_key_deletion(_view: View, request: wire.ScheduleKeyDeletion) -> Command:
    return commands.ScheduleDeletion(key_ids.read(request.key_id), request.pending_days, policy=states.POLICY)


def _cancel_key_deletion(_view: View, request: wire.OperateKey) -> Command:
    return commands.CancelDeletion(key_ids.read(request.key_id), policy=states.POLICY)


def _describe_service(_view: View, _request: wire.Nothing) -> Command:
    return commands.DescribeService()


def _alias(text: str) -> str:
    if not _ALIAS.fullmatch(text):
        raise errors.AliasInvalid(_ALIAS_RULE)
    return text


OPERATIONS: Final[Mapping[str, Operation[Any, Any]]] = {
    "create-key": Operation(wire.CreateKey, _create_key, fields.created),
    "describe-key": Operation(wire.OperateKey, _describe_key, fields.described),
    "list-keys": Operation(wire.ListKeys, _list_keys, fields.listed),
    "get-parameters-for-import": Operation(
        wire.GetParametersForImport, _get_parameters_for_import, fields.import_parameters
    ),
    "import-key-material": Operation(wire.ImportKeyMaterial, _import_key_material, fields.nothing),
    "delete-imported-key-material": Operation(wire.OperateKey, _delete_imported_key_material, fields.nothing),
    "enable-key": Operation(wire.OperateKey, _enable_key, fields.switched),
    "disable-key": Operation(wire.OperateKey, _disable_key, fields.switched),
    "update-key-alias": Operation(wire.UpdateKeyAlias, _update_key_alias, fields.alias_updated),
    "update-key-description": Operation(wire.UpdateKeyDescription, _update_key_description, fields.description_updated),
    "schedule-key-deletion": Operation(wire.ScheduleKeyDeletion, _schedule_key_deletion, fields.deletion_changed),
    "cancel-key-deletion": Operation(wire.OperateKey, _cancel_key_deletion, fields.deletion_changed),
    "get-key-rotation-status": Operation(wire.OperateKey, _describe_key, fields.rotation_status),
    "encrypt-data": Operation(wire.EncryptData, uses.encrypt_data, fields.encrypted),
    "decrypt-data": Operation(wire.DecryptData, uses.decrypt_data, fields.decrypted),
    "re-encrypt": Operation(wire.ReEncrypt, uses.re_encrypt, fields.re_encrypted),
    "create-datakey": Operation(wire.CreateDatakey, uses.create_datakey, fields.data_key_created),
    "create-datakey-without-plaintext": Operation(
        wire.CreateDatakey, uses.create_datakey_without_plaintext, fields.data_key_created_without_plaintext
    ),
    "encrypt-datakey": Operation(wire.EncryptDatakey, uses.encrypt_datakey, fields.data_key_encrypted),
    "decrypt-datakey": Operation(wire.DecryptDatakey, uses.decrypt_datakey, fields.data_key_decrypted),
    "gen-random": Operation(wire.GenRandom, uses.gen_random, fields.random_data),
    "user-instances": Operation(wire.Nothing, _describe_service, fields.instances),
    "user-quotas": Operation(wire.Nothing, _describe_service, fields.quotas),
    "projects": Operation(wire.ListProjects, at_once, fields.projects),
}
