"""Two clouds' official clients behind one set of calls: raw bytes and Tencent's words for states, whoever is asked."""

from __future__ import annotations

import base64
import hashlib
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e.cloud_client import CloudClient
from tests.e2e.history_model import Context
from tests.e2e.history_rules import ARCHIVED, DISABLED, ENABLED, GRANTED, PENDING_DELETE, PENDING_IMPORT
from tests.e2e.huawei_client import HuaweiClient
from tests.e2e.tencent_client import TencentClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import ImportParameters

NUMBERS: Final = {"2": ENABLED, "3": DISABLED, "4": PENDING_DELETE, "5": PENDING_IMPORT, "7": ARCHIVED}
_TENCENT_FILTERS: Final = {ENABLED: 1, DISABLED: 2, PENDING_DELETE: 3, PENDING_IMPORT: 4, ARCHIVED: 5, None: 0}
_MOST_KEYS: Final = 200
MOST_DATA_KEY_BYTES: Final = 1024
ClientT_co = TypeVar("ClientT_co", bound=CloudClient, covariant=True)


class Answer(NamedTuple):
    """What a request was told."""

    code: str
    """`GRANTED`, or the refusal's."""
    value: Any = None


class Sealed(NamedTuple):
    """A ciphertext, and what else a request to decrypt it can say."""

    raw: bytes
    named: str | None
    """The key's id, if the request says it."""
    size: int
    """Of the plaintext, in bytes."""


class Shown(NamedTuple):
    """What both clouds show of a key."""

    key_id: str
    account: str
    alias: str
    external: bool
    state: str
    valid_to: int
    deletion_date: int


class Actor(ABC, Generic[ClientT_co]):
    """One account's client of one cloud."""

    def __init__(self, client: ClientT_co) -> None:
        """Ask through `client`."""
        self.client = client

    @abstractmethod
    def ask(self, call: Callable[[], Any]) -> Answer:
        """Make a request that may be refused."""

    @abstractmethod
    def create(self, alias: str, *, external: bool) -> str:
        """Return a new key's id."""

    @abstractmethod
    def schedule(self, key_id: str, days: int) -> Any:
        """Have a key deleted in some days."""

    @abstractmethod
    def cancel(self, key_id: str) -> Any:
        """Keep a key after all."""

    @abstractmethod
    def relabel(self, key_id: str, alias: str) -> Any:
        """Give a key an alias."""

    @abstractmethod
    def speakable(self, context: Context) -> Context:
        """Return a context, or none if the cloud has no words for it."""

    @abstractmethod
    def encrypt(self, key_id: str, plaintext: bytes, context: Context) -> bytes:
        """Return a ciphertext."""

    @abstractmethod
    def decrypt(self, sealed: Sealed, context: Context) -> bytes:
        """Return a plaintext."""

    @abstractmethod
    def re_encrypt(self, raw: bytes, context: Context, target: str, target_context: Context) -> bytes:
        """Return a ciphertext."""

    @abstractmethod
    def data_key(self, key_id: str, size: int, context: Context) -> tuple[bytes, bytes]:
        """Return a data key and its ciphertext."""

    @abstractmethod
    def shown(self, key_id: str) -> Shown:
        """Return what is shown of a key."""

    @abstractmethod
    def listed(self, prefix: str, state: str | None) -> list[str]:
        """Return the ids of the keys of a history, whose aliases begin with `prefix`, the oldest first."""

    def re_encryptable(self, context: Context) -> Context:
        """Return a context, or none if re-encryption has no words for it."""
        return self.speakable(context)

    def switch(self, key_id: str, *, on: bool) -> Any:
        """Enable or disable a key."""
        return self.client.enable(key_id) if on else self.client.disable(key_id)

    def parameters(self, key_id: str) -> ImportParameters:
        """Return import parameters."""
        return self.client.parameters(key_id)


