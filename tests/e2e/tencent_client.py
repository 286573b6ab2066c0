"""The official Tencent SDK, unmodified, pointed at a service of ours."""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, models

from tests.e2e.cloud_client import LEAST_PENDING_DAYS, CloudClient, DataKey, Failure, ImportParameters, P

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class TencentClient(CloudClient):
    """Calls by the names of Tencent's actions, and the ceremony."""

    def __init__(self, endpoint: str, keys: dict[str, str], algorithm: str, **profile: Any) -> None:
        """Point an unmodified client at `endpoint`."""
        super().__init__(endpoint, keys, algorithm)
        http = HttpProfile(**{"protocol": "http", "endpoint": endpoint, "reqTimeout": 30, **profile})
        self.sdk = kms_client.KmsClient(
            credential.Credential(keys["secret_id"], keys["secret_key"]),
            "ap-guangzhou",
            ClientProfile(httpProfile=http),
        )

    def call(self, action: str, **fields: Any) -> Any:
        """Call an action with the given fields, None left out, and return the SDK's response."""
        request = getattr(models, f"{action}Request")()
        for name, value in fields.items():
            setattr(request, name, value)
        return getattr(self.sdk, action)(request)

    def code(self, action: str, **fields: Any) -> str:
        """Return the error code of a call that must fail."""
        return self.failure(self.call, action, **fields).code

    def failure(self, method: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Failure:
        """Return what a call of this client was told, which must be refused."""
        with pytest.raises(TencentCloudSDKException) as caught:
            method(*args, **kwargs)
        return Failure(caught.value.get_code(), caught.value.get_message())

    def external_key(self) -> str:
        """Create an EXTERNAL key and return its id."""
        return str(self.call("CreateKey", Alias=f"e-{secrets.token_hex(8)}", Type=2).KeyId)

    def generated_key(self) -> str:
        """Create a key whose material the token generates, and return its id."""
        return str(self.call("CreateKey", Alias=f"g-{secrets.token_hex(8)}", Type=1).KeyId)

    def parameters(self, key_id: str, algorithm: str | None = None) -> ImportParameters:
        """Get import parameters."""
        answer = self.call(
            "GetParametersForImport",
            KeyId=key_id,
            WrappingAlgorithm=algorithm or self.algorithm,
            WrappingKeySpec="RSA_2048",
        )
        assert answer.KeyId == key_id
        return ImportParameters(answer.ImportToken, answer.PublicKey, answer.ParametersValidTo)

    def import_(self, key_id: str, parameters: ImportParameters, encrypted: str, valid_to: Any = None) -> Any:
        """Import."""
        return self.call(
            "ImportKeyMaterial",
            KeyId=key_id,
            ImportToken=parameters.import_token,
            EncryptedKeyMaterial=encrypted,
            ValidTo=valid_to,
        )

    def delete_material(self, key_id: str) -> Any:
        """Delete what was imported."""
        return self.call("DeleteImportedKeyMaterial", KeyId=key_id)

    def enable(self, key_id: str) -> Any:
        """Switch a key on."""
        return self.call("EnableKey", KeyId=key_id)

    def disable(self, key_id: str) -> Any:
        """Switch a key off."""
        return self.call("DisableKey", KeyId=key_id)

    def schedule_deletion(self, key_id: str, days: int = LEAST_PENDING_DAYS) -> Any:
        """Let a key be deleted after some days."""
        return self.call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=days)

    def cancel_deletion(self, key_id: str) -> Any:
        """Keep a key that was to be deleted."""
        return self.call("CancelKeyDeletion", KeyId=key_id)

    def is_rotated(self, key_id: str) -> bool:
        """Tell whether a key gets new material from time to time."""
        return bool(self.call("GetKeyRotationStatus", KeyId=key_id).KeyRotationEnabled)

    def encrypt(self, key_id: str, plaintext: bytes, context: Mapping[str, str] | None = None) -> bytes:
        """Encrypt."""
        sent = base64.b64encode(plaintext).decode()
        answer = self.call("Encrypt", KeyId=key_id, Plaintext=sent, EncryptionContext=_text(context))
        assert answer.KeyId == key_id
        return base64.b64decode(answer.CiphertextBlob, validate=True)

    def decrypt(self, ciphertext: bytes, context: Mapping[str, str] | None = None) -> bytes:
        """Decrypt."""
        sent = base64.b64encode(ciphertext).decode()
        answer = self.call("Decrypt", CiphertextBlob=sent, EncryptionContext=_text(context))
        return base64.b64decode(answer.Plaintext, validate=True)

    def re_encrypt(self, ciphertext: bytes, key_id: str) -> bytes:
        """Decrypt, and encrypt with a key."""
        sent = base64.b64encode(ciphertext).decode()
        answer = self.call("ReEncrypt", CiphertextBlob=sent, DestinationKeyId=key_id)
        assert answer.KeyId == key_id
        return base64.b64decode(answer.CiphertextBlob, validate=True)

    def data_key(self, key_id: str) -> DataKey:
        """Make a data key of 256 bits."""
        made = self.call("GenerateDataKey", KeyId=key_id, KeySpec="AES_256")
        assert made.KeyId == key_id
        return DataKey(base64.b64decode(made.Plaintext), base64.b64decode(made.CiphertextBlob))

    def random(self, size: int) -> bytes:
        """Return so many random bytes."""
        return base64.b64decode(self.call("GenerateRandom", NumberOfBytes=size).Plaintext, validate=True)

    def describe(self, key_id: str) -> Any:
        """Return the SDK's model of all that is known of a key."""
        return self.call("DescribeKey", KeyId=key_id).KeyMetadata

    def state(self, key_id: str) -> str:
        """Return the key's state, as the cloud writes it."""
        return str(self.describe(key_id).KeyState)

    def shown(self, key_id: str | None) -> object:
        """Return how many keys there are, and all that is known of one, in a form to compare."""
        count = self.call("ListKeyDetail", KeyUsage="ALL", Limit=1).TotalCount
        return count if key_id is None else (count, self.describe(key_id)._serialize())


def _text(context: Mapping[str, str] | None) -> str | None:
    return None if context is None else json.dumps(context)
