"""Use case: seal all material anew under the newest version of the sealing keys, while the service goes on serving.

Laws:

- each key is a transaction of its own, with its event; it holds the old record or the new one, never none;
- a key that was imported anew, or deleted, meanwhile is left as it is found; one that another has resealed, too;
- whoever was interrupted begins again, and has only the rest to do;
- the token is asked for nothing where there is nothing that it could let go: not even for a login;
- the token's failure ends it at once; a record that does not open, or that the token does not let go, ends nothing and
  is told in the end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

from hsmkms.core import records
from hsmkms.core.custody import FIRST_VERSION, CustodyRole
from hsmkms.core.errors import (
    MaterialMismatch,
    NotTransferable,
    RecordBroken,
    StoreUnavailable,
    StoreUnusable,
)
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ports import DeploymentStore, Inspection, Store
from hsmkms.service.deploying import ready_deployment
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsmkms.core.custody import Deployment
    from hsmkms.core.ids import KeyId
    from hsmkms.core.keys import Key
    from hsmkms.core.material import Edition, SealedMaterial
    from hsmkms.core.ports import Clock, Transferer, Writing

_BATCH: Final = 16
"""Keys under way at a time: the token works on one while others are committed, several together."""
_PAGE: Final = 500
"""Keys read at a time that are only listed."""
_NO_VERSION: Final = FIRST_VERSION - 1
"""Of a record that begins as none does."""
_ACTOR: Final = "operator"
_ROTATED: Final = "The sealing keys were rotated meanwhile; run 'hsmkms sealing transfer' again."


class TransferStore(Store, DeploymentStore, Inspection, Protocol):
    """What it asks of the database."""


@dataclass(slots=True)
class Transfer:
    """How far it has come."""

    version: int
    """What it seals under."""
    found: int
    """Keys whose material was under an older version at the beginning."""
    resealed: int = 0
    overtaken: int = 0
    """Deleted, or sealed under this version by somebody else, while it ran."""
    not_transferable: list[KeyId] = field(default_factory=list)
    broken: list[KeyId] = field(default_factory=list)
    lost: dict[int, list[KeyId]] = field(default_factory=dict)
    """Under versions whose keys there are not."""
    erased: bool | None = False
    """Whether no record of before can be read from the database's files any more; None: that is up to its server."""

    @property
    def looked_at(self) -> int:
        """How many keys it has dealt with."""
        return self.resealed + self.overtaken + len(self.not_transferable) + len(self.broken) + self.lost_keys

    @property
    def lost_keys(self) -> int:
        """How many keys' material is under versions whose keys there are not."""
        return sum(map(len, self.lost.values()))

    @property
    def complete(self) -> bool:
        """Whether it left nothing under an older version."""
        return not self.not_transferable and not self.broken and not self.lost

    def count(self, key: Key, outcome: _Outcome) -> None:
        """Count a key as it was found."""
        match outcome:
            case _Outcome.RESEALED:
                self.resealed += 1
            case _Outcome.OVERTAKEN:
                self.overtaken += 1
            case _Outcome.NOT_TRANSFERABLE:
                self.not_transferable.append(key.key_id)
            case _Outcome.BROKEN:
                self.broken.append(key.key_id)
            case _Outcome.LOST:
                self.lost.setdefault(_version_under(key), []).append(key.key_id)


class _Outcome(Enum):
    """What became of a key."""

    RESEALED = auto()
    OVERTAKEN = auto()
    NOT_TRANSFERABLE = auto()
    BROKEN = auto()
    LOST = auto()


async def settled(store: TransferStore) -> Transfer | None:
    """Return how a transfer ends that finds nothing which the token could let go; None: it is to be run.

    Raises:
        StoreUnusable: `init` was never run to its end.
    """
    deployment = await ready_deployment(store)
    version = deployment.sealing_version
    below = await _below(store, version)
    if any(_staying(deployment, each) is None for each in below):
        return None
    transfer = Transfer(version, sum(below.values()))
    after: KeyId | None = None
    while keys := await store.sealed_below(version, after, _PAGE):
        for key in keys:
            transfer.count(key, _staying(deployment, _version_under(key)) or _Outcome.OVERTAKEN)
        after = keys[-1].key_id
    transfer.erased = await _erased(store)
    return transfer