class TencentActor(Actor[TencentClient]):
    """An account that speaks to Tencent's API."""

    def ask(self, call: Callable[[], Any]) -> Answer:
        """Make a request that may be refused."""
        try:
            return Answer(GRANTED, call())
        except TencentCloudSDKException as error:
            return Answer(str(error.get_code()))

    def create(self, alias: str, *, external: bool) -> str:
        """Return a new key's id."""
        return str(self.client.call("CreateKey", Alias=alias, Type=2 if external else 1).KeyId)

    def schedule(self, key_id: str, days: int) -> Any:
        """Have a key deleted in some days."""
        return self.client.call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=days)

    def cancel(self, key_id: str) -> Any:
        """Keep a key after all."""
        return self.client.call("CancelKeyDeletion", KeyId=key_id)

    def relabel(self, key_id: str, alias: str) -> Any:
        """Give a key an alias."""
        return self.client.call("UpdateAlias", KeyId=key_id, Alias=alias)

    def speakable(self, context: Context) -> Context:
        """Return a context, or none if it is a text, which this cloud does not have."""
        return Context() if context.text else context

    def encrypt(self, key_id: str, plaintext: bytes, context: Context) -> bytes:
        """Return a ciphertext."""
        encoded = base64.b64encode(plaintext).decode()
        return _unbase64(
            self.client.call(
                "Encrypt", KeyId=key_id, Plaintext=encoded, EncryptionContext=_pairs(context)
            ).CiphertextBlob
        )

    def decrypt(self, sealed: Sealed, context: Context) -> bytes:
        """Return a plaintext; nobody names a key or a length here."""
        blob = base64.b64encode(sealed.raw).decode()
        return _unbase64(self.client.call("Decrypt", CiphertextBlob=blob, EncryptionContext=_pairs(context)).Plaintext)

    def re_encrypt(self, raw: bytes, context: Context, target: str, target_context: Context) -> bytes:
        """Return a ciphertext."""
        answer = self.client.call(
            "ReEncrypt",
            CiphertextBlob=base64.b64encode(raw).decode(),
            DestinationKeyId=target,
            SourceEncryptionContext=_pairs(context),
            DestinationEncryptionContext=_pairs(target_context),
        )
        again = _unbase64(answer.CiphertextBlob)
        assert answer.ReEncrypted is (again != raw)
        return again

    def data_key(self, key_id: str, size: int, context: Context) -> tuple[bytes, bytes]:
        """Return a data key and its ciphertext."""
        made = self.client.call("GenerateDataKey", KeyId=key_id, NumberOfBytes=size, EncryptionContext=_pairs(context))
        return _unbase64(made.Plaintext), _unbase64(made.CiphertextBlob)

    def shown(self, key_id: str) -> Shown:
        """Return what is shown of a key."""
        key = self.client.describe(key_id)
        external = {"EXTERNAL": True, "TENCENT_KMS": False}[key.Origin]
        return Shown(key.KeyId, key.CreatorUinString, key.Alias, external, key.KeyState, key.ValidTo, key.DeletionDate)

    def listed(self, prefix: str, state: str | None) -> list[str]:
        """Return the ids of the keys of a history, the oldest first."""
        wanted = {"KeyState": _TENCENT_FILTERS[state], "SearchKeyAlias": prefix, "OrderType": 1, "Limit": _MOST_KEYS}
        answer = self.client.call("ListKeyDetail", **wanted)
        assert answer.TotalCount == len(answer.KeyMetadatas)
        return [key.KeyId for key in answer.KeyMetadatas]


