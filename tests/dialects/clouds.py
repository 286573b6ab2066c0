"""The service room behind each dialect, and a client who signs what he asks of it."""

from __future__ import annotations

import asyncio
import base64
import json
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hsmkms.audit.chain import link
from hsmkms.core.credentials import Grant, Role
from hsmkms.core.ids import RequestId, to_seconds
from hsmkms.core.material import Edition
from hsmkms.dialects.huawei.dialect import HuaweiDialect
from hsmkms.dialects.tencent.dialect import TencentDialect
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.dialects.huawei.signing import Signer as HuaweiSigner
from tests.dialects.state_table import GRANTED
from tests.dialects.tencent.signing import Signer as TencentSigner
from tests.service.counted_hsm import wrapped
from tests.service.house import MATERIAL, OAEP, House, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hsmkms.core.ids import KeyId
    from hsmkms.dialects.base import Dialect, RequestHead
    from hsmkms.service.credentials import IssuedCredential
    from tests.dialects.situations import Subject

REQUEST_ID: Final = RequestId("5b0b6c8a-3d6c-4a57-8a4e-0d4a3f0f2c11")
Members: TypeAlias = dict[str, Any]
_GETS: Final = frozenset(("user-instances", "user-quotas", "projects"))
ALL_KEYS: Final[Members] = {"limit": "1000"}
"""Huawei lists the oldest key first; Tencent the youngest, so that one made just now is among the first few."""


@dataclass(frozen=True)
class Answer:
    """What a cloud said."""

    code: str
    """`GRANTED`, or the refusal's code."""
    members: Members


@dataclass(frozen=True)
class Cloud(ABC):
    """A client of one account, and the dialect that answers him."""

    house: House
    credential: IssuedCredential
    dialect: Dialect

    async def act(self, action: str, subject: Subject) -> Answer:
        """Ask for an action that the key's state or origin can forbid."""
        return await self.ask(action, self._fields(subject)[action])

    @abstractmethod
    async def state(self, key_id: KeyId) -> str:
        """Return the state that a description of the key shows."""

    @abstractmethod
    async def listed_states(self, key_id: KeyId) -> set[str]:
        """Return the states of the key that all other descriptions show."""

    @abstractmethod
    async def names(self) -> list[str]:
        """Return the keys that the shorter list names."""

    async def granted(self, action: str, fields: Members | None = None) -> Members:
        """Return the members of an answer that must not be a refusal."""
        answer = await self.ask(action, fields or {})
        assert answer.code == GRANTED, (action, answer)
        return answer.members

    async def ask(self, action: str, fields: Members) -> Answer:
        """Send one signed request."""
        reply = await self.dialect.answer(*self._signed(action, fields), REQUEST_ID)
        return self._answer(json.loads(reply.body))

    @property
    def now(self) -> int:
        """The second to sign at."""
        return to_seconds(self.house.clock.now())

    @property
    def secret(self) -> str:
        """What to sign with."""
        return self.credential.secret.reveal().decode()

    @abstractmethod
    def _fields(self, subject: Subject) -> dict[str, Members]: ...

    @abstractmethod
    def _signed(self, action: str, fields: Members) -> tuple[RequestHead, bytes]: ...

    @staticmethod
    @abstractmethod
    def _answer(body: Members) -> Answer: ...


