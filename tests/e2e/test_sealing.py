"""docs/deployment.md, command by command: the sealing keys are rotated under a service that goes on serving."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest

from hsmkms.core.records import split_head
from tests.e2e import deployment_page
from tests.e2e.database_file import files_with, material_record, run
from tests.e2e.import_loop import importing
from tests.e2e.running import HSMKMS, Instance, free_port, hsmkms, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.running import RunningService

ROTATE, RETIRE = deployment_page.blocks("Rotation of the sealing keys", "sh")
(SHOWN,) = deployment_page.blocks("Rotation of the sealing keys")
SETTINGS: Final = """
[import]
tickets_per_pair = 5
ready_pairs = 1
failure_deadline_milliseconds = 10

[limits]
requests_per_second_per_api = 0
get_parameters_burst = 0
"""
"""A pair ends soon, and with it what holds a version."""
FOLLOW_SECONDS: Final = 5.0
"""The service looks once a second; on a machine that is busy with all of this it may take longer to act."""
GRACE_MILLISECONDS: Final = 600_000
MANY: Final = 40
MANY_IMPORTS: Final = 300
NEVER_READABLE: Final = {"SENSITIVE": True, "EXTRACTABLE": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """An instance whose sealing keys are transferable, with a host for all but pairs; to be copied."""
    folder, port = tmp_path_factory.mktemp("sealing") / "made", free_port()
    hsmkms("new", str(folder), "--transferable", "--port", str(port))
    assert (folder / "so-pin").stat().st_mode & 0o777 == 0o400
    instance = Instance(folder, "softhsm", "fips", port)
    instance.replace("[hsm]\n", "[hsm]\nhosts = 1\n")
    instance.config.write_text(instance.config.read_text() + SETTINGS)
    return instance


@pytest.fixture(scope="module")
def served(made: Instance) -> Iterator[RunningService]:
    """A service of it, whose keys are rotated by each test once more."""
    with made.copy(made.folder.with_name("served")).serving() as running:
        yield running


class Work:
    """A client that imports keys, encrypts with two, and decrypts what it encrypted before."""

    def __init__(self, service: RunningService, pause_seconds: float) -> None:
        self.client = service.client()
        self.keys = [self.imported(), self.client.generated_key()]
        self.imports = 0
        self.plaintexts: dict[bytes, bytes] = {}
        self._pause_seconds = pause_seconds
        self._ended = threading.Event()

    def imported(self) -> str:
        """Return a new key with material."""
        key_id = self.client.external_key()
        self.client.bring(key_id, secrets.token_bytes(32))
        return key_id

    def go_on(self) -> None:
        """Work until it is ended; a call that fails fails it."""
        while not self._ended.wait(self._pause_seconds):
            for key in self.keys:
                plaintext = secrets.token_bytes(20)
                self.plaintexts[self.client.encrypt(key, plaintext)] = plaintext
                self.require_all(1)
            self.imported()
            self.imports += 1

    def end(self) -> None:
        """Let it come to an end."""
        self._ended.set()

    def require_all(self, most: int | None = None) -> None:
        """Decrypt what was encrypted, or some of it, the oldest first."""
        for ciphertext, plaintext in list(self.plaintexts.items())[:most]:
            assert self.client.decrypt(ciphertext) == plaintext


@contextlib.contextmanager
def working(work: Work) -> Iterator[None]:
    """Let a client work beside the block; demand at its end that no call failed."""
    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(work.go_on)
        try:
            yield
        finally:
            work.end()
        going_on.result()


def places(instance: Instance) -> dict[str, Path]:
    return {"/etc/hsmkms": instance.folder, "/media/so-pin": instance.folder / "so-pin"}


def status(instance: Instance) -> dict[int, dict[str, Any]]:
    """Return what `hsmkms sealing status` says of each version."""
    shown = hsmkms("sealing", "status", "--config", str(instance.config), "--json")
    return {each["version"]: each for each in json.loads(shown.stdout)}


def transfer(instance: Instance, expect: int = 0) -> dict[str, Any]:
    """Return what a transfer says that it did."""
    words = ("--config", str(instance.config), "--so-pin-file", str(instance.folder / "so-pin"), "--json")
    return dict(json.loads(hsmkms("sealing", "transfer", *words, expect=expect).stdout))


def materials_under(instance: Instance) -> dict[int, int]:
    """Return how many keys' material is under each version, as their records say."""
    found: dict[int, int] = {}
    for (record,) in run(instance, "SELECT record FROM materials"):
        version = split_head(record)[0]
        found[version] = found.get(version, 0) + 1
    return found


def pairs_below(instance: Instance, version: int) -> int:
    ((count,),) = run(instance, "SELECT count(*) FROM pair_secrets WHERE sealing_version < ?", version)
    return int(count)


def age(instance: Instance, version: int) -> None:
    """Let a version be so old that the one before it may be retired."""
    statement = "UPDATE custody_objects SET made_at = made_at - ? WHERE version = ?"
    run(instance, statement, GRACE_MILLISECONDS, version)


