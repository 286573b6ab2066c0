"""Where an instance's files land, whatever its folder is called and wherever the command is run."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import config
from hsmkms.store.urls import file_of
from tests.cli.commands import run
from tests.cli.test_configuration import GOOD
from tests.e2e.running import HSMKMS, hsmkms

if TYPE_CHECKING:
    from pathlib import Path

UNUSABLE: Final = 78
URL: Final = 'url = "sqlite:///hsmkms.db"'


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a?b #%25", "x?mode=ro&y", "%41", "é ☃ 🔑"])
def test_the_database_is_beside_its_configuration(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    path = folder / "hsmkms.toml"
    path.write_text(GOOD)
    assert file_of(config.load(path).store.url) == folder / "hsmkms.db"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///x/y.db", "x/y.db"),
        ("sqlite:///%3F %25.db", "? %.db"),
        ("sqlite:///100%s #1.db", "100%s #1.db"),
        ("sqlite:////absolute/x.db", "/absolute/x.db"),
        ("sqlite:///%FF.db", os.fsdecode(b"\xff.db")),
    ],
)
def test_a_url_of_a_file_is_a_url(url: str, file: str, tmp_path: Path) -> None:
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD.replace(URL, f'url = "{url}"'))
    assert file_of(config.load(path).store.url) == tmp_path / file


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hsmkms.db",
        "sqlite:///",
        "sqlite://x/hsmkms.db",
        "sqlite+aiosqlite:///hsmkms.db",
        "sqlite:///:memory:",
        "sqlite:///hsmkms.db?mode=ro",
        "sqlite:///%00.db",
    ],
)
def test_another_url_is_refused_with_what_to_write(url: str, tmp_path: Path) -> None:
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD.replace(URL, f'url = "{url}"'))
    done = run("init", "--config", str(path))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert "store.url: write sqlite:///FILE" in done.stderr


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD.replace(URL, 'url = "postgresql://u:hidden@h/d"'))
    done = run("init", "--config", str(path))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert "store.url: it holds a password" in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize(("token", "name"), [("nss", "a?b #%25"), ("nss", "é = ☃"), ("softhsm", "a?b/i %25 é☃")])
def test_an_instance_is_wholly_in_its_folder(token: str, name: str, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "here" / name, tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([*HSMKMS, "new", str(folder), "--token", token], cwd=elsewhere, check=True, timeout=60)
    token_folder = {"nss": "nss", "softhsm": "tokens"}[token]
    assert {"hsmkms.db", "credential.json", "hsmkms.toml", "pin", token_folder} <= entries(folder)
    assert any((folder / token_folder).iterdir())
    assert not any(each.endswith(".new") for each in entries(folder))
    inside = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(folder in path.parents for path in inside), inside
    assert entries(elsewhere) == set()
    assert "already initialised" in hsmkms("init", "--config", str(folder / "hsmkms.toml")).stdout


@pytest.mark.parametrize(
    ("token", "name"),
    [("softhsm", "a#b"), ("softhsm", "a=b"), ("nss", "it's"), ("nss", "a\\b"), ("nss", "a\nb"), ("softhsm", "a\x7fb")],
)
def test_a_folder_that_the_token_cannot_be_told_of_is_refused(token: str, name: str, tmp_path: Path) -> None:
    done = run("new", str(tmp_path / name), "--token", token)
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert done.stderr.count("\n") == 1
    assert "name one without" in done.stderr
    assert entries(tmp_path) == set()


@pytest.mark.parametrize("url", ["nonsense", "sqlite+aiosqlite:///x.db", "sqlite:///x.db?y"])
def test_new_checks_the_url_before_it_makes_anything(url: str, tmp_path: Path) -> None:
    done = run("new", str(tmp_path / "i"), "--store", url)
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert "store.url" in done.stderr
    assert entries(tmp_path) == set()


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("new", str(tmp_path / folder))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert "name another one" in done.stderr
    assert done.stderr.count("\n") == 1
