"""Where the files of a test run are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests import memory_folder


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_folder, "ROOM_BYTES", 1)


@pytest.mark.usefixtures("roomy")
def test_it_is_new_and_others_may_pass_through_it_and_no_more(tmp_path: Path) -> None:
    made = memory_folder.make(tmp_path)
    assert made is not None
    assert (made.parent, list(made.iterdir()), stat.S_IMODE(made.stat().st_mode)) == (tmp_path, [], 0o711)
    assert memory_folder.make(tmp_path) not in {made, None}
    assert made.exists(), "of a process that runs"


@pytest.mark.usefixtures("roomy")
def test_what_ended_runs_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from tests import memory_folder as m; m.ROOM_BYTES = 1; m.make(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60, cwd=Path(__file__).parents[1])
    (left,) = tmp_path.iterdir()
    (left / "file").touch()
    (tmp_path / "mine").mkdir()
    made = memory_folder.make(tmp_path)
    assert made is not None
    assert set(tmp_path.iterdir()) == {made, tmp_path / "mine"}


def test_without_room_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_folder, "ROOM_BYTES", 1 << 60)
    assert memory_folder.make(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("roomy")
def test_where_it_cannot_be_there_is_none(tmp_path: Path) -> None:
    assert memory_folder.make(tmp_path / "missing") is None


@pytest.mark.usefixtures("roomy")
@pytest.mark.parametrize("flag", [os.ST_NOEXEC, os.ST_RDONLY], ids=["noexec", "ro"])
def test_as_it_is_mounted_it_may_not_do(flag: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = os.statvfs(tmp_path)
    fields = [field | flag if place == 8 else field for place, field in enumerate(asked)]
    monkeypatch.setattr(os, "statvfs", lambda *_: os.statvfs_result(fields))
    assert memory_folder.make(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