class Transferring:
    """A transfer under way."""

    def __init__(self, store: TransferStore, hsm: Transferer, clock: Clock, edition: Edition) -> None:
        """Reseal what `store` holds with `hsm`, which seals under the newest version."""
        self._store = store
        self._hsm = hsm
        self._clock = clock
        self._edition = edition

    async def run(self, tell: Callable[[Transfer], None]) -> Transfer:
        """Seal everything anew that is under an older version; `tell` is called again and again.

        Raises:
            StoreUnusable: the sealing keys were rotated meanwhile; it is to be begun again.
            TokenUnavailable, StoreUnavailable: what was done is done; it is to be begun again for the rest.
        """
        deployment = await ready_deployment(self._store)
        version = deployment.sealing_version
        transfer = Transfer(version, sum((await _below(self._store, version)).values()))
        await self._say(EventTag.TRANSFER_BEGUN, to_version=version, found=transfer.found)
        try:
            await self._reseal_all(deployment, transfer, tell)
        finally:
            await self._say(
                EventTag.TRANSFER_ENDED,
                to_version=version,
                resealed=transfer.resealed,
                not_transferable=len(transfer.not_transferable),
                broken=len(transfer.broken) + transfer.lost_keys,
            )
            transfer.erased = await _erased(self._store)
        return transfer

    async def _reseal_all(self, deployment: Deployment, transfer: Transfer, tell: Callable[[Transfer], None]) -> None:
        after: KeyId | None = None
        while keys := await self._store.sealed_below(transfer.version, after, _BATCH):
            await self._reseal_some(deployment, keys, transfer)
            after = keys[-1].key_id
            tell(transfer)
            if (await ready_deployment(self._store)).sealing_version != transfer.version:
                raise StoreUnusable(_ROTATED)

    async def _reseal_some(self, deployment: Deployment, keys: Sequence[Key], transfer: Transfer) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for key in keys:
                    group.create_task(self._count(deployment, key, transfer))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _count(self, deployment: Deployment, key: Key, transfer: Transfer) -> None:
        transfer.count(key, await self._reseal(deployment, key))

    async def _reseal(self, deployment: Deployment, seen: Key) -> _Outcome:
        version = deployment.sealing_version
        key: Key | None = seen
        while key is not None and key.material is not None and (under := _version_of(key.material.record)) < version:
            if (staying := _staying(deployment, under)) is not None:
                return staying
            owner = records.of_material(key.account, key.key_id, self._edition, key.generation)
            try:
                sealed = await self._hsm.reseal_material(owner, key.material.record)
                key.require_same_material(sealed.fingerprint)
            except NotTransferable:
                return _Outcome.NOT_TRANSFERABLE
            except (RecordBroken, MaterialMismatch):
                return _Outcome.BROKEN
            if _version_of(sealed.record) != version:  # before the host was attached
                raise StoreUnusable(_ROTATED)
            key, written = await self._write(key, sealed, version)
            if written:
                return _Outcome.RESEALED
        return _Outcome.OVERTAKEN

    async def _write(self, seen: Key, sealed: SealedMaterial, version: int) -> tuple[Key | None, bool]:
        """Write the new record in the place of the one it was made of; return the key as it is, and whether it was."""
        now = self._clock.now()

        def replace_record(writing: Writing) -> tuple[Key | None, bool]:
            key = writing.key(seen.account, seen.key_id)
            if key is None or key.material is None or seen.material is None:
                return None, False
            if key.material.record != seen.material.record:
                return key, False
            detail = {"from_version": _version_of(seen.material.record), "to_version": version}
            written = writing.replace_key(key, replace(key, material=replace(key.material, record=sealed.record)))
            writing.append(Event(EventTag.MATERIAL_RESEALED, now, key.account, _ACTOR, key.key_id, detail=detail))
            return written, True

        return await commit(self._store, replace_record)

    async def _say(self, tag: EventTag, **detail: int) -> None:
        event = Event(tag, self._clock.now(), None, _ACTOR, detail=detail)
        await self._store.write(lambda writing: writing.append(event))


async def _below(store: TransferStore, version: int) -> dict[int, int]:
    """Return how many keys' material is under each version below, of those that there is any under."""
    counts = await store.sealed_counts()
    return {under: each.materials for under, each in counts.items() if under < version and each.materials}


def _staying(deployment: Deployment, under: int) -> _Outcome | None:
    """Return why what is under a version stays without the token being asked; None if it is to be asked."""
    if under == _NO_VERSION:
        return _Outcome.BROKEN
    for each in deployment.objects:
        if (each.role, each.version) == (CustodyRole.MATERIAL_SEALING, under):
            return None if each.transferable else _Outcome.NOT_TRANSFERABLE
    return _Outcome.LOST


async def _erased(store: TransferStore) -> bool | None:
    try:
        return True if await store.erase_deleted() else None
    except StoreUnavailable:  # a reader with an old view is in the way
        return False


def _version_under(key: Key) -> int:
    """Return the version that a key's material is under, of one that has some."""
    return _NO_VERSION if key.material is None else _version_of(key.material.record)


def _version_of(record: bytes) -> int:
    try:
        return records.split_head(record)[0]
    except ValueError:  # another program changed it
        return _NO_VERSION
