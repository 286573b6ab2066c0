"""Outcomes as the documented response fields, every one of them: what does not apply here is 0, "" or false.

Source: the response structures of the Tencent Cloud KMS API 2019-01-18. Times are Unix seconds, 0 when there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.ids import to_seconds
from hsmkms.core.keys import KeyState, KeyUsage, Origin
from hsmkms.core.material import Edition
from hsmkms.dialects import strict_base64

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hsmkms.core.ids import Account, Instant
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.dialects.strict_json import JsonObject, JsonValue
    from hsmkms.service.commands import Done, ImportParameters, KeyShown, KeysShown, Outcome, ServiceShown

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
    """Return the reply of ListAlgorithms."""
    symmetric: JsonObject = {"KeyUsage": KeyUsage.ENCRYPT_DECRYPT.value, "Algorithm": CIPHERS[view.edition]}
    return {
        "SymmetricAlgorithms": [symmetric],
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