def until_followed(service: RunningService, *versions: int) -> None:
    """Wait until all hosts of a service have these versions and no other."""

    def followed() -> bool:
        changes = [line for line in service.log_lines() if line["event"].startswith("the sealing keys changed")]
        return bool(changes) and (changes[-1]["seals"], changes[-1]["opens"]) == (versions[-1], list(versions))

    until(followed, f"the service has the versions {versions}", FOLLOW_SECONDS)


def key_shown(instance: Instance, key_id: str) -> dict[str, Any]:
    return dict(json.loads(hsmkms("key", "show", "--config", str(instance.config), key_id, "--json").stdout))


def words(line: str) -> list[str]:
    """Return what stands in a line each time, however many keys there are."""
    return re.sub(r"(?<!version )\b\d+", "-", line).split()


def rotate(served: RunningService, work: Work) -> None:
    """Do what the page says, to the first version, while a client works."""
    instance = served.instance
    shown = deployment_page.run(ROTATE, places(instance))
    assert [words(line) for line in shown.splitlines()[:3]] == [words(line) for line in SHOWN.splitlines()[:3]]
    until_followed(served, 1, 2)
    until(lambda: not pairs_below(instance, 2), "the pairs of before are used up", 60)
    while 1 in materials_under(instance):  # imported in the second before the service had heard of it
        transfer(instance)
    age(instance, 2)
    assert deployment_page.run(RETIRE, places(instance)) == "destroyed version 1 of the sealing keys\n"
    until_followed(served, 2)
    enough = work.imports + 3
    until(lambda: work.imports >= enough, "imports go on", 60)


def demand_unhurt(served: RunningService, work: Work, old: bytes) -> None:
    """Demand that all is under the second version, as it was, and that nothing is left of an old record."""
    instance = served.instance
    work.require_all()
    assert set(materials_under(instance)) == {2}
    seen = key_shown(instance, work.keys[0])
    assert (seen["fingerprint_matches"], seen["length_bits"]) == (True, 256)
    assert {name: seen["attributes"][name] for name in ("SENSITIVE", "EXTRACTABLE")} == NEVER_READABLE
    until(lambda: not files_with(instance, old), "the old record is gone", 60)
    assert "The audit trail holds" in hsmkms("audit", "verify", "--config", str(instance.config)).stdout


def test_what_the_page_says_is_done_without_a_request_that_fails(served: RunningService) -> None:
    work = Work(served, pause_seconds=0.2)
    old = material_record(served.instance, work.keys[0])
    with working(work):
        rotate(served, work)
    demand_unhurt(served, work, old)


@pytest.mark.torture
def test_nor_does_one_fail_of_as_many_as_can_be_made(made: Instance) -> None:
    """For about a minute."""
    with made.copy(made.folder.with_name("busy")).serving() as served:
        work = Work(served, pause_seconds=0)
        old = material_record(served.instance, work.keys[0])
        with importing(served, threads=3) as loop, working(work):
            until(lambda: loop.imports > MANY_IMPORTS, "many imports", 120)
            rotate(served, work)
        demand_unhurt(served, work, old)


def test_a_transfer_that_was_killed_is_finished_by_the_next(served: RunningService) -> None:
    instance, client = served.instance, served.client()
    keys = [client.generated_key() for _ in range(MANY)]
    plaintexts = {client.encrypt(key, key.encode()): key.encode() for key in keys}
    newest = next(filter(None, (killed_in_the_middle(served) for _ in range(10))))
    for ciphertext, plaintext in list(plaintexts.items())[::4]:
        assert client.decrypt(ciphertext) == plaintext
    left = materials_under(instance)[newest - 1]
    done = transfer(instance)
    assert (done["found"], done["resealed"], done["erased"]) == (left, left, True)
    assert set(materials_under(instance)) == {newest}
    for ciphertext, plaintext in plaintexts.items():
        assert client.decrypt(ciphertext) == plaintext
    assert transfer(instance)["found"] == 0


def killed_in_the_middle(served: RunningService) -> int | None:
    """Rotate, kill a transfer, and return the newest version; None if it had come to its end before."""
    instance = served.instance
    hsmkms("sealing", "rotate", "--config", str(instance.config))
    newest = max(status(instance))
    until_followed(served, *sorted(status(instance)))
    with transferring(instance) as process, contextlib.closing(sqlite3.connect(instance.database)) as database:
        sealed = "SELECT count(*) FROM materials WHERE sealing_version = ?"
        begun = time.monotonic()
        while database.execute(sealed, (newest,)).fetchone() == (0,):  # a transfer of so few is soon over
            assert time.monotonic() - begun < FOLLOW_SECONDS, "some are sealed anew"
        os.kill(process.pid, signal.SIGKILL)
    return newest if len(materials_under(instance)) == 2 else None


@contextlib.contextmanager
def transferring(instance: Instance) -> Iterator[subprocess.Popen[bytes]]:
    """Run a transfer beside the block."""
    words = ("--config", str(instance.config), "--so-pin-file", str(instance.folder / "so-pin"))
    with subprocess.Popen(
        [*HSMKMS, "sealing", "transfer", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        yield process
