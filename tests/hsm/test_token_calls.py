"""What an HSM on a network feels: how often the token is called for one verb, and how many calls wait at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio

from hsmkms.core.material import Edition
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm.client import PoolLimits
from hsmkms.hsm.host import outside
from tests.contract.hsm_contract import HsmContract, owner_of
from tests.hsm.conftest import Hosts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hsmkms.core.custody import Deployment
    from tests.faults.pkcs11_faults import Faults
    from tests.hsm.tokens import TestToken

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIPS = Edition.FIPS
SESSIONS: Final = 3
DELAY_MS: Final = 10
EVERY_CALL: Final = "* delay_ms=0"
OF_AN_IMPORT: Final = 22
"""C_UnwrapKey; 2 CMACs and an HMAC, each a C_SignInit and a C_Sign; C_WrapKey; C_UnwrapKey; the same MACs again;
C_DestroyObject; C_GenerateRandom, C_EncryptInit, C_Encrypt and an HMAC for the record; C_DestroyObject."""


class Counted:
    """A host whose calls of the token are counted, and what it is asked."""

    def __init__(self, hosts: Hosts, faults: Faults) -> None:
        self.pool = hosts.pool
        self._faults = faults

    async def calls(self, ask: Callable[[], Awaitable[object]]) -> int:
        with self._faults.ruled(EVERY_CALL) as ruling:
            await ask()
        return ruling.counted()[0]

    async def in_each_session(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask once in every session: a call takes so long that none of them gets two."""
        with self._faults.ruled(f"* delay_ms={DELAY_MS}"):
            await asyncio.gather(*(ask() for _ in range(SESSIONS)))

    async def seconds(self, *asked: Awaitable[object]) -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        with self._faults.ruled(f"* delay_ms={DELAY_MS}"):
            await asyncio.gather(*asked)
        return loop.time() - started


@pytest_asyncio.fixture(loop_scope="session")
async def counted(softhsm: TestToken, deployment: Deployment, faults: Faults) -> AsyncIterator[Counted]:
    hosts = Hosts(softhsm, deployment, PoolLimits(queue_seconds=20, verb_timeout_seconds=20))
    environment = {**softhsm.env, **faults.environment}
    process = await hosts.add(module=str(faults.library), env=environment, sessions=SESSIONS)
    yield Counted(hosts, faults)
    await hosts.pool.close()
    await process.wait()


async def test_a_verb_calls_the_token_no_more_often_than_it_must_and_sessions_wait_at_the_same_time(
    counted: Counted,
) -> None:
    pool, owner = counted.pool, owner_of(FIPS)
    order = await HsmContract.order(pool, owner, outside.throw_away(FIPS.material_bytes))
    await counted.in_each_session(lambda: pool.import_material(order))
    record = (await pool.import_material(order)).record
    assert await counted.calls(lambda: pool.import_material(order)) == OF_AN_IMPORT
    material = HeldMaterial(owner, record)
    await counted.in_each_session(lambda: pool.encrypt(material, Plaintext(b"p"), b""))
    assert await counted.calls(lambda: pool.encrypt(material, Plaintext(b"p"), b"")) == 3  # the IV, and a call of two
    assert await counted.calls(lambda: pool.random(16)) == 1
    alone = await counted.seconds(pool.import_material(order))
    together = await counted.seconds(*(pool.import_material(order) for _ in range(SESSIONS)))
    assert alone > OF_AN_IMPORT * DELAY_MS / 1000
    assert together < 0.7 * SESSIONS * alone
