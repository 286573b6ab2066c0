"""What the commands do with the token and the database: each opens what it needs, and closes it again."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from hsmkms.core import records
from hsmkms.core.errors import KeyNotFound
from hsmkms.hsm.channel import HostChannel
from hsmkms.hsm.client import HostPool, PoolLimits
from hsmkms.hsm.settings import HostPurpose
from hsmkms.hsm.spawn import spawn_host
from hsmkms.service import deploying
from hsmkms.service.deploying import ready_deployment
from hsmkms.service.due_time import begin
from hsmkms.wiring import pins
from hsmkms.wiring.adapters import SystemClock, host_settings, opened_store
from hsmkms.wiring.boot_clock import ClockFile, SystemBootClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hsmkms.config import Settings
    from hsmkms.core.custody import CustodyObject, Deployment
    from hsmkms.core.ids import KeyId
    from hsmkms.core.keys import Key, KeyState
    from hsmkms.core.ports import MaterialEvidence, Tombstone
    from hsmkms.hsm.report import HostProtection, TokenDescription, TokenReport
    from hsmkms.hsm.spawn import HostProcess
    from hsmkms.store.database import SqlStore


class Initialised(Enum):
    """What `initialise` had to do."""

    MADE = auto()
    UPGRADED = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class InspectedKey:
    """A key as the database has it, and what the token says of its material."""

    key: Key
    state: KeyState
    evidence: MaterialEvidence | None
    """None where the key holds no material."""

    @property
    def fingerprint_matches(self) -> bool | None:
        """Whether the material is the one first imported or generated; None without material."""
        if self.evidence is None or self.key.fingerprint is None:
            return None
        return self.key.fingerprint.matches(self.evidence.fingerprint)


@dataclass(frozen=True, slots=True)
class Examination:
    """What `doctor` finds out."""

    deployment: Deployment
    report: TokenReport
    protection: HostProtection


@asynccontextmanager
async def attached(settings: Settings, store: SqlStore) -> AsyncIterator[HostPool]:
    """Start one host and attach it to the database's deployment for as long as the block runs.

    Raises:
        PinRefused: the token refused the PIN.
        TokenUnusable: module, token or objects are not what the deployment needs.
    """
    deployment = await ready_deployment(store)
    pool = HostPool(deployment, PoolLimits(verb_timeout_seconds=settings.hsm.verb_timeout_seconds))
    async with _host(settings, HostPurpose.OPERATE) as (process, _):
        try:
            await pool.add(process.name, process.socket)
            yield pool
        finally:
            await pool.close()


@asynccontextmanager
async def _host(
    settings: Settings, purpose: HostPurpose, so_pin_file: Path | None = None
) -> AsyncIterator[tuple[HostProcess, TokenDescription]]:
    """Run a host that has logged in, for as long as the block runs."""
    told = host_settings(pins.taken(settings), purpose, so_pin_file)
    process = await spawn_host(told, f"{purpose.value}-host")
    try:
        yield process, await process.ready()
    finally:
        process.socket.close()
        process.kill()
        await process.wait()


@asynccontextmanager
async def channel_to(
    settings: Settings, purpose: HostPurpose, so_pin_file: Path | None = None
) -> AsyncIterator[tuple[HostChannel, TokenDescription]]:
    """Run a host for as long as the block runs, to speak to it alone; it is still to be attached.

    Raises:
        PinRefused: the token refused a PIN.
    """
    async with _host(settings, purpose, so_pin_file) as (process, token), _opened(process) as channel:
        yield channel, token


@asynccontextmanager
async def _opened(process: HostProcess) -> AsyncIterator[HostChannel]:
    channel = await HostChannel.open(process.name, process.socket)
    try:
        yield channel
    finally:
        await channel.close()


class InitHost:
    """`core.ports.Custodian` over a host that was started for `init`."""

    def __init__(self, channel: HostChannel, token_serial: str, *, replace_unknown: bool = False) -> None:
        """Take a host's channel; `replace_unknown`: what has the label of what it is to make is destroyed first."""
        self._channel = channel
        self._replace_unknown = replace_unknown
        self.token_serial = token_serial

    async def make_objects(self, deployment: Deployment) -> tuple[CustodyObject, ...]:
        """See `core.ports.Custodian`."""
        return await self._channel.initialise(deployment)

    async def prove_objects(self, deployment: Deployment) -> None:
        """See `core.ports.Custodian`."""
        await self._channel.attach(deployment)

    async def make_sealing_keys(
        self, deployment: Deployment, planned: tuple[CustodyObject, ...]
    ) -> tuple[CustodyObject, ...]:
        """See `core.ports.Custodian`."""
        return await self._channel.make_sealing_keys(deployment, planned, replace_unknown=self._replace_unknown)

    async def destroy_sealing_keys(self, deployment: Deployment, retired: tuple[CustodyObject, ...]) -> int:
        """See `core.ports.Custodian`."""
        return await self._channel.destroy_sealing_keys(deployment, retired)


@asynccontextmanager
async def init_host(settings: Settings, *, replace_unknown: bool = False) -> AsyncIterator[InitHost]:
    """Run a host that may make and destroy long-lived objects, for as long as the block runs."""
    async with channel_to(settings, HostPurpose.INIT) as (channel, token):
        yield InitHost(channel, token.serial, replace_unknown=replace_unknown)


async def initialise(settings: Settings, *, transferable: bool = False) -> Initialised:
    """Make the database and the token's objects if they were never made, and bring an older schema up to date.

    Args:
        settings: what is to be served.
        transferable: whether what the sealing keys seal can be sealed anew under a later version.

    Raises:
        OperatorFault: token or database are not what the deployment needs; nothing was made in the token.
    """
    from hsmkms.store.versions import upgrade  # noqa: PLC0415 - SQLAlchemy, as in `adapters`

    async with init_host(settings) as host:
        upgraded = await upgrade(settings.store.url)
        async with opened_store(settings) as store:
            clock, edition = SystemClock(), settings.edition
            if await deploying.initialise(store, host, clock, edition, transferable=transferable):
                begin(SystemClock(), SystemBootClock(), ClockFile.beside(settings))
                return Initialised.MADE
    return Initialised.UPGRADED if upgraded else Initialised.NOTHING


async def inspect_key(settings: Settings, key_id: KeyId) -> InspectedKey | Tombstone:
    """Return a key of any account, and what the token says of its material; of a deleted key, what is left of it.

    Raises:
        KeyNotFound: there never was such a key.
        RecordBroken: the token does not open the record that is stored for it.
    """
    async with opened_store(settings) as store:
        key = await store.find_key(key_id)
        if key is None:
            tombstone = await store.find_tombstone(key_id)
            if tombstone is None:
                raise KeyNotFound("There is no key of this id.")
            return tombstone
        state = key.state(SystemClock().now())
        if key.material is None:
            return InspectedKey(key, state, None)
        owner = records.of_material(key.account, key.key_id, settings.edition, key.generation)
        async with attached(settings, store) as hsm:
            return InspectedKey(key, state, await hsm.inspect_material(owner, key.material.record))


async def examine(settings: Settings) -> Examination:
    """Return what the deployment's token does, and how a host's memory is kept."""
    async with opened_store(settings) as store:
        deployment = await ready_deployment(store)
    async with _host(settings, HostPurpose.SERVE) as (process, _), _opened(process) as channel:
        await channel.attach(deployment)
        assert process.protection is not None  # noqa: S101 - it is ready
        return Examination(deployment, await channel.probe(), process.protection)
