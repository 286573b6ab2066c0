"""What is in a backup, and what is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from hsmkms.store import backup as store_backup
from tests.cli.commands import run
from tests.e2e.running import Instance, hsmkms

if TYPE_CHECKING:
    from pathlib import Path

UNUSABLE = 78
TRY_AGAIN = 75


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """One whose operator left a copy of the PIN beside the token."""
    instance = Instance.make(tmp_path_factory.mktemp("backed-up") / "instance")
    (token,) = (instance.folder / "tokens").iterdir()
    shutil.copy(instance.folder / "pin", token / "pin")
    return instance


@pytest.fixture(scope="module")
def made(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup, in a folder whose name SoftHSM's configuration could not hold."""
    folder = tmp_path_factory.mktemp("backups") / "day=1 #2"
    hsmkms("backup", "create", "--config", str(instance.config), str(folder))
    return folder


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to do with as a test likes."""
    return shutil.copytree(made, tmp_path / "backup")


@pytest.fixture
def fresh(instance: Instance, tmp_path: Path) -> Instance:
    """A folder with the configuration and the PIN of an instance, and nothing else."""
    there = tmp_path / "fresh"
    there.mkdir(mode=0o700)
    for name in ("hsmkms.toml", "softhsm2.conf", "pin"):
        text = (instance.folder / name).read_text().replace(str(instance.folder), str(there))
        (there / name).write_text(text)
        (there / name).chmod(0o600)
    return Instance(there, instance.token, instance.edition, instance.port)


def refusal(*arguments: object) -> str:
    """Return the sentence of a command that must refuse."""
    done = run("backup", *map(str, arguments))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    return done.stderr


def test_all_that_is_needed_is_in_it_and_only_the_owner_reads_it(instance: Instance, made: Path) -> None:
    there = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    kept = {path.relative_to(instance.folder).as_posix() for path in instance.folder.glob("tokens/*/*")}
    kept = {name for name in kept if not name.endswith("/pin")}
    assert there == kept | {"hsmkms.db", "hsmkms.toml", "softhsm2.conf", "manifest.json"}
    for path in (made, *made.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    manifest = json.loads((made / "manifest.json").read_text())
    assert set(manifest["files"]) == there - {"manifest.json"}
    assert run("backup", "verify", str(made), "--json").stdout == json.dumps(manifest) + "\n"


def test_no_pin_is_in_it(instance: Instance, made: Path) -> None:
    secrets = [(instance.folder / name).read_bytes().strip() for name in ("pin", "so-pin")]
    for path in made.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets), path
    assert instance.credential()["secret_key"].encode() not in (made / "hsmkms.db").read_bytes()


def test_what_is_there_is_not_replaced(instance: Instance, tmp_path: Path) -> None:
    for there in (tmp_path / "folder", tmp_path / "link"):
        there.mkdir() if there.name == "folder" else there.symlink_to(tmp_path / "nowhere")
        assert str(there) in refusal("create", "--config", instance.config, there)
    assert not (tmp_path / "nowhere").exists()
    assert not list((tmp_path / "folder").iterdir())
    assert len(list(tmp_path.iterdir())) == 2


def test_a_copy_that_does_not_open_is_no_backup(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "wrong-pin").write_text("0000000000000000\n")
    (tmp_path / "wrong-pin").chmod(0o400)
    wrong = instance.variant("wrong-pin", {'pin_file = "pin"': f'pin_file = "{tmp_path}/wrong-pin"'})
    backups = tmp_path / "backups"
    backups.mkdir()
    done = hsmkms("backup", "create", "--config", str(wrong.config), str(backups / "one"), expect=UNUSABLE)
    assert "refused the PIN" in done.stderr
    assert not list(backups.iterdir())


@pytest.fixture
def vendors(instance: Instance, tmp_path: Path) -> Instance:
    """The same instance, as if its token were no SoftHSM's: no host is needed."""
    (module,) = [line for line in instance.config.read_text().splitlines() if line.startswith("module = ")]
    (tmp_path / "vendor.so").touch(0o600)
    return instance.variant("vendor", {module: f'module = "{tmp_path}/vendor.so"'})


