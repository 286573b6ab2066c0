"""What a release consists of, built with the locked backend and without network."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

import hsmkms

ROOT: Final = Path(__file__).parents[1]
CODE: Final = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("hsmkms/**/*.py"))
SHIPPED: Final = (".ci", "conf", "docs", "hsmkms", "requirements", "scripts", "softhsm", "tests")
"""Folders that belong to the sources; everything else that may lie here is made by scripts."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True, timeout=60)
    return folder


def test_the_wheel_holds_the_program_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"hsmkms-{hsmkms.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
    info = f"hsmkms-{hsmkms.__version__}.dist-info"
    inside = {name for name in members if not name.startswith(f"{info}/")}
    assert inside == {*CODE, "hsmkms/py.typed"}
    assert "hsmkms/store/migrations/versions/0001_first.py" in inside
    assert {f"{info}/licenses/LICENSE", f"{info}/entry_points.txt", f"{info}/METADATA"} <= members


def test_the_sources_are_whole(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        members = {member.name.split("/", 1)[1] for member in sources if member.isfile()}
    expected = {
        path.relative_to(ROOT).as_posix()
        for folder in SHIPPED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    expected |= {path.name for path in ROOT.glob("*.md")} | {"LICENSE", "pyproject.toml", ".editorconfig"}
    assert len(expected) > len(CODE)
    assert expected - members == set()
    assert members - expected <= {"PKG-INFO", ".gitignore"}
