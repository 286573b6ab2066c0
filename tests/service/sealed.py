"""A deployment with sealing keys of several versions: on the real store, with the fake token."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hsmkms.core import records
from hsmkms.core.custody import CustodyObject, CustodyRole
from hsmkms.core.errors import TokenUnusable
from hsmkms.core.ids import AccountName, KeyId
from hsmkms.core.keys import Key, KeyUsage, Material, Origin
from hsmkms.core.material import Edition
from hsmkms.service import deploying, rotating
from tests.fakes.clock import StoppedClock
from tests.fakes.hsm import FakeHsm

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from hsmkms.core.ports import Reading, Writing
    from hsmkms.service.rotating import Retired
    from hsmkms.store.database import SqlStore

ACME: Final = AccountName("acme")


class FakeCustodian:
    """`core.ports.Custodian` that remembers which objects are in the token."""

    token_serial = "s-1"

    def __init__(self) -> None:
        self.labels: set[str] = set()
        self.failing = False

    async def make_objects(self, deployment: Deployment) -> tuple[CustodyObject, ...]:
        return self._made(deployment, deployment.objects)

    async def prove_objects(self, deployment: Deployment) -> None:
        if not {each.label(deployment.deployment_id) for each in deployment.objects} <= self.labels:
            raise TokenUnusable

    async def make_sealing_keys(
        self, deployment: Deployment, planned: tuple[CustodyObject, ...]
    ) -> tuple[CustodyObject, ...]:
        return self._made(deployment, planned)

    async def destroy_sealing_keys(self, deployment: Deployment, retired: tuple[CustodyObject, ...]) -> int:
        self._require_well()
        there = self.labels & {each.label(deployment.deployment_id) for each in retired}
        self.labels -= there
        return len(there)

    def _made(self, deployment: Deployment, planned: tuple[CustodyObject, ...]) -> tuple[CustodyObject, ...]:
        self._require_well()
        self.labels |= {each.label(deployment.deployment_id) for each in planned}
        return tuple(replace(each, challenge=b"question", answer=b"answer") for each in planned)

    def _require_well(self) -> None:
        if self.failing:
            raise TokenUnusable("The token does not do it.")


class SealedHouse:
    """One deployment, and what an operator does to its sealing keys."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.clock = StoppedClock()
        self.custodian = FakeCustodian()
        self.hsm = FakeHsm()

    async def initialise(self, *, transferable: bool = True) -> None:
        await deploying.initialise(self.store, self.custodian, self.clock, Edition.FIPS, transferable=transferable)
        await self.store.write(lambda writing: writing.ensure_account(ACME))

    async def rotate(self, *, transferable: bool | None = None) -> Deployment:
        deployment = await rotating.rotate(
            self.store, self.custodian, self.clock, Edition.FIPS, transferable=transferable
        )
        await self.hsm.adopt(deployment)
        return deployment

    async def retire(self, version: int) -> Retired:
        return await rotating.retire(self.store, self.custodian, self.clock, Edition.FIPS, version)

    async def add_key(self) -> Key:
        """Return a new key with material of its own."""
        key_id = KeyId(str(uuid.uuid4()))
        key = Key(key_id, ACME, key_id, "", KeyUsage.ENCRYPT_DECRYPT, Origin.EXTERNAL, self.clock.now())
        sealed = await self.hsm.generate_material(records.of_material(ACME, key_id, Edition.FIPS, key.generation))
        held = key.with_material(sealed, Material(sealed.record, self.clock.now()))
        await self.store.write(lambda writing: writing.add_key(held))
        return held

    async def key(self, seen: Key) -> Key | None:
        """Return a key as it is now."""

        def find(reading: Reading) -> Key | None:
            return reading.key(seen.account, seen.key_id)

        return await self.store.read(find)

    async def replace(self, seen: Key, new: Key) -> None:
        def change(writing: Writing) -> None:
            writing.replace_key(seen, new)

        await self.store.write(change)

    async def counts(self) -> dict[int, int]:
        """Return how many keys' material is under each version."""
        return {version: each.materials for version, each in (await self.store.sealed_counts()).items()}


def label(deployment: Deployment, version: int) -> str:
    """Return the label of a version's key for material."""
    (key,) = (
        each for each in deployment.objects if each.role is CustodyRole.MATERIAL_SEALING and each.version == version
    )
    return key.label(deployment.deployment_id)