@pytest.mark.parametrize("flags", [(), ("--without-database",)])
def test_what_is_backed_up_by_other_means_is_left_out(
    vendors: Instance, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    done = run("backup", "create", "--config", str(vendors.config), str(tmp_path / "one"), *flags)
    assert (done.code, done.stderr) == (0, "The token is not in it: back up its partition by its vendor's means.\n")
    assert "\ntoken       not in it\n" in done.stdout
    assert ("\ndatabase    not in it\n" in done.stdout) is bool(flags)
    expected = {"hsmkms.toml", "manifest.json"} | (set() if flags else {"hsmkms.db"})
    assert {path.name for path in (tmp_path / "one").iterdir()} == expected


def test_keys_of_the_token_that_are_replaced_meanwhile(
    vendors: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = store_backup.copy
    kept = vendors.database.read_bytes()

    async def copy_and_replace(url: str, folder: Path, busy_seconds: float) -> store_backup.Copied:
        copied = await copy(url, folder, busy_seconds)
        with contextlib.closing(sqlite3.connect(vendors.database)) as database:
            database.execute("UPDATE custody_objects SET object_id = randomblob(16) WHERE role = 'mac'")
            database.commit()
        return copied

    monkeypatch.setattr(store_backup, "copy", copy_and_replace)
    (tmp_path / "backups").mkdir()
    done = run("backup", "create", "--config", str(vendors.config), str(tmp_path / "backups" / "one"))
    vendors.database.write_bytes(kept)
    assert (done.code, done.stdout) == (TRY_AGAIN, "")
    assert "replaced meanwhile" in done.stderr
    assert not list((tmp_path / "backups").iterdir())


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "more"])
def test_damage_is_found_and_named(backup: Path, fresh: Instance, damage: str) -> None:
    database = backup / "hsmkms.db"
    named = "hsmkms.db"
    if damage == "changed":
        content = bytearray(database.read_bytes())
        content[-1] ^= 1
        database.write_bytes(content)
    elif damage == "cut":
        database.write_bytes(database.read_bytes()[:-4096])
    elif damage == "gone":
        database.unlink()
    else:
        named = "tokens/more.object"
        (backup / named).touch()
    for command in (("verify",), ("restore", "--config", fresh.config)):
        assert f"is not as it was written: {named};" in refusal(*command, backup)
    assert len(list(fresh.folder.iterdir())) == 3


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1}', None])
def test_what_is_no_backup(backup: Path, content: str | None) -> None:
    (backup / "manifest.json").unlink()
    if content is not None:
        (backup / "manifest.json").write_text(content)
    assert "is not a backup" in refusal("verify", backup)


@pytest.mark.parametrize("there", ["hsmkms.db", "hsmkms.db-wal", "hsmkms.db-journal", "tokens/any.object"])
def test_nothing_is_restored_over_anything(backup: Path, fresh: Instance, there: str) -> None:
    path = fresh.folder / there
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(0o600)
    assert str(path.parent if path.suffix == ".object" else path) in refusal(
        "restore", "--config", fresh.config, backup
    )
    assert path.read_bytes() == b""
    assert len(list(fresh.folder.iterdir())) == 4


def test_a_backup_of_another_edition_or_another_kind_of_database(backup: Path, fresh: Instance) -> None:
    other = fresh.variant("sm", {'edition = "fips"': 'edition = "sm"'})
    assert "edition fips" in refusal("restore", "--config", other.config, backup)
    manifest = (backup / "manifest.json").read_text().replace("hsmkms.db", "hsmkms.dump")
    (backup / "manifest.json").write_text(manifest)
    (backup / "hsmkms.db").rename(backup / "hsmkms.dump")
    assert "another kind of database" in refusal("restore", "--config", fresh.config, backup)
    assert not (fresh.folder / "hsmkms.db").exists()
