"""The machine in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import disk, machine

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    inner = tmp_path / "with space"
    inner.mkdir()
    escaped = str(inner).replace(" ", "\\040")
    mounts = f"/dev/vda / ext4 rw 0 0\nnone {escaped} tmpfs rw 0 0\nnone {tmp_path} xfs rw 0 0\n"
    assert machine.filesystem(inner, mounts) == "tmpfs"
    assert machine.filesystem(inner / "deeper", mounts) == "tmpfs"
    assert machine.filesystem(tmp_path, mounts) == "xfs"
    assert machine.filesystem(tmp_path.parent, mounts) == "ext4"


def test_the_machine_is_named(tmp_path: Path) -> None:
    facts = machine.facts(tmp_path)
    assert set(facts) == {"cpu", "cores", "kernel", "python", "token", "file system", "load before"}
    assert all(facts.values())


def test_the_disk_is_asked_again_and_again(tmp_path: Path) -> None:
    point = disk.measure(tmp_path, 0.05)
    assert (tmp_path / "sync").stat().st_size == 4096 * point.count
    assert point.seconds >= 0.05
