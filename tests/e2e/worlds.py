"""What a way to an error code needs around it: a running service, two of its accounts, and requests of any form."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from tests.e2e import raw
from tests.e2e.cloud_client import CloudClient, Failure, ImportParameters
from tests.e2e.huawei_client import HuaweiClient
from tests.e2e.tencent_client import TencentClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import RunningService

ClientT_co = TypeVar("ClientT_co", bound=CloudClient, covariant=True)

MOST_USES: Final = 2**31
"""How often a key may encrypt with GCM and random IVs."""


@dataclass(frozen=True)
class World(ABC, Generic[ClientT_co]):
    """A running service and clients of two of its accounts, in the words of any cloud."""

    service: RunningService
    client: ClientT_co
    stranger: ClientT_co

    @classmethod
    @abstractmethod
    def of(cls, service: RunningService, keys: dict[str, str] | None = None) -> Self:
        """Return the world of a credential, or of the instance's own; its stranger is the instance's own."""

    def another(self, account: str) -> Self:
        """Return the world of a new account."""
        return self.of(self.service, self.service.instance.another_credential(account))

    def import_(self, key_id: str, parameters: ImportParameters, encrypted: str, valid_to: Any = None) -> Failure:
        """Import, and be refused."""
        return self.client.failure(self.client.import_, key_id, parameters, encrypted, valid_to)

    def material(self) -> bytes:
        """Return material of the right length."""
        return secrets.token_bytes(self.service.instance.material_bytes)

    def enabled_key(self) -> str:
        """Return an EXTERNAL key that holds material."""
        key_id = self.client.external_key()
        self.client.bring(key_id, self.material())
        return key_id

    def ready(self, client: CloudClient | None = None) -> tuple[str, ImportParameters, str]:
        """Return a key without material, parameters for it, and material wrapped for them."""
        client = client or self.client
        key_id = client.external_key()
        parameters = client.parameters(key_id)
        return key_id, parameters, client.wrapped(parameters, self.material())

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """Change rows behind the service's back."""
        connection = sqlite3.connect(self.service.instance.database, timeout=10)
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()

    def archive(self, key_id: str) -> None:
        """Archive a key, which only one cloud can."""
        self.service.client(self.client.keys).call("ArchiveKey", KeyId=key_id)

    def use_up(self, key_id: str) -> None:
        """Let a key that this service has not encrypted with yet have encrypted as often as one may."""
        with self.database() as database:
            database.execute("UPDATE keys SET uses_leased = ? WHERE key_id = ?", (MOST_USES, key_id))

    def let_deletion_be_due(self, key_id: str) -> None:
        """Let the days pass after which a key is deleted: there are 7 at least."""
        with self.database() as database:
            changed = database.execute(
                "UPDATE keys SET deletion_due = 1 WHERE key_id = ? AND deletion_due IS NOT NULL", (key_id,)
            )
            assert changed.rowcount == 1


class TencentWorld(World[TencentClient]):
    """Requests to Tencent's API that must be refused."""

    @classmethod
    def of(cls, service: RunningService, keys: dict[str, str] | None = None) -> Self:
        """Return the world of a credential, or of the instance's own; its stranger is the instance's own."""
        return cls(service, service.client(keys), service.client())

    def sdk(self, action: str, client: TencentClient | None = None, **fields: Any) -> Failure:
        """Call through the SDK's model of the action."""
        client = client or self.client
        return client.failure(client.call, action, **fields)

    def json(self, action: str, members: dict[str, Any]) -> Failure:
        """Call through the SDK with members that its models do not have."""
        return self.client.failure(self.client.sdk.call_json, action, members)

    def raw(self, action: str, body: object, headers: dict[str, str | None] | None = None, **signer: Any) -> Failure:
        """Send what the SDK would not."""
        answer = raw.signed(self.service.endpoint, self.client.keys, action, body, headers, **signer)
        assert (answer.status, answer.values("content-type")) == (200, ["application/json"]), answer
        return Failure(*answer.error)


class HuaweiWorld(World[HuaweiClient]):
    """Requests to Huawei's API that must be refused."""

    @classmethod
    def of(cls, service: RunningService, keys: dict[str, str] | None = None) -> Self:
        """Return the world of a credential, or of the instance's own; its stranger is the instance's own."""
        return cls(service, service.huawei(keys), service.huawei())

    def sdk(self, method: str, client: HuaweiClient | None = None, **fields: Any) -> Failure:
        """Call through the SDK's model of the operation."""
        client = client or self.client
        return client.failure(client.call, method, **fields)

    def json(self, method: str, members: object) -> Failure:
        """Call through the SDK with members that its models do not have; a str is sent as it is."""
        return self.client.failure(self.client.call_json, method, members)

    def raw(self, operation: str, body: object, headers: dict[str, str] | None = None, **signer: Any) -> Failure:
        """Send what the SDK would not."""
        return told(raw.signed_as_huawei(self.service.endpoint, self.client.keys, operation, body, headers, **signer))

    def with_other_keys(self, **changed: str) -> HuaweiClient:
        """Return a client whose credential is not quite this world's."""
        return self.service.huawei({**self.client.keys, **changed})


def told(answer: raw.Answer) -> Failure:
    """Return what a request to Huawei's API was told; every answer has one request id."""
    (request_id,) = answer.values("x-request-id")
    assert answer.content.get("request_id", request_id) == request_id
    error = answer.content.get("error", answer.content)
    return Failure(error["error_code"], error["error_msg"], answer.status)
