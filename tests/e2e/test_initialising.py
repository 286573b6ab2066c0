"""`hsmkms init` and what `serve` demands of a token, with real processes on real tokens."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import instance as making
from hsmkms.core.material import Edition
from hsmkms.instance import TokenKind, Wish
from tests.e2e.kill_loop import processes_of
from tests.e2e.running import HSMKMS, Instance, free_port, hsmkms, until
from tests.e2e.token_objects import act, object_files, objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OBJECTS: Final = 5
CONFIGURATION_ERROR: Final = 78
SECONDS: Final = 60
LONGEST_MOMENT_SECONDS: Final = 0.2


def blank(folder: Path, token: str = "softhsm") -> Instance:
    """Return an instance whose token is empty and whose database does not exist."""
    port = free_port()
    making.create(folder, Wish(TokenKind(token), Edition.FIPS, port, None))
    return Instance(folder, token, Edition.FIPS.value, port)


def dump(instance: Instance) -> list[str]:
    """Return everything in the database."""
    database = sqlite3.connect(instance.database)
    try:
        return list(database.iterdump())
    finally:
        database.close()


def start(instance: Instance) -> subprocess.Popen[str]:
    """Start `hsmkms init`."""
    return subprocess.Popen(
        [*HSMKMS, "init", "--config", str(instance.config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def init(instance: Instance) -> str:
    """Run `hsmkms init`, which must succeed, and return what it says."""
    return hsmkms("init", "--config", str(instance.config)).stdout


@pytest.mark.parametrize("token", ["softhsm", "nss"])
def test_two_inits_at_once_make_one_set_of_objects(tmp_path: Path, token: str) -> None:
    instance = blank(tmp_path / "instance", token)
    both = [start(instance), start(instance)]
    said = [process.communicate(timeout=SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(output for output, _ in said) == ["already initialised; nothing was changed\n", "initialised\n"]
    made = objects(instance)
    assert len({each.label for each in made}) == len(made) == OBJECTS
    assert init(instance) == "already initialised; nothing was changed\n"


def kill_at_a_random_moment(instance: Instance, process: subprocess.Popen[str]) -> bool:
    """Kill `init` a moment after it has made so many of its objects; tell whether it was still at it."""
    made = random.randrange(OBJECTS + 1)

    def far_enough() -> bool:
        return len(object_files(instance)) >= made or process.poll() is not None

    until(far_enough, f"{made} objects are made")
    try:
        process.communicate(timeout=random.uniform(0, LONGEST_MOMENT_SECONDS))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    return False


def killed_inits(folder: Path, kills: int) -> None:
    """Kill that many `init`s of blank tokens; demand that the next one makes exactly one set."""
    pristine = blank(folder / "pristine")
    for number in range(kills):
        instance = pristine.copy(folder / str(number))
        while not kill_at_a_random_moment(instance, start(instance)):
            shutil.rmtree(instance.folder)
            instance = pristine.copy(folder / str(number))
        until(lambda instance=instance: not processes_of(instance), "init's host ends with it", 2)  # type: ignore[misc]
        init(instance)
        made = objects(instance)
        # A file that SoftHSM had begun and not yet filled may stay: it is no object, not even to SoftHSM.
        assert len({each.label for each in made}) == len(made) == OBJECTS


def test_an_init_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    killed_inits(tmp_path, 4)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_many_inits_that_were_killed_are_finished_by_the_next(tmp_path: Path) -> None:
    killed_inits(tmp_path, 40)


# --- a token that is not what it was ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """An initialised instance, to be copied."""
    return Instance.make(tmp_path_factory.mktemp("initialising") / "ready")


def another_token(instance: Instance) -> None:
    """Put a token of the same label and PIN, but another serial number, in the place of the instance's."""
    tokens = instance.folder / "tokens"
    shutil.rmtree(tokens)
    tokens.mkdir(mode=0o700)
    pin = (instance.folder / "pin").read_text().strip()
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "hsmkms", "--pin", pin, "--so-pin", pin],
        env={"SOFTHSM2_CONF": str(instance.folder / "softhsm2.conf")},
        check=True,
        capture_output=True,
        timeout=SECONDS,
    )


def emptied(instance: Instance) -> None:
    act(instance, "destroy")


def one_missing(instance: Instance) -> None:
    act(instance, "destroy", random.choice(objects(instance)).label)


def one_doubled(instance: Instance) -> None:
    act(instance, "double", random.choice(objects(instance)).label)


def one_replaced(instance: Instance) -> None:
    act(instance, "replace", random.choice(objects(instance)).label)


def another_edition(instance: Instance) -> None:
    instance.replace('edition = "fips"', 'edition = "sm"')


DAMAGES: Final[dict[Callable[[Instance], None], str]] = {
    another_token: "serial number",
    emptied: "has no object",
    one_missing: "has no object",
    one_doubled: "has 2 objects",
    one_replaced: "does not give its known answer",
    another_edition: "edition",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_init_and_serve_stop_at_a_token_that_is_not_what_it_was(
    ready: Instance, tmp_path: Path, damage: Callable[[Instance], None]
) -> None:
    instance = ready.copy(tmp_path / "instance")
    damage(instance)
    token, database = objects(instance), dump(instance)
    for command in ("init", "serve"):
        stopped = hsmkms(command, "--config", str(instance.config), expect=CONFIGURATION_ERROR)
        sentences = [line for line in stopped.stderr.splitlines() if not line.startswith("{")]
        assert len(sentences) == 1, stopped.stderr
        assert sentences[0].startswith("hsmkms: ")
        assert DAMAGES[damage] in sentences[0]
        assert "CKR_" not in sentences[0]
    assert objects(instance) == token
    assert dump(instance) == database
    assert not processes_of(instance)


def test_serve_before_init_stops_and_makes_nothing(tmp_path: Path) -> None:
    instance = blank(tmp_path / "instance")
    before = sorted(instance.folder.iterdir())
    stopped = hsmkms("serve", "--config", str(instance.config), expect=CONFIGURATION_ERROR)
    sentences = [line for line in stopped.stderr.splitlines() if not line.startswith("{")]
    assert len(sentences) == 1
    assert "hsmkms init" in sentences[0]
    assert sorted(instance.folder.iterdir()) == before
    assert objects(instance) == []
    assert object_files(instance) == []
