"""`hsmkms sealing ...` where the token is not asked: what is shown, and how a transfer's end is told."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import TYPE_CHECKING, Final

import pytest
from rich.console import Console

from hsmkms import config
from hsmkms.audit.chain import link
from hsmkms.cli import sealing
from hsmkms.cli.doctor import _show_sealing
from hsmkms.core.ids import Instant, KeyId
from hsmkms.core.ports import SealedCount
from hsmkms.service.rotating import GRACE_SECONDS, Retired, SealingVersion
from hsmkms.service.transferring import Transfer
from hsmkms.store import queries
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from hsmkms.wiring.adapters import SystemClock
from tests.cli.commands import run
from tests.cli.test_configuration import GOOD
from tests.contract.store_contract import pair, put
from tests.service.sealed import SealedHouse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hsmkms.config import Settings
    from hsmkms.store.writing import SqlWriting

INCOMPLETE: Final = 1
UNUSABLE: Final = 78


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The configuration of a database with nothing in it."""
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD)
    asyncio.run(upgrade(config.load(path).store.url))
    return path


def rotated(configuration: Path, *steps: Callable[[SealedHouse], Awaitable[object]]) -> None:
    """Take steps with the deployment of a configuration."""

    async def take() -> None:
        store = await open_store(config.load(configuration).store.url, link=link, busy_seconds=5)
        house = SealedHouse(store)
        for step in steps:
            await step(house)
        await store.close()

    asyncio.run(take())


async def add_pair(house: SealedHouse) -> None:
    await put(house.store, pair())


