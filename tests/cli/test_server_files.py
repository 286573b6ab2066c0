"""The files and folders that a connection to a PostgreSQL server depends on, and an instance made for one."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from hsmkms import config
from hsmkms import instance as making
from hsmkms.core.clocks import ClockWitness
from hsmkms.core.errors import ConfigurationInvalid
from hsmkms.core.material import Edition
from hsmkms.instance import TokenKind, Wish
from hsmkms.wiring import file_access
from hsmkms.wiring.boot_clock import ClockFile
from tests.cli.test_configuration import GOOD, URL

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.wiring.file_access import FileFinding

FILES = ("pgpass", "own.key", "own.pem", "ca.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation that reaches its server through a Unix socket."""
    folder = tmp_path / "installation"
    for name in (".", "socket", "node"):
        (folder / name).mkdir(0o700)
    for name in FILES:
        (folder / name).touch(0o600)
    files = "passfile=pgpass&sslkey=own.key&sslcert=own.pem&sslrootcert=ca.pem"
    store = f'url = "postgresql://u@/d?host={folder / "socket"}&{files}"\nnode = "one"\nnode_folder = "node"'
    (folder / "hsmkms.toml").touch(0o600)
    (folder / "hsmkms.toml").write_text(GOOD.replace(URL, store))
    return folder


def looked(folder: Path) -> tuple[FileFinding, ...]:
    path = folder / "hsmkms.toml"
    return file_access.look(config.load(path), path)


def test_they_are_listed_and_nothing_is_to_do(folder: Path) -> None:
    found = looked(folder)
    file_access.require_private(found)
    assert {each.path for each in found} >= {folder / name for name in (*FILES, "socket", "node")}
    assert [each.cure for each in found] == [""] * len(found)


@pytest.mark.parametrize(
    ("name", "mode", "cure"),
    [
        ("pgpass", 0o640, "g-r"),
        ("pgpass", 0o604, "o-r"),
        ("own.key", 0o644, "o-r"),
        ("own.pem", 0o664, "g-w"),
        ("ca.pem", 0o666, "g-w,o-w"),
        ("socket", 0o777, "o-w"),
        ("socket", 0o1777, "o-w"),
        ("node", 0o770, "g-w"),
    ],
)
def test_what_others_must_not_touch_is_refused_with_its_cure(folder: Path, name: str, mode: int, cure: str) -> None:
    (folder / name).chmod(mode)
    with pytest.raises(ConfigurationInvalid) as refused:
        file_access.require_private(looked(folder))
    assert refused.value.message.endswith(f"run 'chmod {cure} {folder / name}'.")


@pytest.mark.parametrize(("name", "mode"), [("own.key", 0o640), ("ca.pem", 0o644), ("socket", 0o2775)])
def test_what_does_no_harm_is_let_pass(folder: Path, name: str, mode: int) -> None:
    (folder / name).chmod(mode)
    file_access.require_private(looked(folder))


def test_only_the_folder_of_the_socket_may_belong_to_the_servers_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {(folder / name).stat().st_ino for name in ("socket", "pgpass")}
    monkeypatch.setattr(file_access, "_is_foreign", lambda status: status.st_ino in numbers)
    assert [each.path for each in looked(folder) if each.refused] == [folder / "pgpass"]


def test_a_node_remembers_its_clock_in_its_own_folder(folder: Path) -> None:
    witness = ClockWitness("boot", 1, 2, 3)
    ClockFile.beside(config.load(folder / "hsmkms.toml")).keep(witness)
    (kept,) = (folder / "node").iterdir()
    assert kept.name == "one-clock"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_an_instance_for_a_server_is_a_node(tmp_path: Path) -> None:
    url = "postgresql://u@/d?host=/run/postgresql"
    store = config.load(making.create(tmp_path / "i", Wish(TokenKind.SOFTHSM, Edition.FIPS, 8765, url))).store
    assert (store.node, store.node_folder) == ("node-1", tmp_path / "i" / ".")
