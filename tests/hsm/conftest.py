from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from hsmkms.core.material import Edition
from hsmkms.hsm.client import HostPool, PoolLimits
from hsmkms.hsm.settings import HostPurpose
from tests.hsm import tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hsmkms.core.custody import Deployment
    from hsmkms.hsm.report import TokenReport
    from hsmkms.hsm.spawn import HostProcess


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
