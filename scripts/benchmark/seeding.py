"""A database with many keys: through the store's port, with records that the token made."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from hsmkms.core import records
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import AccountName, KeyId
from hsmkms.core.keys import FIRST_GENERATION, Key, KeyUsage, Material, Origin
from hsmkms.hsm.client import HostPool
from hsmkms.hsm.settings import HostPurpose
from hsmkms.hsm.spawn import spawn_host
from hsmkms.service.deploying import ready_deployment
from hsmkms.wiring import pins
from hsmkms.wiring.adapters import SystemClock, host_settings, opened_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from hsmkms.config import Settings
    from hsmkms.core.custody import Deployment
    from hsmkms.core.ports import Hsm, Writing
    from scripts.benchmark.service import Instance

_BATCH: Final = 2000
"""Keys in one transaction."""
_UNDER_WAY: Final = 4
"""Calls for each host, so that it finds the next one when it is done with one."""
_ACTOR: Final = "bench"


async def seed(instance: Instance, number: int, progress: Callable[[int], None]) -> list[str]:
    """Put so many keys with generated material into an instance that does not run, and return their ids.

    Each has an event of the audit trail, as it would have if it had been created by a request.

    Raises:
        HsmkmsError: the token or the database does not do its part.
    """
    made: list[str] = []
    if number <= 0:
        return made
    async with opened_store(instance.settings) as store:
        deployment = await ready_deployment(store)
        async with _hosts(instance.settings, deployment, instance.hosts) as hsm:
            while len(made) < number:
                ids = [KeyId(str(uuid.uuid4())) for _ in range(min(_BATCH, number - len(made)))]
                await store.write(_adding(await _keys(instance, hsm, ids)))
                made += ids
                progress(len(made))
    return made


@asynccontextmanager
async def _hosts(settings: Settings, deployment: Deployment, number: int) -> AsyncIterator[HostPool]:
    async with AsyncExitStack() as stack:
        told = host_settings(pins.taken(settings), HostPurpose.SERVE)
        pool = HostPool(deployment)
        for each in range(number):
            process = await spawn_host(told, f"bench-host-{each}")
            stack.push_async_callback(process.wait)
            stack.callback(process.kill)
            await process.ready()
            await pool.add(process.name, process.socket)
        try:
            yield pool
        finally:
            await pool.close()


async def _keys(instance: Instance, hsm: Hsm, ids: Sequence[KeyId]) -> list[Key]:
    """Return a key for each id, with material that the token generated for it."""
    account, clock, edition = AccountName(instance.account), SystemClock(), instance.settings.edition
    made: list[Key] = []
    left: Iterator[KeyId] = iter(ids)

    async def make() -> None:
        for key_id in left:
            owner = records.of_material(account, key_id, edition, FIRST_GENERATION)
            sealed = await hsm.generate_material(owner)
            now = clock.now()
            key = Key(
                key_id=key_id,
                account=account,
                alias=f"seeded-{key_id}",
                description="",
                usage=KeyUsage.ENCRYPT_DECRYPT,
                origin=Origin.GENERATED,
                created_at=now,
            )
            made.append(key.with_material(sealed, Material(sealed.record, now)))

    async with asyncio.TaskGroup() as group:
        for _ in range(_UNDER_WAY * instance.hosts):
            group.create_task(make())
    return made


def _adding(keys: Sequence[Key]) -> Callable[[Writing], None]:
    def change(writing: Writing) -> None:
        for key in keys:
            writing.add_key(key)
        writing.append(*(Event(EventTag.KEY_CREATED, key.created_at, key.account, _ACTOR, key.key_id) for key in keys))

    return change
