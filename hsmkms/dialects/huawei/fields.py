"""Outcomes as the documented response fields, every one of them: what does not apply here is "", "0" or 0.

Sources: the response structures of the Huawei Cloud DEW API reference and of the official Python SDK; IAM's "Querying
Project Information". The prose of the former says seconds of every time, its examples are milliseconds in a key's
details: those are what clients were written for. The import parameters' expiry is an integer of seconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import FieldInvalid
from hsmkms.core.ids import to_seconds
from hsmkms.core.keys import KeyState, Origin
from hsmkms.core.material import Edition
from hsmkms.dialects import strict_base64
from hsmkms.dialects.huawei import states, wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hsmkms.core.ids import Account, Instant
    from hsmkms.core.secrets import Plaintext
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.dialects.strict_json import JsonObject, JsonValue
    from hsmkms.service.commands import (
        DataKeyMade,
        Decrypted,
        Done,
        Encrypted,
        ImportParameters,
        KeyShown,
        KeysShown,
        RandomMade,
        ReEncrypted,
        ServiceShown,
    )

ORIGINS: Final[Mapping[Origin, str]] = {Origin.EXTERNAL: "external", Origin.GENERATED: "kms"}
SPECS: Final[Mapping[Edition, str]] = {Edition.FIPS: "AES_256", Edition.SM: "SM4"}
ALGORITHM: Final = "SYMMETRIC_DEFAULT"
"""What this cloud calls the one algorithm of a symmetric key."""

_DIGESTS: Final[Mapping[Edition, str]] = {Edition.FIPS: "sha256", Edition.SM: "sm3"}
"""What encrypt-datakey and decrypt-datakey take the digest of a data key by: it goes with the cipher of the key."""
_NO_LIMIT: Final = 2**31 - 1
_VERSION: Final[JsonObject] = {
    "id": "v1.0",
    "links": [{"href": "/v1.0", "rel": "self"}],
    "version": "",
    "status": "CURRENT",
    "updated": "2014-06-28T12:20:21Z",
    "min_version": "",
}

VERSIONS: Final[JsonObject] = {"versions": [_VERSION]}
VERSION: Final[JsonObject] = {"version": _VERSION}


@dataclass(frozen=True, slots=True)
class View:
    """What a request and its reply depend on beside each other."""

    account: Account
    edition: Edition
    region: str
    offered: Collection[WrappingAlgorithm]


def nothing(_view: View, _request: wire.Request, _outcome: Done) -> JsonObject:
    """Return the reply of an operation that shows nothing."""
    return {}


def created(view: View, _request: wire.CreateKey, outcome: KeyShown) -> JsonObject:
    """Return the reply of create-key."""
    key_id, domain_id = outcome.key.key_id, view.account.name
    return {"key_info": {"key_id": key_id, "domain_id": domain_id, "region_id": view.region}}


def described(view: View, _request: wire.OperateKey, outcome: KeyShown) -> JsonObject:
    """Return the reply of describe-key."""
    return {"key_info": _details(view, outcome)}


def listed(view: View, request: wire.ListKeys, outcome: KeysShown) -> JsonObject:
    """Return the reply of list-keys."""
    following = request.marker + len(outcome.keys)
    more = following < outcome.total
    ids: list[JsonValue] = [each.key.key_id for each in outcome.keys]
    return {
        "keys": ids,
        "key_details": [_details(view, each) for each in outcome.keys],
        "next_marker": str(following) if more else "",
        "truncated": "true" if more else "false",
        "total": outcome.total,
    }


def import_parameters(_view: View, _request: wire.GetParametersForImport, outcome: ImportParameters) -> JsonObject:
    """Return the reply of get-parameters-for-import."""
    return {
        "key_id": outcome.key_id,
        "import_token": outcome.import_token.reveal().decode("ascii"),
        "expiration_time": to_seconds(outcome.deadline),
        "public_key": strict_base64.encode(outcome.public_key),
    }


def switched(_view: View, _request: wire.OperateKey, outcome: KeyShown) -> JsonObject:
    """Return the reply of enable-key and disable-key."""
    return {"key_info": {"key_id": outcome.key.key_id, "key_state": states.NUMBERS[outcome.state]}}


def alias_updated(_view: View, _request: wire.UpdateKeyAlias, outcome: KeyShown) -> JsonObject:
    """Return the reply of update-key-alias."""
    return {"key_info": {"key_id": outcome.key.key_id, "key_alias": outcome.key.alias}}


def description_updated(_view: View, _request: wire.UpdateKeyDescription, outcome: KeyShown) -> JsonObject:
    """Return the reply of update-key-description."""
    return {"key_info": {"key_id": outcome.key.key_id, "key_description": outcome.key.description}}


def deletion_changed(_view: View, _request: wire.OperateKey, outcome: KeyShown) -> JsonObject:
    """Return the reply of schedule-key-deletion and cancel-key-deletion."""
    return {"key_id": outcome.key.key_id, "key_state": states.NUMBERS[outcome.state]}


def rotation_status(_view: View, _request: wire.OperateKey, _outcome: KeyShown) -> JsonObject:
    """Return the reply of get-key-rotation-status: no key here is rotated, and its material has no id to show."""
    return {
        "key_rotation_enabled": False,
        "rotation_interval": 0,
        "last_rotation_time": "",
        "number_of_rotations": 0,
        "key_materials": [],
    }


def encrypted(_view: View, _request: wire.EncryptData, outcome: Encrypted) -> JsonObject:
    """Return the reply of encrypt-data."""
    return {"key_id": outcome.key_id, "cipher_text": strict_base64.encode(outcome.ciphertext)}


def decrypted(_view: View, _request: wire.DecryptData, outcome: Decrypted) -> JsonObject:
    """Return the reply of decrypt-data; of bytes that are no UTF-8 only plain_text_base64 is exact."""
    value = outcome.plaintext.reveal()
    return {
        "key_id": outcome.key_id,
        "plain_text": value.decode(errors="replace"),
        "plain_text_base64": strict_base64.encode(value),
    }


def re_encrypted(_view: View, request: wire.ReEncrypt, outcome: ReEncrypted) -> JsonObject:
    """Return the reply of re-encrypt, the ciphertext spelled as the one that came."""
    spell = _hexadecimal if wire.is_hexadecimal(request.cipher_text) else strict_base64.encode
    return {
        "key_id": outcome.key_id,
        "source_key_id": outcome.source,
        "source_encryption_algorithm": ALGORITHM,
        "destination_encryption_algorithm": ALGORITHM,
        "cipher_text": spell(outcome.ciphertext),
    }


def data_key_created(view: View, request: wire.CreateDatakey, outcome: DataKeyMade) -> JsonObject:
    """Return the reply of create-datakey."""
    plaintext = "" if outcome.plaintext is None else _hexadecimal(outcome.plaintext.reveal())
    return {**data_key_created_without_plaintext(view, request, outcome), "plain_text": plaintext}


def data_key_created_without_plaintext(_view: View, _request: wire.CreateDatakey, outcome: DataKeyMade) -> JsonObject:
    """Return the reply of create-datakey-without-plaintext."""
    return {"key_id": outcome.key_id, "cipher_text": _hexadecimal(outcome.ciphertext)}


def data_key_encrypted(_view: View, request: wire.EncryptDatakey, outcome: Encrypted) -> JsonObject:
    """Return the reply of encrypt-datakey."""
    return {
        "key_id": outcome.key_id,
        "cipher_text": _hexadecimal(outcome.ciphertext),
        "datakey_length": str(request.datakey_plain_length),
    }


def data_key_decrypted(view: View, request: wire.DecryptDatakey, outcome: Decrypted) -> JsonObject:
    """Return the reply of decrypt-datakey.

    Raises:
        FieldInvalid: the data key is not as long as the request says; no ciphertext shows that before.
    """
    size = len(outcome.plaintext)
    if request.datakey_cipher_length != size:
        raise FieldInvalid("datakey_cipher_length", "it must be the length in bytes of the data key.")
    return {
        "data_key": _hexadecimal(outcome.plaintext.reveal()),
        "datakey_length": str(size),
        "datakey_dgst": _hexadecimal(digest_of(view, outcome.plaintext)),
    }


def digest_of(view: View, data_key: Plaintext) -> bytes:
    """Return the digest that goes with a data key (32 bytes)."""
    return hashlib.new(_DIGESTS[view.edition], data_key.reveal()).digest()


def random_data(_view: View, _request: wire.GenRandom, outcome: RandomMade) -> JsonObject:
    """Return the reply of gen-random."""
    return {"random_data": _hexadecimal(outcome.value.reveal())}


def instances(_view: View, _request: wire.Nothing, outcome: ServiceShown) -> JsonObject:
    """Return the reply of user-instances."""
    return {"instance_num": outcome.keys}


def quotas(_view: View, _request: wire.Nothing, outcome: ServiceShown) -> JsonObject:
    """Return the reply of user-quotas."""
    keys: JsonObject = {"type": "CMK", "used": outcome.keys, "quota": outcome.most_keys or _NO_LIMIT}
    grants: JsonObject = {"type": "grant_per_CMK", "used": 0, "quota": 0}
    return {"quotas": {"resources": [keys, grants]}}


def projects(view: View, request: wire.ListProjects, _outcome: Done) -> JsonObject:
    """Return the reply of /v3/projects: the account, as the one project of whatever name is asked for.

    A client without a project id asks for the one of its region's name. There are no regions here: the account's
    name is the right answer for all of them.
    """
    name = view.account.name
    project: JsonObject = {
        "id": name,
        "name": request.name or name,
        "domain_id": name,
        "parent_id": name,
        "is_domain": False,
        "enabled": True,
        "description": "",
        "links": {"self": f"/v3/projects/{name}"},
    }
    return {"projects": [project], "links": {"self": "/v3/projects", "previous": None, "next": None}}


def _details(view: View, shown: KeyShown) -> JsonObject:
    key = shown.key
    usable = key.material if shown.state is not KeyState.PENDING_IMPORT else None
    return {
        "key_id": key.key_id,
        "domain_id": view.account.name,
        "key_alias": key.alias,
        "realm": view.region,
        "key_spec": SPECS[view.edition],
        "key_usage": key.usage.value,
        "key_description": key.description,
        "creation_date": _milliseconds(key.created_at),
        "scheduled_deletion_date": _milliseconds(key.deletion_due),
        "key_state": states.NUMBERS[shown.state],
        "default_key_flag": "0",
        "key_type": "1",
        "expiration_time": _milliseconds(usable.valid_to) if usable is not None else "",
        "origin": ORIGINS[key.origin],
        "key_rotation_enabled": "false",
        "sys_enterprise_project_id": "0",
        "keystore_id": "0",
    }


def _milliseconds(instant: Instant | None) -> str:
    return "" if instant is None else str(instant)


def _hexadecimal(value: bytes) -> str:
    """Return `value` in upper case, as in the documentation's examples."""
    return value.hex().upper()