class Tencent(Cloud):
    """API 3.0."""

    async def state(self, key_id: KeyId) -> str:
        """Return what DescribeKey shows."""
        shown: str = (await self.granted("DescribeKey", {"KeyId": key_id}))["KeyMetadata"]["KeyState"]
        return shown

    async def listed_states(self, key_id: KeyId) -> set[str]:
        """Return what DescribeKeys and ListKeyDetail show."""
        described = (await self.granted("DescribeKeys", {"KeyIds": [key_id]}))["KeyMetadatas"]
        listed = (await self.granted("ListKeyDetail", {"KeyUsage": "ALL"}))["KeyMetadatas"]
        return {each["KeyState"] for each in (*described, *listed) if each["KeyId"] == key_id}

    async def names(self) -> list[str]:
        """Return what ListKeys names."""
        return [each["KeyId"] for each in (await self.granted("ListKeys"))["Keys"]]

    def _fields(self, subject: Subject) -> dict[str, Members]:
        key: Members = {"KeyId": subject.key_id}
        return {
            "GetParametersForImport": key | {"WrappingAlgorithm": OAEP, "WrappingKeySpec": "RSA_2048"},
            "ImportKeyMaterial": key
            | {"ImportToken": _import_token(subject), "EncryptedKeyMaterial": _encrypted(subject)},
            "DeleteImportedKeyMaterial": key,
            "EnableKey": key,
            "DisableKey": key,
        }

    def _signed(self, action: str, fields: Members) -> tuple[RequestHead, bytes]:
        return TencentSigner(self.credential.access_id, self.secret, at=self.now).sign(action, fields)

    @staticmethod
    def _answer(body: Members) -> Answer:
        members: Members = body["Response"]
        return Answer(members["Error"]["Code"] if "Error" in members else GRANTED, members)


class Huawei(Cloud):
    """API v1.0."""

    async def state(self, key_id: KeyId) -> str:
        """Return what describe-key shows."""
        shown: str = (await self.granted("describe-key", {"key_id": key_id}))["key_info"]["key_state"]
        return shown

    async def listed_states(self, key_id: KeyId) -> set[str]:
        """Return what list-keys shows."""
        listed = (await self.granted("list-keys", ALL_KEYS))["key_details"]
        return {each["key_state"] for each in listed if each["key_id"] == key_id}

    async def names(self) -> list[str]:
        """Return what list-keys names."""
        names: list[str] = (await self.granted("list-keys", ALL_KEYS))["keys"]
        return names

    def _fields(self, subject: Subject) -> dict[str, Members]:
        key: Members = {"key_id": subject.key_id}
        return {
            "get-parameters-for-import": key | {"wrapping_algorithm": OAEP},
            "import-key-material": key
            | {"import_token": _import_token(subject), "encrypted_key_material": _encrypted(subject)},
            "delete-imported-key-material": key,
            "enable-key": key,
            "disable-key": key,
            "update-key-alias": key | {"key_alias": f"another/{subject.key_id}"},
            "update-key-description": key | {"key_description": "another description"},
        }

    def _signed(self, action: str, fields: Members) -> tuple[RequestHead, bytes]:
        project = self.credential.account
        path = "/v3/projects" if action == "projects" else f"/v1.0/{project}/kms/{action}"
        method = "GET" if action in _GETS else "POST"
        signer = HuaweiSigner(self.credential.access_id, self.secret, at=self.now, method=method, path=path)
        return signer.sign(None if action in _GETS else fields, {"X-Project-Id": project})

    @staticmethod
    def _answer(body: Members) -> Answer:
        return Answer(body["error"]["error_code"] if "error" in body else body.get("error_code", GRANTED), body)


@dataclass(frozen=True)
class Clouds:
    """Both, for one account on one deployment."""

    house: House
    tencent: Tencent
    huawei: Huawei


@asynccontextmanager
async def both_clouds(url: str) -> AsyncIterator[Clouds]:
    """Open a deployment on a new database, which shares one pair among all import tokens."""
    await upgrade(url)
    async with AsyncExitStack() as stack:
        store = await open_store(url, link=link, busy_seconds=30)
        stack.push_async_callback(store.close)
        house = House(store, Settings(tickets_per_pair=1000))
        await house.open()
        filling = asyncio.create_task(house.pool.keep_filled())
        stack.callback(filling.cancel)
        credential = await house.credentials.create(Grant(house.caller.account.name, frozenset(Role)))
        yield Clouds(
            house,
            Tencent(house, credential, TencentDialect(house.service, house.clock, Edition.FIPS)),
            Huawei(house, credential, HuaweiDialect(house.service, house.clock, Edition.FIPS)),
        )


def _import_token(subject: Subject) -> str:
    return subject.unused.import_token.reveal().decode()


def _encrypted(subject: Subject) -> str:
    """Return the material that all keys here have, wrapped anew, in base64."""
    return base64.b64encode(wrapped(subject.unused.public_key, MATERIAL)).decode()
