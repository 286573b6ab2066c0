from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm import softhsm as softhsm_files
from hsmkms.hsm.host import durability

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hsm.tokens import TestToken


def test_the_token_directory_is_the_one_softhsm_is_configured_with(
    softhsm: TestToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", softhsm.env["SOFTHSM2_CONF"])
    assert softhsm_files.token_directory(os.environ) == softhsm.directory / "tokens"


def test_a_softhsm_configuration_without_a_token_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "softhsm2.conf"
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    with pytest.raises(TokenUnusable, match="cannot be read"):
        softhsm_files.token_directory(os.environ)
    configuration.write_text("log.level = ERROR\n")
    with pytest.raises(TokenUnusable, match=r"directories\.tokendir"):
        softhsm_files.token_directory(os.environ)


def test_every_file_and_directory_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "two").write_text("x")
    flushed = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.add(os.fstat(descriptor).st_ino))
    durability.flush(tmp_path)
    assert flushed == {path.stat().st_ino for path in (tmp_path, tmp_path / "one", tmp_path / "one" / "two")}
