"""What the API answered is true after any crash: processes killed at random moments of a loop of imports."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import config
from hsmkms.hsm.settings import HostPurpose
from hsmkms.hsm.spawn import HostProcess, spawn_host
from hsmkms.wiring.adapters import host_settings
from tests.e2e.kill_loop import Killer, broken_promises, importers, processes_of
from tests.e2e.running import Instance, hsmkms, until
from tests.e2e.token_objects import object_files, objects

if TYPE_CHECKING:
    from pathlib import Path

LOGIN_SECONDS: Final = 10.0


def survive(folder: Path, kills: int) -> None:
    """Kill that often; then demand that nothing acknowledged is lost, nothing half-done is left, and nothing runs."""
    instance = Instance.make(folder)
    made = objects(instance)
    seed = secrets.randbits(32)
    with instance.serving() as service:
        with importers(service) as importing:
            killer = Killer(service, importing, random.Random(seed))
            while killer.kills.total() < kills:
                killer.kill_one()
        service.until_ready()
        assert importing.unexpected == [], seed
        # What was acknowledged is what is there: the same material may come again, other material may not.
        client = service.client()
        for key_id in random.Random(seed).sample(sorted(importing.acknowledged), k=5):
            client.bring(key_id, importing.acknowledged[key_id])
            parameters = client.parameters(key_id)
            other = client.wrapped(parameters, secrets.token_bytes(32))
            assert client.import_code(key_id, parameters, other) == "InvalidParameterValue.MaterialNotMatch"
        assert service.stop() == 0
    until(lambda: not processes_of(instance), "no process is left behind", 5)
    assert broken_promises(instance, set(importing.acknowledged)) == [], seed
    assert objects(instance) == made
    assert len(object_files(instance)) == len(made) == 5
    report = {**killer.kills, **importing.passing, "acknowledged": len(importing.acknowledged)}
    print(f"seed {seed}: {Counter(report)}")  # noqa: T201 - the figures of a torture run, shown with -s


@pytest.mark.timeout(300)
def test_a_dozen_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    survive(tmp_path / "instance", 12)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_three_hundred_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    survive(tmp_path / "instance", 300)


# --- SoftHSM rewrites token.object in place at each login ------------------------------------------------


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """An instance that does not run."""
    return Instance.make(tmp_path_factory.mktemp("crashes") / "instance")


def token_object(instance: Instance) -> Path:
    """Return SoftHSM's file of the token itself, without which there is no token."""
    (path,) = instance.folder.glob("tokens/*/token.object")
    return path


async def a_host(instance: Instance) -> HostProcess:
    return await spawn_host(host_settings(config.load(instance.config), HostPurpose.SERVE), "host")


async def end(host: HostProcess) -> None:
    host.kill()
    host.socket.close()
    await host.wait()


def test_a_token_left_empty_by_a_killed_login_is_put_right(idle: Instance) -> None:
    made = objects(idle)
    token_object(idle).write_bytes(b"")
    said = hsmkms("init", "--config", str(idle.config)).stdout
    assert said == "already initialised; nothing was changed\n"
    assert token_object(idle).stat().st_size
    assert objects(idle) == made


async def test_hosts_that_start_at_once_all_find_the_token(idle: Instance) -> None:
    serials = set()
    for _ in range(10):
        hosts = [await a_host(idle) for _ in range(3)]
        serials |= {token.serial for token in await asyncio.gather(*(host.ready() for host in hosts))}
        await asyncio.gather(*map(end, hosts))
    assert len(serials) == 1


async def test_a_host_killed_while_it_logs_in_costs_nothing(idle: Instance) -> None:
    made = objects(idle)
    path = token_object(idle)
    for _ in range(15):
        before = path.stat().st_mtime_ns
        host = await a_host(idle)
        deadline = time.monotonic() + LOGIN_SECONDS
        while path.stat().st_mtime_ns == before:  # the file has just been emptied, and is about to be written
            assert time.monotonic() < deadline
            await asyncio.sleep(0)
        await end(host)
    assert objects(idle) == made
    host = await a_host(idle)
    await host.ready()
    await end(host)
