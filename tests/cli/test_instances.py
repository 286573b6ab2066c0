"""`hsmkms new` on what an interrupted one left."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import instance as making
from hsmkms.core.material import Edition
from hsmkms.instance import TokenKind, Wish
from tests.cli.commands import run
from tests.e2e.running import hsmkms

if TYPE_CHECKING:
    from pathlib import Path

UNUSABLE: Final = 78
BEGUN: Final = ("--edition", "sm", "--port", "8801", "--store", "sqlite:///other.db")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an instance that was interrupted after its configuration was written."""
    folder = tmp_path_factory.mktemp("begun")
    making.create(folder, Wish(TokenKind.SOFTHSM, Edition.SM, 8801, "sqlite:///other.db"))
    return folder


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"--edition": "fips"}, "edition = sm, not fips"),
        ({"--port": "8802"}, "listen.port = 8801, not 8802"),
        ({"--token": "nss"}, "hsm.module"),
        ({"--store": "sqlite:///hsmkms.db"}, "store.url"),
    ],
)
def test_other_options_than_it_was_begun_with_are_refused(begun: Path, changed: dict[str, str], key: str) -> None:
    options = dict(zip(BEGUN[::2], BEGUN[1::2], strict=True)) | changed
    done = run("new", str(begun), *(word for option in options.items() for word in option))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert key in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (begun / "credential.json").exists()


def test_somebody_elses_configuration_is_no_interrupted_instance(tmp_path: Path) -> None:
    making.create(tmp_path / "i", Wish(TokenKind.SOFTHSM, Edition.FIPS, 8765, None))
    configuration = tmp_path / "i" / "hsmkms.toml"
    configuration.write_text(configuration.read_text().replace('"pin"', '"/etc/hsmkms/pin"'))
    done = run("new", str(tmp_path / "i"))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert "hsm.pin_file" in done.stderr


def test_it_goes_on_with_the_same_options(begun: Path) -> None:
    before = (begun / "hsmkms.toml").read_bytes()
    (begun / "credential.json.new").write_text('{"account": "de')  # as a kill leaves it
    hsmkms("new", str(begun), *BEGUN)
    assert (begun / "hsmkms.toml").read_bytes() == before
    credential = json.loads((begun / "credential.json").read_text())
    assert set(credential) == {"account", "secret_id", "secret_key"}
    assert not (begun / "credential.json.new").exists()
    with closing(sqlite3.connect(begun / "other.db")) as database:
        assert database.execute("SELECT access_id FROM credentials").fetchall() == [(credential["secret_id"],)]


def test_half_a_configuration_does_not_count_as_one(tmp_path: Path) -> None:
    (tmp_path / "hsmkms.toml.new").write_text('edition = "fi')
    done = run("new", str(tmp_path))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert "not empty" in done.stderr


def test_a_finished_instance_is_left_alone(tmp_path: Path) -> None:
    making.create(tmp_path / "i", Wish(TokenKind.SOFTHSM, Edition.FIPS, 8765, None))
    making.write_credential(tmp_path / "i", "{}")
    done = run("new", str(tmp_path / "i"))
    assert done.code == UNUSABLE
    assert "not empty" in done.stderr
