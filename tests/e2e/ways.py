"""Ways to reach an error code of the API: what `test_codes` walks. The ways themselves are in `ways_of_...`."""

from __future__ import annotations

import contextlib
import importlib
import secrets
import sqlite3
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.running import Client, RunningService


class Failure(NamedTuple):
    """What a refused request was told."""

    code: str
    message: str


@dataclass
class World:
    """A running service and two of its accounts."""

    service: RunningService
    client: Client
    stranger: Client

    # --- failing requests ---------------------------------------------------------------------------

    def sdk(self, action: str, client: Client | None = None, **fields: Any) -> Failure:
        """Call through the SDK's model of the action."""
        error = (client or self.client).error(action, **fields)
        return Failure(error.get_code(), error.get_message())

    def json(self, action: str, members: dict[str, Any]) -> Failure:
        """Call through the SDK with members that its models do not have."""
        try:
            answer = self.client.sdk.call_json(action, members)
        except TencentCloudSDKException as error:
            return Failure(error.get_code(), error.get_message())
        raise AssertionError(answer)

    def raw(self, action: str, body: object, headers: dict[str, str | None] | None = None, **signer: Any) -> Failure:
        """Send what the SDK would not."""
        answer = raw.signed(self.service.endpoint, self.client.keys, action, body, headers, **signer)
        assert (answer.status, answer.values("content-type")) == (200, ["application/json"]), answer
        return Failure(*answer.error)

    def import_(self, key_id: str, parameters: Any, encrypted: str, valid_to: Any = None) -> Failure:
        """Import, and be refused."""
        return self.sdk(
            "ImportKeyMaterial",
            KeyId=key_id,
            ImportToken=parameters.ImportToken,
            EncryptedKeyMaterial=encrypted,
            ValidTo=valid_to,
        )

    # --- what they need -----------------------------------------------------------------------------

    def material(self) -> bytes:
        """Return material of the right length."""
        return secrets.token_bytes(self.service.instance.material_bytes)

    def enabled_key(self) -> str:
        """Return an EXTERNAL key that holds material."""
        key_id = self.client.external_key()
        self.client.bring(key_id, self.material())
        return key_id

    def generated_key(self) -> str:
        """Return a key whose material the token generated."""
        return str(self.client.call("CreateKey", Alias=f"g-{uuid.uuid4()}", Type=1).KeyId)

    def ready(self, client: Client | None = None) -> tuple[str, Any, str]:
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

    # --- what must not change -----------------------------------------------------------------------

    def shown(self, key_id: str | None) -> object:
        """Return how many keys there are, and all that is known of one."""
        count = self.client.call("ListKeyDetail", KeyUsage="ALL", Limit=1).TotalCount
        if key_id is None:
            return count
        return count, self.client.call("DescribeKey", KeyId=key_id).KeyMetadata._serialize()


@dataclass
class Attempt:
    """A request that must be refused, and everything around it."""

    send: Callable[[], Failure]
    key_id: str | None = None
    """Must be shown the same before and after."""
    says: str = ""
    """Part of the message."""
    undo: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Way:
    """One way to reach a code."""

    code: str
    name: str
    prepare: Callable[[World], Attempt] = field(repr=False)
    impatient: bool = False
    """Needs the service with short deadlines."""
    everywhere: bool = True
    """Tried on every token, and not on one only because the token has no part in it."""


WAYS: Final[list[Way]] = []


def reaches(
    code: str, *, impatient: bool = False
) -> Callable[[Callable[[World], Attempt]], Callable[[World], Attempt]]:
    """Register the decorated preparation as a way to reach `code`."""

    def register(prepare: Callable[[World], Attempt]) -> Callable[[World], Attempt]:
        WAYS.append(Way(code, prepare.__name__, prepare, impatient))
        return prepare

    return register


def add(code: str, name: str, prepare: Callable[[World], Attempt]) -> None:
    """Register a way of a table: only the first of a code is tried everywhere."""
    WAYS.append(Way(code, name, prepare, everywhere=all(way.code != code for way in WAYS)))


def register_all() -> None:
    """Fill `WAYS`: a module of ways registers them when it is imported."""
    for name in ("ways_of_requests", "ways_of_imports"):
        importlib.import_module(f"tests.e2e.{name}")
