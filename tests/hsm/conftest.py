from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from hsmkms.core.material import Edition
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import split_head
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm.client import HostPool, PoolLimits
from hsmkms.hsm.host import outside
from hsmkms.hsm.settings import HostPurpose
from hsmkms.hsm.transferring import TransferHost
from tests.contract.hsm_contract import HsmContract, owner_of
from tests.contract.transferer_contract import SealedBefore
from tests.faults.pkcs11_faults import SOURCE, Faults, compiled
from tests.hsm import tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hsmkms.core.custody import Deployment
    from hsmkms.core.ports import MaterialEvidence
    from hsmkms.hsm.channel import HostChannel
    from hsmkms.hsm.report import TokenReport
    from hsmkms.hsm.spawn import HostProcess


FIPS: Final = Edition.FIPS
SECONDS: Final = 20.0


@dataclass(frozen=True)
class Served:
    """A real token with a deployment in it, a host attached, and its probe's report."""

    token: tokens.TestToken
    deployment: Deployment
    pool: HostPool
    report: TokenReport

    @property
    def edition(self) -> Edition:
        return self.deployment.edition


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> tokens.TestToken:
    return tokens.make_softhsm(tmp_path_factory.mktemp("softhsm") / "token")


@pytest.fixture(scope="session")
def nss(tmp_path_factory: pytest.TempPathFactory) -> tokens.TestToken:
    return tokens.make_nss(tmp_path_factory.mktemp("nss") / "token")


@pytest_asyncio.fixture(
    scope="session",
    loop_scope="session",
    params=[(kind, edition) for kind in ("softhsm", "nss") for edition in Edition],
    ids=lambda each: f"{each[0]}-{each[1]}",
)
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """Every token in every edition; the two editions share the token."""
    kind, edition = request.param
    token: tokens.TestToken = request.getfixturevalue(kind)
    deployment = await tokens.initialised(token, tokens.planned(edition))
    host = await tokens.start(token, edition, purpose=HostPurpose.OPERATE)  # all verbs of the port
    pool = HostPool(deployment)
    await pool.add(host.name, host.socket)
    yield Served(token, deployment, pool, await pool.probe())
    await pool.close()
    await host.wait()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deployment(softhsm: tokens.TestToken) -> Deployment:
    return await tokens.initialised(softhsm, tokens.planned(Edition.FIPS))


class Hosts:
    """A pool and the hosts in it, which a test may kill."""

    def __init__(self, token: tokens.TestToken, deployment: Deployment, limits: PoolLimits) -> None:
        self.lost: list[str] = []
        self.pool = HostPool(deployment, limits, self.lost.append)
        self.processes: list[HostProcess] = []
        self._token = token

    async def add(self, **changed: object) -> HostProcess:
        process = await tokens.start(self._token, Edition.FIPS, **changed)
        self.processes.append(process)
        await self.pool.add(process.name, process.socket, sessions=int(str(changed.get("sessions", 1))))
        return process


@pytest_asyncio.fixture(loop_scope="session")
async def hosts(softhsm: tokens.TestToken, deployment: Deployment) -> AsyncIterator[Hosts]:
    made = Hosts(softhsm, deployment, PoolLimits(queue_seconds=20, verb_timeout_seconds=20))
    yield made
    await made.pool.close()
    for process in made.processes:
        process.kill()
        await process.wait()


# --- sealing keys that were rotated --------------------------------------------------------------------


@dataclass(frozen=True)
class Rotated:
    """A token of which the sealing keys were rotated once, and material that was sealed before."""

    token: tokens.TestToken
    before: Deployment
    after: Deployment
    sealed: SealedBefore
    evidence: MaterialEvidence


async def rotated_once(folder: Path, *, transferable: bool) -> Rotated:
    token = tokens.make_softhsm(folder)
    before = await tokens.initialised(token, tokens.planned(FIPS, transferable=transferable))
    owner, plaintext = owner_of(FIPS), Plaintext(b"before")
    async with serving(token, before) as hosts:
        order = await HsmContract.order(hosts.pool, owner, outside.throw_away(FIPS.material_bytes))
        material = await hosts.pool.import_material(order)
        evidence = await hosts.pool.inspect_material(owner, material.record)
        ciphertext = await hosts.pool.encrypt(HeldMaterial(owner, material.record), plaintext, b"c")
    sealed = SealedBefore(owner, material, ciphertext, plaintext)
    after = await tokens.rotated(token, before, transferable=transferable)
    return Rotated(token, before, after, sealed, evidence)


@asynccontextmanager
async def serving(token: tokens.TestToken, deployment: Deployment, **changed: object) -> AsyncIterator[Hosts]:
    """Run a pool with one host."""
    hosts = Hosts(token, deployment, PoolLimits(queue_seconds=SECONDS, verb_timeout_seconds=SECONDS))
    try:
        await hosts.add(**changed)
        yield hosts
    finally:
        await hosts.pool.close()
        for process in hosts.processes:
            process.kill()
            await process.wait()


@asynccontextmanager
async def transferring(rotated: Rotated, deployment: Deployment | None = None) -> AsyncIterator[TransferHost]:
    token = rotated.token
    async with tokens.channel_to(token, FIPS, HostPurpose.TRANSFER, so_pin_file=token.so_pin_file) as channel:
        await channel.attach(deployment or rotated.after)
        yield TransferHost(channel, SECONDS)


def version_of(record: bytes) -> int:
    return split_head(record)[0]


def logged(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def transferable(tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    """Never changed again but by tests that add to it."""
    return await rotated_once(tmp_path_factory.mktemp("transferable") / "token", transferable=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    return await rotated_once(tmp_path_factory.mktemp("ordinary") / "token", transferable=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mover(transferable: Rotated) -> AsyncIterator[TransferHost]:
    """A host that is attached to transfer."""
    async with transferring(transferable) as host:
        yield host


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ahead(transferable: Rotated) -> AsyncIterator[HostPool]:
    """Hosts that were attached after the rotation."""
    async with serving(transferable.token, transferable.after, purpose=HostPurpose.OPERATE) as hosts:
        yield hosts.pool


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ordinary_ahead(ordinary: Rotated) -> AsyncIterator[HostPool]:
    async with serving(ordinary.token, ordinary.after) as hosts:
        yield hosts.pool


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def maker(ordinary: Rotated) -> AsyncIterator[HostChannel]:
    """A host started for `init`."""
    async with tokens.channel_to(ordinary.token, FIPS, HostPurpose.INIT) as channel:
        yield channel


@pytest.fixture(scope="session")
def faults(softhsm: tokens.TestToken, tmp_path_factory: pytest.TempPathFactory) -> Faults:
    """SoftHSM's module, of which calls can be made to fail."""
    made = Faults(tmp_path_factory.mktemp("faults"), Path(str(softhsm.settings["module"])))
    compiled(SOURCE, made.library)
    return made