class HuaweiActor(Actor[HuaweiClient]):
    """An account that speaks to Huawei's API."""

    def __init__(self, client: HuaweiClient) -> None:
        """Ask through `client`; keys that it has now are of earlier histories."""
        super().__init__(client)
        self.marker = 0

    def ask(self, call: Callable[[], Any]) -> Answer:
        """Make a request that may be refused."""
        try:
            return Answer(GRANTED, call())
        except ServiceResponseException as error:
            return Answer(str(error.error_code))

    def create(self, alias: str, *, external: bool) -> str:
        """Return a new key's id."""
        return self.client.created(key_alias=alias, origin="external" if external else "kms")

    def schedule(self, key_id: str, days: int) -> Any:
        """Have a key deleted in some days."""
        return self.client.call("delete_key", key_id=key_id, pending_days=str(days))

    def cancel(self, key_id: str) -> Any:
        """Keep a key after all."""
        return self.client.call("cancel_key_deletion", key_id=key_id)

    def relabel(self, key_id: str, alias: str) -> Any:
        """Give a key an alias."""
        return self.client.call("update_key_alias", key_id=key_id, key_alias=alias)

    def speakable(self, context: Context) -> Context:
        """Return a context: this cloud has words for each."""
        return context

    def re_encryptable(self, context: Context) -> Context:
        """Return a context, or none if it is named values: re-encrypt has only the text."""
        return Context() if context.pairs else context

    def encrypt(self, key_id: str, plaintext: bytes, context: Context) -> bytes:
        """Return a ciphertext: of data if it is text, otherwise of a data key."""
        members = {"key_id": key_id, **_spoken(context)}
        try:
            text = plaintext.decode()
        except UnicodeDecodeError:
            joined = plaintext + hashlib.sha256(plaintext).digest()
            members |= {"plain_text": joined.hex(), "datakey_plain_length": str(len(plaintext))}
            return bytes.fromhex(self.client.call_json("encrypt_datakey", members).cipher_text)
        return _unbase64(self.client.call_json("encrypt_data", members | {"plain_text": text}).cipher_text)

    def decrypt(self, sealed: Sealed, context: Context) -> bytes:
        """Return a plaintext; if a key is named and it is short enough, as a data key."""
        members: dict[str, Any] = _spoken(context)
        if sealed.named is None or sealed.size > MOST_DATA_KEY_BYTES:
            members |= {"cipher_text": base64.b64encode(sealed.raw).decode(), "key_id": sealed.named or ""}
            return _unbase64(self.client.call_json("decrypt_data", members).plain_text_base64)
        members |= {"cipher_text": sealed.raw.hex(), "key_id": sealed.named, "datakey_cipher_length": str(sealed.size)}
        answer = self.client.call_json("decrypt_datakey", members)
        data_key = bytes.fromhex(answer.data_key)
        assert bytes.fromhex(answer.datakey_dgst) == hashlib.sha256(data_key).digest()
        return data_key

    def re_encrypt(self, raw: bytes, context: Context, target: str, target_context: Context) -> bytes:
        """Return a ciphertext."""
        answer = self.client.call(
            "re_encrypt",
            cipher_text=base64.b64encode(raw).decode(),
            destination_key_id=target,
            source_additional_authenticated_data=context.text,
            destination_additional_authenticated_data=target_context.text,
        )
        return _unbase64(answer.cipher_text)

    def data_key(self, key_id: str, size: int, context: Context) -> tuple[bytes, bytes]:
        """Return a data key and its ciphertext."""
        members = {"key_id": key_id, "datakey_length": str(size * 8), **_spoken(context)}
        made = self.client.call_json("create_datakey", members)
        return bytes.fromhex(made.plain_text), bytes.fromhex(made.cipher_text)

    def shown(self, key_id: str) -> Shown:
        """Return what is shown of a key."""
        key = self.client.describe(key_id)
        external = {"external": True, "kms": False}[key.origin]
        valid_to, deletion_date = (
            int(milliseconds or 0) // 1000 for milliseconds in (key.expiration_time, key.scheduled_deletion_date)
        )
        return Shown(
            key.key_id, key.domain_id, key.key_alias, external, NUMBERS[key.key_state], valid_to, deletion_date
        )

    def begin(self) -> None:
        """Remember about how many keys there were before this history; some of them may still be swept."""
        self.marker = max(0, self.client.call("show_user_instances").instance_num - 20)

    def listed(self, prefix: str, state: str | None) -> list[str]:
        """Return the ids of the keys of a history, the oldest first."""
        fields: dict[str, Any] = {"limit": "1000"}
        if state in {None, ARCHIVED}:  # this cloud cannot ask for archived keys, and shows them
            fields["marker"] = str(self.marker)
        else:
            fields["key_state"] = next(number for number, each in NUMBERS.items() if each == state)
        shown: dict[str, str] = {}
        more = "true"
        while more == "true":
            answer = self.client.call("list_keys", **fields)
            assert [key.key_id for key in answer.key_details] == answer.keys
            shown |= {
                key.key_id: NUMBERS[key.key_state] for key in answer.key_details if key.key_alias.startswith(prefix)
            }
            more, fields["marker"] = answer.truncated, answer.next_marker
        return [key_id for key_id in shown if state in {None, shown[key_id]}]


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _pairs(context: Context) -> str | None:
    return json.dumps(dict(context.pairs)) if context.pairs else None


def _spoken(context: Context) -> dict[str, Any]:
    if context.pairs:
        return {"encryption_context": dict(context.pairs)}
    return {"additional_authenticated_data": context.text} if context.text else {}
