from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(__file__).with_name("initialising_process.py")

Initialise = subprocess.Popen[str]


@pytest.fixture
def start(url: str) -> Iterator[Callable[[], Initialise]]:
    started: list[Initialise] = []

    def run() -> Initialise:
        process = subprocess.Popen(
            [sys.executable, PROGRAM, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for each in started:
        each.kill()
        each.communicate()


def output(process: Initialise) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def found_by(process: Initialise) -> list[str]:
    return output(process).readline().split()


def finish(process: Initialise) -> None:
    process.communicate("go\n", timeout=60)
    assert process.returncode == 0


async def test_of_two_processes_the_second_waits_and_finds_the_first_ones_deployment(
    start: Callable[[], Initialise], url: str
) -> None:
    processes = [start(), start()]
    (ready, _, _) = select.select([output(each) for each in processes], [], [], 60)
    (first,) = [each for each in processes if output(each) in ready]
    (second,) = [each for each in processes if each is not first]
    made, state = found_by(first)
    assert state == "planned"
    # Ten times the second's patience for one try: it waits on, silently.
    assert select.select([output(second)], [], [], 2.0) == ([], [], [])
    assert second.poll() is None
    finish(first)
    assert found_by(second) == [made, "ready"]
    finish(second)
    store = await open_store(url, link=link, busy_seconds=20)
    assert len(await store.trail().events(0, 10)) == 1
    await store.close()


async def test_a_killed_initialisation_leaves_its_plan_to_the_next(start: Callable[[], Initialise], url: str) -> None:
    first = start()
    made, state = found_by(first)
    assert state == "planned"
    first.kill()
    second = start()
    assert found_by(second) == [made, "planned"]
    finish(second)
    store = await open_store(url, link=link, busy_seconds=20)
    deployment = await store.deployment()
    await store.close()
    assert deployment is not None
    assert (deployment.deployment_id, deployment.ready) == (made, True)
