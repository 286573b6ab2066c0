"""Outcomes as the documented response fields, every one of them: what does not apply here is 0, "" or false.

Source: the response structures of the Tencent Cloud KMS API 2019-01-18. Times are Unix seconds, 0 when there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.ciphertexts import OF_EDITION
from hsmkms.core.ids import to_seconds
from hsmkms.core.keys import KeyState, KeyUsage, Origin
from hsmkms.core.material import Edition
from hsmkms.dialects import strict_base64

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hsmkms.core.ciphertexts import CipherAlgorithm
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
        Outcome,
        RandomMade,
        ReEncrypted,
        ServiceShown,
    )

ORIGINS: Final[Mapping[Origin, str]] = {Origin.EXTERNAL: "EXTERNAL", Origin.GENERATED: "TENCENT_KMS"}
STANDARDS: Final[Mapping[Edition, int]] = {Edition.FIPS: 2, Edition.SM: 4}
"""KeyMetadata.Type: 2 FIPS 140, 4 SM."""
CIPHERS: Final[Mapping[Edition, str]] = {Edition.FIPS: "AES_256", Edition.SM: "SM4"}

_SERVICE_IN_ORDER: Final = 1
_LEVEL_WITHOUT_LIMITS: Final = 1
_NO_LIMIT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class View:
    """What a request and its reply depend on beside each other."""

    account: Account
    edition: Edition
    regions: Sequence[str]
    offered: Collection[WrappingAlgorithm]
    ciphers: Collection[CipherAlgorithm]


def nothing(_view: View, _outcome: Outcome) -> JsonObject:
    """Return the reply of an action that shows nothing."""
    return {}


def created(_view: View, outcome: KeyShown) -> JsonObject:
    """Return the reply of CreateKey."""
    key = outcome.key
    return {
        "KeyId": key.key_id,
        "Alias": key.alias,
        "CreateTime": to_seconds(key.created_at),
        "Description": key.description,
        "KeyState": outcome.state.value,
        "KeyUsage": key.usage.value,
        "TagCode": 0,
        "TagMsg": "ok",
        "HsmClusterId": "",
    }


def described(view: View, outcome: KeyShown) -> JsonObject:
    """Return the reply of DescribeKey."""
    return {"KeyMetadata": _metadata(view, outcome)}


def all_described(view: View, outcome: KeysShown) -> JsonObject:
    """Return the reply of DescribeKeys."""
    return {"KeyMetadatas": [_metadata(view, each) for each in outcome.keys]}


def listed(_view: View, outcome: KeysShown) -> JsonObject:
    """Return the reply of ListKeys."""
    keys: list[JsonValue] = [{"KeyId": each.key.key_id} for each in outcome.keys]
    return {"Keys": keys, "TotalCount": outcome.total}


def listed_in_detail(view: View, outcome: KeysShown) -> JsonObject:
    """Return the reply of ListKeyDetail."""
    return {"TotalCount": outcome.total, **all_described(view, outcome)}


def import_parameters(_view: View, outcome: ImportParameters) -> JsonObject:
    """Return the reply of GetParametersForImport."""
    return {
        "KeyId": outcome.key_id,
        "ImportToken": outcome.import_token.reveal().decode("ascii"),
        "PublicKey": strict_base64.encode(outcome.public_key),
        "ParametersValidTo": to_seconds(outcome.deadline),
    }


def deletion_scheduled(_view: View, outcome: KeyShown) -> JsonObject:
    """Return the reply of ScheduleKeyDeletion."""
    return {"DeletionDate": _seconds(outcome.key.deletion_due), "KeyId": outcome.key.key_id}


def deletion_cancelled(_view: View, outcome: KeyShown) -> JsonObject:
    """Return the reply of CancelKeyDeletion."""
    return {"KeyId": outcome.key.key_id}


def rotation_status(_view: View, _outcome: KeyShown) -> JsonObject:
    """Return the reply of GetKeyRotationStatus: no key here is rotated."""
    return {"KeyRotationEnabled": False}


def encrypted(_view: View, outcome: Encrypted) -> JsonObject:
    """Return the reply of Encrypt."""
    return {"CiphertextBlob": strict_base64.encode(outcome.ciphertext), "KeyId": outcome.key_id}


def decrypted(_view: View, outcome: Decrypted) -> JsonObject:
    """Return the reply of Decrypt."""
    return {"KeyId": outcome.key_id, "Plaintext": _revealed(outcome.plaintext)}


def re_encrypted(_view: View, outcome: ReEncrypted) -> JsonObject:
    """Return the reply of ReEncrypt."""
    return {
        "CiphertextBlob": strict_base64.encode(outcome.ciphertext),
        "KeyId": outcome.key_id,
        "SourceKeyId": outcome.source,
        "ReEncrypted": outcome.changed,
    }


def data_key(_view: View, outcome: DataKeyMade) -> JsonObject:
    """Return the reply of GenerateDataKey; the data key is not kept, and so has neither id nor tags."""
    return {
        "KeyId": outcome.key_id,
        "Plaintext": "" if outcome.plaintext is None else _revealed(outcome.plaintext),
        "CiphertextBlob": strict_base64.encode(outcome.ciphertext),
        "DataKeyId": "",
        "TagCode": 0,
        "TagMsg": "ok",
    }


def random_bytes(_view: View, outcome: RandomMade) -> JsonObject:
    """Return the reply of GenerateRandom."""
    return {"Plaintext": _revealed(outcome.value)}


def service_status(_view: View, outcome: ServiceShown) -> JsonObject:
    """Return the reply of GetServiceStatus: a service in order, without quotas and without what is sold apart."""
    return {
        "ServiceEnabled": True,
        "InvalidType": _SERVICE_IN_ORDER,
        "UserLevel": _LEVEL_WITHOUT_LIMITS,
        "ProExpireTime": 0,
        "ProRenewFlag": 0,
        "ProResourceId": "",
        "ExclusiveVSMEnabled": False,
        "ExclusiveHSMEnabled": False,
        "SubscriptionInfo": "",
        "CmkUserCount": outcome.keys,
        "CmkLimit": outcome.most_keys or _NO_LIMIT,
        "ExclusiveHSMList": [],
        "IsAllowedDataKeyHosted": False,
        "DataKeyLimit": 0,
        "FreeDataKeyLimit": 0,
        "DataKeyUsedCount": 0,
        "SyncTaskList": [],
        "IsAllowedSync": False,
        "QpsLimit": 0,
        "QpsTotalLimit": 0,
        "RegionsQps": [],
        "ResourceZone": 0,
        "ResourceRegion": 0,
        "MultiAccountLimit": 0,
        "MultiAccountUsedCount": 0,
    }


def regions(view: View, _outcome: Done) -> JsonObject:
    """Return the reply of GetRegions."""
    return {"Regions": list(view.regions)}


def algorithms(view: View, _outcome: Done) -> JsonObject:
    """Return the reply of ListAlgorithms: nothing that the token does not do."""
    symmetric: JsonObject = {"KeyUsage": KeyUsage.ENCRYPT_DECRYPT.value, "Algorithm": CIPHERS[view.edition]}
    return {
        "SymmetricAlgorithms": [symmetric] if OF_EDITION[view.edition] in view.ciphers else [],
        "AsymmetricAlgorithms": [],
        "AsymmetricSignVerifyAlgorithms": [],
    }


def _metadata(view: View, shown: KeyShown) -> JsonObject:
    key = shown.key
    usable = key.material if shown.state is not KeyState.PENDING_IMPORT else None
    return {
        "KeyId": key.key_id,
        "Alias": key.alias,
        "CreateTime": to_seconds(key.created_at),
        "Description": key.description,
        "KeyState": shown.state.value,
        "KeyUsage": key.usage.value,
        "Type": STANDARDS[view.edition],
        "CreatorUin": view.account.number,
        "KeyRotationEnabled": False,
        "Owner": "user",
        "NextRotateTime": 0,
        "DeletionDate": _seconds(key.deletion_due),
        "Origin": ORIGINS[key.origin],
        "ValidTo": _seconds(usable.valid_to) if usable is not None else 0,
        "ResourceId": f"creatorUin/{view.account.number}/{key.key_id}",
        "HsmClusterId": "",
        "RotateDays": 0,
        "LastRotateTime": 0,
        "IsSyncReplica": 0,
        "SourceRegion": "",
        "SyncStatus": 0,
        "SyncMessages": "",
        "SyncStartTime": 0,
        "SyncEndTime": 0,
        "SourceHsmClusterId": "",
        "AccountAppId": 0,
        "AccountUin": 0,
        "AccountName": "",
        "CreatorUinString": view.account.name,
    }


def _seconds(instant: Instant | None) -> int:
    return 0 if instant is None else to_seconds(instant)


def _revealed(plaintext: Plaintext) -> str:
    return strict_base64.encode(plaintext.reveal())
