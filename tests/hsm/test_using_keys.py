"""Hosts that encrypt and decrypt, and what their end takes with it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import CiphertextInvalid, InternalFault, TokenGaveNoAnswer
from hsmkms.core.material import Edition
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import of_pair
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm.client import PoolLimits
from hsmkms.hsm.host import workbench
from hsmkms.hsm.settings import HostPurpose
from tests.contract.cipher_contract import CONTEXT, generated
from tests.contract.hsm_contract import owner_of
from tests.hsm import tokens
from tests.hsm.conftest import Hosts
from tests.hsm.waiting import until

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from hsmkms.hsm.client import HostPool
    from tests.hsm.tokens import TestToken

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIPS = Edition.FIPS
SECRET = Plaintext(b"needle-in-the-log-of-a-host")


async def test_what_one_host_encrypted_another_decrypts(hosts: Hosts) -> None:
    first = await hosts.add()
    material = await generated(hosts.pool, FIPS)
    ciphertext = await hosts.pool.encrypt(material, SECRET, CONTEXT)
    first.kill()
    await first.wait()
    await hosts.add()
    assert await hosts.pool.decrypt(material, ciphertext, CONTEXT) == SECRET


async def test_more_keys_than_a_host_keeps_at_hand_all_work(hosts: Hosts) -> None:
    process = await hosts.add()
    materials = [await generated(hosts.pool, FIPS) for _ in range(workbench.MOST_MATERIALS + 20)]
    made = [await hosts.pool.encrypt(each, SECRET, CONTEXT) for each in materials]
    for material, ciphertext in zip(materials, made, strict=True):
        assert await hosts.pool.decrypt(material, ciphertext, CONTEXT) == SECRET
    assert process.returncode is None


async def test_two_sessions_of_one_host_encrypt_at_the_same_time(hosts: Hosts) -> None:
    await hosts.add(sessions=2)
    material = await generated(hosts.pool, FIPS)
    made = await asyncio.gather(*(hosts.pool.encrypt(material, SECRET, CONTEXT) for _ in range(300)))
    opened = await asyncio.gather(*(hosts.pool.decrypt(material, each, CONTEXT) for each in made))
    assert set(opened) == {SECRET}
    assert len(set(made)) == 300


async def test_a_bad_ciphertext_is_not_taken_for_a_sick_token(hosts: Hosts) -> None:
    process = await hosts.add()
    material = await generated(hosts.pool, FIPS)
    ciphertext = await hosts.pool.encrypt(material, SECRET, CONTEXT)
    for _ in range(30):
        with pytest.raises(CiphertextInvalid):
            await hosts.pool.decrypt(material, ciphertext, b"")
    assert await hosts.pool.decrypt(material, ciphertext, CONTEXT) == SECRET
    assert process.returncode is None
    assert hosts.lost == []


async def use(pool: HostPool, verb: str, material: HeldMaterial, ciphertext: bytes) -> None:
    match verb:
        case "Encrypt":
            await pool.encrypt(material, SECRET, CONTEXT)
        case "Decrypt":
            await pool.decrypt(material, ciphertext, CONTEXT)
        case "RequireDecryptable":
            await pool.require_decryptable(material, ciphertext, CONTEXT)
        case "ReEncrypt":
            await pool.re_encrypt(material, ciphertext, CONTEXT, material, b"")
        case "MakeDataKey":
            await pool.make_data_key(material, 32, CONTEXT, shown=True)
        case _:
            await pool.random(32)


@pytest.mark.parametrize("verb", ["Encrypt", "Decrypt", "RequireDecryptable", "ReEncrypt", "MakeDataKey", "Random"])
async def test_a_host_killed_in_the_middle_of_a_call_gives_no_answer(hosts: Hosts, verb: str) -> None:
    process = await hosts.add()
    material = await generated(hosts.pool, FIPS)
    ciphertext = await hosts.pool.encrypt(material, SECRET, CONTEXT)
    os.kill(process.pid, signal.SIGSTOP)
    call = asyncio.ensure_future(use(hosts.pool, verb, material, ciphertext))
    await until(lambda: any(seat.taken for seat in hosts.pool._seats.values()))
    process.kill()
    with pytest.raises(TokenGaveNoAnswer):
        await call
    assert hosts.lost == [process.name]
    await hosts.add()
    await use(hosts.pool, verb, material, ciphertext)


async def test_a_host_logs_nothing_of_what_it_encrypts(hosts: Hosts, capfd: pytest.CaptureFixture[str]) -> None:
    process = await hosts.add(log_level="DEBUG")
    pool = hosts.pool
    material = await generated(pool, FIPS)
    ciphertext = await pool.encrypt(material, SECRET, CONTEXT)
    with pytest.raises(CiphertextInvalid):
        await pool.decrypt(material, ciphertext, b"")
    await pool.decrypt(material, ciphertext, CONTEXT)
    await pool.require_decryptable(material, ciphertext, CONTEXT)
    await pool.re_encrypt(material, ciphertext, CONTEXT, material, b"")
    key = await pool.make_data_key(material, 32, CONTEXT, shown=True)
    await pool.close()
    await process.wait()
    logged = capfd.readouterr().err
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    verbs = [(line["verb"], line["outcome"]) for line in lines if line["event"] == "verb"]
    assert verbs[2:] == [
        ("Encrypt", "done"),
        ("Decrypt", "ciphertext invalid"),
        ("Decrypt", "done"),
        ("RequireDecryptable", "done"),
        ("ReEncrypt", "done"),
        ("MakeDataKey", "done"),
    ]
    assert key.plaintext is not None
    for secret in (SECRET.reveal(), key.plaintext.reveal(), ciphertext, material.record):
        assert secret.decode(errors="replace") not in logged
        assert secret.hex() not in logged
        assert repr(secret)[2:-1] not in logged


async def test_an_identity_of_another_edition_or_kind_is_our_defect(hosts: Hosts) -> None:
    await hosts.add()
    for owner in (owner_of(Edition.SM), of_pair(owner_of(FIPS).owner, FIPS)):  # type: ignore[arg-type] # any text
        with pytest.raises(InternalFault):
            await hosts.pool.encrypt(HeldMaterial(owner, b"record"), SECRET, CONTEXT)


async def test_a_host_started_for_init_encrypts_nothing(softhsm: TestToken, deployment: Deployment) -> None:
    hosts = Hosts(softhsm, deployment, PoolLimits())
    await hosts.add(purpose=HostPurpose.INIT)
    with pytest.raises(InternalFault):
        await hosts.pool.encrypt(HeldMaterial(owner_of(FIPS), b"record"), SECRET, CONTEXT)
    with pytest.raises(InternalFault):
        await hosts.pool.random(16)
    await hosts.pool.close()
    assert await hosts.processes[0].wait() == 0


async def test_before_the_probe_no_cipher_is_offered(softhsm: TestToken, deployment: Deployment) -> None:
    host = await tokens.start(softhsm, FIPS)
    hosts = Hosts(softhsm, deployment, PoolLimits())
    hosts.processes.append(host)
    await hosts.pool.add(host.name, host.socket)
    assert hosts.pool.ciphers == frozenset()
    report = await hosts.pool.probe()
    assert hosts.pool.ciphers == report.working_ciphers != frozenset()
    await hosts.pool.close()
    await host.wait()
