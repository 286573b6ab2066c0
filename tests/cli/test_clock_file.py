"""The file that remembers how the clocks stood to each other: whatever is in its place, it costs an hour at most."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from hsmkms.core.clocks import ClockWitness
from hsmkms.wiring.boot_clock import ClockFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WITNESS = ClockWitness("boot", 1, 2, 3)
KEPT = msgspec.json.encode(WITNESS)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.with_name("target").write_bytes(KEPT)
    path.symlink_to("target")


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


@pytest.fixture
def path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    caplog.set_level(logging.WARNING, "hsmkms.wiring.boot_clock")
    return tmp_path / "hsmkms.db-clock"


def test_what_was_kept_is_recalled(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ClockFile(path).recall() is None
    ClockFile(path).keep(WITNESS)
    assert ClockFile(path).recall() == WITNESS
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert caplog.records == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "put",
    [
        a_pipe,
        a_link,
        written(b""),
        written(KEPT.replace(b"boot", b"b\xffot", 1)),
        written(b'{"x":' + b"[" * 4000),
        written(KEPT + b" " * 4096),
    ],
    ids=["pipe", "link", "empty", "no UTF-8", "nested", "large"],
)
def test_what_cannot_be_read_is_forgotten_and_replaced(
    path: Path, caplog: pytest.LogCaptureFixture, put: Callable[[Path], object]
) -> None:
    put(path)
    assert ClockFile(path).recall() is None
    [line] = caplog.records
    assert line.__dict__["path"] == str(path)
    ClockFile(path).keep(WITNESS)
    assert ClockFile(path).recall() == WITNESS


@pytest.mark.timeout(20)
def test_a_pipe_in_the_way_of_a_new_file_holds_nothing_up(path: Path) -> None:
    os.mkfifo(path.with_name(f"{path.name}.{os.getpid()}"))
    ClockFile(path).keep(WITNESS)
    assert ClockFile(path).recall() == WITNESS


def test_a_folder_in_its_place_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    assert ClockFile(path).recall() is None
    ClockFile(path).keep(WITNESS)
    assert len(caplog.records) == 2
    assert [each.name for each in path.parent.iterdir()] == [path.name]
