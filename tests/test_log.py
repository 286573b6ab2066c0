"""The lines that every process writes on standard error."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from hsmkms import log

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("hsmkms.some.room")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error of a process called `web`, which logs from `info` on."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with io.StringIO() as stream:
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
