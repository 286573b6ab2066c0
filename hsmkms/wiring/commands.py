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
from hsmkms.service.auth_tokens import AuthTokenUseCases
from hsmkms.service.credentials import CredentialUseCases
from hsmkms.store.versions import upgrade
from hsmkms.wiring.adapters import SystemClock, host_settings, opened_store, ready_deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hsmkms.config import Settings
    from hsmkms.core.credentials import Role
    from hsmkms.core.custody import CustodyObject, Deployment
    from hsmkms.core.ids import AccountName, KeyId
    from hsmkms.core.keys import Key, KeyState
    from hsmkms.core.ports import MaterialEvidence, Tombstone
    from hsmkms.hsm.report import TokenDescription, TokenReport
    from hsmkms.hsm.spawn import HostProcess
    from hsmkms.service.auth_tokens import IssuedToken
    from hsmkms.service.credentials import IssuedCredential
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
async def _host(settings: Settings, purpose: HostPurpose) -> AsyncIterator[tuple[HostProcess, TokenDescription]]:
    """Run a host that has logged in, for as long as the block runs."""
    process = await spawn_host(host_settings(settings, purpose), f"{purpose.value}-host")
    try:
        yield process, await process.ready()
    finally:
        process.socket.close()
        process.kill()
        await process.wait()


@asynccontextmanager
async def _channel(settings: Settings, purpose: HostPurpose) -> AsyncIterator[tuple[HostChannel, TokenDescription]]:
    """Run a host for as long as the block runs, to speak to it alone; it is still to be attached."""
    async with _host(settings, purpose) as (process, token):
        channel = await HostChannel.open(process.name, process.socket)
        try:
            yield channel, token
        finally:
            await channel.close()


class _InitHost:
    """`core.ports.Custodian` over a host that was started for `init`."""

    def __init__(self, channel: HostChannel, token_serial: str) -> None:
        self._channel = channel
        self.token_serial = token_serial

    async def make_objects(self, deployment: Deployment) -> tuple[CustodyObject, ...]:
        return await self._channel.initialise(deployment)

    async def prove_objects(self, deployment: Deployment) -> None:
        await self._channel.attach(deployment)


async def initialise(settings: Settings) -> Initialised:
    """Make the database and the token's objects if they were never made, and bring an older schema up to date.

    Raises:
        OperatorFault: token or database are not what the deployment needs; nothing was made in the token.
    """
    async with _channel(settings, HostPurpose.INIT) as (channel, token):
        upgraded = await upgrade(settings.store.url)
        async with opened_store(settings) as store:
            host = _InitHost(channel, token.serial)
            if await deploying.initialise(store, host, SystemClock(), settings.edition):
                return Initialised.MADE
    return Initialised.UPGRADED if upgraded else Initialised.NOTHING


async def create_credential(settings: Settings, account: AccountName, roles: frozenset[Role]) -> IssuedCredential:
    """Make a credential, and its account if that is new."""
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        return await CredentialUseCases(store, hsm, SystemClock(), settings.edition).create(account, roles)


async def create_auth_token(settings: Settings, account: AccountName, roles: frozenset[Role]) -> IssuedToken:
    """Make a credential with an auth token, and its account if that is new; no host is started.

    Raises:
        StoreUnusable: `init` was never run to its end.
    """
    async with opened_store(settings) as store:
        await ready_deployment(store)
        return await AuthTokenUseCases(store, SystemClock()).create(account, roles)


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


async def examine(settings: Settings) -> TokenReport:
    """Return what the deployment's token does."""
    async with opened_store(settings) as store:
        deployment = await ready_deployment(store)
    async with _channel(settings, HostPurpose.SERVE) as (channel, _):
        await channel.attach(deployment)
        return await channel.probe()
