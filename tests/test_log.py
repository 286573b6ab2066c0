"""The lines that every process writes on standard error."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import select
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from hsmkms import log

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("hsmkms.some.room")


class Pieces(io.StringIO):
    """A stream that remembers what was written at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pieces]:
    """Standard error of a process called `web`, which logs from `info` on."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    for switch in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, switch, getattr(logging, switch))  # put back after what `configure` does
    with Pieces() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        log.configure("info", "web")
        yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_says_what_happened_where_and_when(written: io.StringIO) -> None:
    before = datetime.now(UTC)
    LOGGER.warning("lost %s of %d", "host 1", 2, extra={"reason": "timeout", "seconds": 1.5})
    (line,) = lines(written)
    assert before <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert line == {
        "event": "lost host 1 of 2",
        "level": "warning",
        "logger": "hsmkms.some.room",
        "process": "web",
        "reason": "timeout",
        "seconds": 1.5,
    }


@pytest.mark.parametrize(
    ("second", "shown"),
    [
        (1_700_000_000.000042, "2023-11-14T22:13:20.000042Z"),
        (1_700_000_000.9999999, "2023-11-14T22:13:21.000000Z"),
    ],
)
def test_a_moment_is_told_to_the_microsecond(written: io.StringIO, second: float, shown: str) -> None:
    LOGGER.handle(logging.makeLogRecord({"levelno": logging.WARNING, "levelname": "WARNING", "created": second}))
    assert [line["timestamp"] for line in lines(written)] == [shown]


def test_the_names_in_a_line_are_in_order(written: io.StringIO) -> None:
    LOGGER.info("x", extra={"zone": 1, "alpha": 2})
    (line,) = lines(written)
    assert list(line) == sorted(line)


def test_what_is_below_the_level_is_not_written(written: io.StringIO) -> None:
    LOGGER.debug("x")
    assert lines(written) == []


def test_a_line_names_the_request_that_the_task_serves_unless_the_caller_names_another(
    written: io.StringIO,
) -> None:
    serving = log.REQUEST_ID.set("one")
    try:
        LOGGER.info("x")
        LOGGER.info("x", extra={"request_id": "two"})
    finally:
        log.REQUEST_ID.reset(serving)
    LOGGER.info("x")
    assert [line.get("request_id") for line in lines(written)] == ["one", "two", None]


def test_a_failure_is_told_on_the_same_line_and_what_json_lacks_as_python_shows_it(
    written: io.StringIO,
) -> None:
    try:
        int("no number")
    except ValueError:
        LOGGER.exception("x", extra={"raw": b"\0"})
    (line,) = lines(written)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: invalid literal for int() with base 10: 'no number'")
    assert line["raw"] == "b'\\x00'"


# --- when a line is written -----------------------------------------------------------------------------------


async def test_what_one_turn_of_the_loop_logs_is_written_at_its_end_at_once(written: Pieces) -> None:
    for number in range(3):
        LOGGER.info("x", extra={"number": number})
    assert not written.pieces
    await asyncio.sleep(0)
    assert [line["number"] for line in lines(written)] == [0, 1, 2]
    assert len(written.pieces) == 1
    LOGGER.info("y")
    await asyncio.sleep(0)
    assert len(lines(written)) == 4, "the next turn's as well"


async def test_a_warning_is_written_at_once_after_what_waits(written: Pieces) -> None:
    LOGGER.info("first")
    LOGGER.warning("second")
    assert [line["event"] for line in lines(written)] == ["first", "second"]
    LOGGER.info("third")
    await asyncio.sleep(0)
    assert [line["event"] for line in lines(written)] == ["first", "second", "third"]


async def test_a_thread_without_a_loop_writes_at_once_what_waits_too(written: Pieces) -> None:
    LOGGER.info("first")
    thread = threading.Thread(target=LOGGER.info, args=("second",))
    thread.start()
    thread.join()
    assert [line["event"] for line in lines(written)] == ["first", "second"]


def test_nothing_waits_when_a_loop_has_ended(written: Pieces) -> None:
    async def logging_last() -> None:
        LOGGER.info("last")

    for _ in range(2):
        asyncio.run(logging_last())
    assert len(lines(written)) == 2


async def test_lines_are_written_in_whole_pieces_that_a_pipe_takes_undivided(written: Pieces) -> None:
    for number in range(50):
        LOGGER.info("x" * 100, extra={"number": number})
    LOGGER.info("x" * 2 * select.PIPE_BUF)
    await asyncio.sleep(0)
    assert len(lines(written)) == 51
    *pieces, longest = written.pieces
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith("\n") for piece in pieces)
    assert len(pieces) < 10
    assert longest.count("\n") == 1


async def test_a_line_that_cannot_be_made_or_written_ends_nothing(
    written: Pieces, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    LOGGER.info("%d", "no number")
    LOGGER.info("x")
    await asyncio.sleep(0)
    assert len(lines(written)) == 1
    written.close()
    LOGGER.info("y")
    LOGGER.warning("z")
    await asyncio.sleep(0)
    assert capsys.readouterr().err == ""
