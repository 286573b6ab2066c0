"""What the API answered is true after any crash: processes killed at random moments of a loop of imports."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.e2e.kill_loop import Killer, broken_promises, importers, processes_of
from tests.e2e.running import Instance, until
from tests.e2e.token_objects import object_files, objects

if TYPE_CHECKING:
    from pathlib import Path


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