async def be_now(house: SealedHouse) -> None:
    house.clock.set(Instant(SystemClock().now() - 1000 * GRACE_SECONDS // 2))


def test_what_can_be_done_about_each_version_is_said(configuration: Path) -> None:
    rotated(
        configuration,
        lambda house: house.initialise(transferable=False),
        add_pair,
        lambda house: house.rotate(),
        SealedHouse.add_key,
        lambda house: house.rotate(transferable=True),
        SealedHouse.add_key,
        lambda house: house.rotate(),
        lambda house: house.rotate(),
        be_now,
        lambda house: house.rotate(),
        SealedHouse.add_key,
    )
    done = run("sealing", "status", "--config", str(configuration))
    assert (done.code, done.stderr) == (0, "")
    rows = [re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines()]
    assert [(version, use, keys, pairs, moved, advice) for version, _, use, keys, pairs, moved, advice in rows[1:]] == [
        ("1", "opens", "0", "1", "no", "wait: the pairs end with their import tokens"),
        ("2", "opens", "1", "0", "no", "import again; what was generated: ReEncrypt, delete"),
        ("3", "opens", "1", "0", "yes", "hsmkms sealing transfer"),
        ("4", "opens", "0", "0", "yes", "hsmkms sealing retire 4"),
        ("5", "opens", "0", "0", "yes", rows[5][-1]),
        ("6", "seals", "1", "0", "yes", "-"),
    ]
    waits = re.fullmatch(r"wait for (\d+) seconds", rows[5][-1])
    assert waits is not None
    assert 0 < int(waits[1]) <= GRACE_SECONDS // 2
    shown = json.loads(run("sealing", "status", "--config", str(configuration), "--json").stdout)
    assert shown[1] == {
        "version": 2,
        "made_at": 1_700_000_000,
        "superseded_at": 1_700_000_000,
        "newest": False,
        "lost": False,
        "transferable": False,
        "keys": 1,
        "wrapping_pairs": 0,
    }
    assert (shown[-1]["newest"], shown[-1]["superseded_at"]) == (True, None)


def test_before_init_there_is_nothing_to_show_or_to_do(configuration: Path, tmp_path: Path) -> None:
    so_pin = tmp_path / "so-pin"
    so_pin.touch(mode=0o400)
    for words in (("status",), ("transfer", "--so-pin-file", str(so_pin))):
        done = run("sealing", *words, "--config", str(configuration))
        assert (done.code, done.stdout) == (UNUSABLE, "")
        assert done.stderr.endswith("run 'hsmkms init'.\n")


def test_a_pin_of_the_security_officer_that_others_may_read_is_refused(configuration: Path, tmp_path: Path) -> None:
    so_pin = tmp_path / "so-pin"
    so_pin.touch()
    so_pin.chmod(0o440)
    done = run("sealing", "transfer", "--config", str(configuration), "--so-pin-file", str(so_pin))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert f"The security officer's PIN file {so_pin} has mode 0440" in done.stderr
    assert f"chmod g-r {so_pin}" in done.stderr


def transferred(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, done: Transfer, *flags: str
) -> tuple[int, str, str]:
    """Return how the command tells of a transfer that ended so."""

    async def transfer(settings: Settings, so_pin_file: Path, tell: Callable[[Transfer], None]) -> Transfer:
        assert (settings.edition.value, so_pin_file.is_absolute()) == ("fips", True)
        tell(done)
        return done

    monkeypatch.setattr(sealing, "transfer_material", transfer)
    words = ("--config", str(configuration), "--so-pin-file", "so-pin")
    ended = run("sealing", "transfer", *words, *flags)
    return ended.code, ended.stdout, ended.stderr


def test_a_transfer_of_everything_is_told(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Transfer(version=2, found=10, resealed=10, erased=True)
    code, stdout, stderr = transferred(configuration, monkeypatch, whole)
    assert (code, stdout) == (0, "sealed the material of 10 keys anew under version 2\n")
    assert stderr == "10 of 10 keys\n"
    code, stdout, _ = transferred(configuration, monkeypatch, whole, "--json")
    assert (code, json.loads(stdout)) == (
        0,
        {
            "version": 2,
            "found": 10,
            "resealed": 10,
            "overtaken": 0,
            "not_transferable": [],
            "broken": [],
            "lost": {},
            "erased": True,
        },
    )


def test_what_had_to_stay_is_named_and_ends_with_1(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, broken = [KeyId(f"fixed-{at}") for at in range(25)], [KeyId("broken-1")]
    part = Transfer(version=2, found=30, resealed=1, overtaken=3, not_transferable=fixed, broken=broken)
    code, stdout, stderr = transferred(configuration, monkeypatch, part)
    assert (code, stdout) == (INCOMPLETE, "sealed the material of 1 keys anew under version 2\n")
    assert re.findall(r"^3 keys were imported anew or lost their material", stderr, re.MULTILINE)
    assert "The material of 25 keys (fixed-0, " in stderr
    assert "fixed-19 and 5 more) stays as it is, under a version that is not transferable. What was imported" in stderr
    assert "ReEncrypt under it what this one encrypted" in stderr
    assert "The material of 1 keys (broken-1) stays as it is, in a record that does not open" in stderr
    assert "run it again" in stderr.splitlines()[-1]
    for lacking in (
        Transfer(2, 1, not_transferable=fixed, erased=True),
        Transfer(2, 1, broken=broken, erased=True),
        Transfer(2, 1, lost={1: broken}, erased=True),
    ):
        code, _, stderr = transferred(configuration, monkeypatch, lacking, "--json")
        assert code == INCOMPLETE
        assert "run it again" not in stderr


def test_of_lost_keys_the_version_is_named_that_lacks(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Transfer(version=4, found=3, lost={3: [KeyId("c")], 1: [KeyId("a"), KeyId("b")]}, erased=True)
    code, stdout, stderr = transferred(configuration, monkeypatch, part, "--json")
    assert (code, json.loads(stdout)["lost"]) == (INCOMPLETE, {"1": ["a", "b"], "3": ["c"]})
    first, second = stderr.splitlines()[1:]
    assert first.startswith("The material of 2 keys (a, b) stays as it is, under version 1, whose keys this deployment")
    assert second.startswith("The material of 1 keys (c) stays as it is, under version 3, whose keys this deployment")


def test_where_the_server_erases_in_its_own_time_nothing_is_claimed(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Transfer(version=2, found=1, resealed=1, erased=None)
    code, stdout, stderr = transferred(configuration, monkeypatch, done, "--json")
    assert (code, json.loads(stdout)["erased"], stderr) == (0, None, "1 of 1 keys\n")


def test_where_nothing_can_be_sealed_anew_no_pin_is_tried(configuration: Path, tmp_path: Path) -> None:
    """There is no token: whoever asked it would fail."""
    so_pin = tmp_path / "so-pin"
    so_pin.touch(mode=0o400)
    words = ("sealing", "transfer", "--config", str(configuration), "--so-pin-file", str(so_pin))
    rotated(configuration, lambda house: house.initialise(transferable=False), SealedHouse.add_key)
    done = run(*words)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == "sealed the material of 0 keys anew under version 1\n"
    rotated(configuration, lambda house: house.rotate())
    done = run(*words)
    assert done.code == INCOMPLETE
    assert "The material of 1 keys (" in done.stderr


@pytest.mark.parametrize(
    ("retired", "said"),
    [
        (Retired(known=True, destroyed=2), "destroyed version 1 of the sealing keys"),
        (
            Retired(known=False, destroyed=1),
            "destroyed version 1 of the sealing keys, which the database had forgotten before",
        ),
        (
            Retired(known=True, destroyed=0),
            "forgot version 1 of the sealing keys; there was nothing of it in the token to be destroyed",
        ),
        (
            Retired(known=False, destroyed=0),
            "version 1 of the sealing keys was retired before; there was nothing left to be destroyed",
        ),
    ],
)
def test_what_was_destroyed_is_said_and_nothing_else(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, retired: Retired, said: str
) -> None:
    async def retire(settings: Settings, version: int) -> Retired:
        assert (settings.edition.value, version) == ("fips", 1)
        return retired

    monkeypatch.setattr(sealing, "retire_sealing_keys", retire)
    done = run("sealing", "retire", "--config", str(configuration), "1")
    assert (done.code, done.stdout, done.stderr) == (0, f"{said}\n", "")


def test_what_is_under_keys_that_are_gone_is_shown_as_lost(configuration: Path) -> None:
    rotated(
        configuration,
        lambda house: house.initialise(),
        SealedHouse.add_key,
        lambda house: house.rotate(),
        lambda house: house.store.write(forget_first),
    )
    done = run("sealing", "status", "--config", str(configuration))
    row = re.split(r" {2,}", done.stdout.splitlines()[1].strip())
    assert row[:6] == ["1", "-", "lost", "1", "0", "-"]
    assert row[6].startswith("bring back its keys")
    first, second = json.loads(run("sealing", "status", "--config", str(configuration), "--json").stdout)
    assert (first["lost"], first["made_at"], second["lost"]) == (True, None, False)


def forget_first(writing: SqlWriting) -> None:
    writing.run(queries.REMOVE_SEALING_KEYS, {"this": 1})


def test_the_doctor_says_which_version_seals_and_which_only_open() -> None:
    def shown(*present: SealingVersion) -> str:
        out = io.StringIO()
        _show_sealing(Console(file=out, width=200), present)
        return out.getvalue()

    def version(number: int, *, transferable: bool, newest: bool) -> SealingVersion:
        return SealingVersion(number, newest, transferable, Instant(0), None, SealedCount())

    first = version(1, transferable=False, newest=True)
    assert "version 1 seals, not transferable: the token lets no material go (" in shown(first)
    assert "version 3 seals, transferable; 1, 2 only open what they sealed" in shown(
        version(1, transferable=False, newest=False),
        version(2, transferable=True, newest=False),
        version(3, transferable=True, newest=True),
    )
