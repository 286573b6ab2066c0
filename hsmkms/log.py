"""Logs: JSON lines on standard error, a request id in each, no bodies.

Laws:

- everyone logs through `logging.getLogger(__name__)` and passes facts as `extra=`; this module renders them;
- what may be logged is what the caller names: no request, reply or exception argument is rendered by itself;
- in an event loop's thread, lines below WARNING wait for the end of the loop's turn, and are then written in one call:
  a process that is killed loses those of its last turn, and no others; all other lines are written at once, in order;
- nothing beside the standard library: every host loads this module, and what it loads is beside the keys.
"""

from __future__ import annotations

import asyncio
import json
import logging
import select
import sys
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The request that the running task serves."""

_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What a record has whatever its `extra` is (`taskName` from Python 3.12 on)."""

_ENCODER: Final = json.JSONEncoder(sort_keys=True, default=repr)


def configure(level: str, process: str) -> None:
    """Send this process's logs from `level` on to standard error, each line naming `process`."""
    handler = _LinesOfATurn(sys.stderr)
    handler.setFormatter(_JsonLines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it greets whenever it is loaded
    # No line names the place in the source or the thread: by these documented switches logging does not look them up.
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class _LinesOfATurn(logging.StreamHandler[TextIO]):
    """Writes what one turn of the event loop logs at once: each call of the system costs as much as making a line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001 - what every handler does: a line that cannot be made must not end a request
            self.handleError(record)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # there is none in this thread
            self.flush()
            return
        if record.levelno >= logging.WARNING:
            self.flush()
        elif len(self._waiting) == 1:
            loop.call_soon(self.flush)

    def flush(self) -> None:
        self.acquire()
        try:
            waiting, self._waiting = self._waiting, []
            for lines in _pieces(waiting):
                with suppress(OSError, ValueError):  # nobody reads: the log is no reason to stop
                    self.stream.write(lines)
                    self.stream.flush()
        finally:
            self.release()


def _pieces(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines in pieces that a pipe takes whole (pipe(7)): other processes write to it as well."""
    piece = ""
    for line in lines:
        if piece and len(piece) + len(line) > select.PIPE_BUF:
            yield piece
            piece = ""
        piece += line
    if piece:
        yield piece


class _JsonLines(logging.Formatter):
    """One JSON object a line, its names in order."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        request_id = REQUEST_ID.get()
        if request_id is not None:
            line.setdefault("request_id", request_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        line["event"] = record.getMessage()
        line["level"] = record.levelname.lower()
        line["logger"] = record.name
        line["process"] = self._process
        second, microsecond = divmod(round(record.created * 1_000_000), 1_000_000)
        line["timestamp"] = f"{_date_and_time(second)}.{microsecond:06d}Z"
        return _ENCODER.encode(line)


@lru_cache(maxsize=1)
def _date_and_time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
