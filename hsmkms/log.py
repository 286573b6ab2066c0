"""Logs: JSON lines on standard error, a request id in each, no bodies.

Laws:

- everyone logs through `logging.getLogger(__name__)` and passes facts as `extra=`; this module renders them;
- what may be logged is what the caller names: no request, reply or exception argument is rendered by itself;
- nothing beside the standard library: every host loads this module, and what it loads is beside the keys.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The request that the running task serves."""

_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What a record has whatever its `extra` is (`taskName` from Python 3.12 on)."""


def configure(level: str, process: str) -> None:
    """Send this process's logs from `level` on to standard error, each line naming `process`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it greets whenever it is loaded


class _JsonLines(logging.Formatter):
    """One JSON object a line, its names in order."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        facts = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        request_id = REQUEST_ID.get()
        if request_id is not None:
            facts.setdefault("request_id", request_id)
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        line = {
            **facts,
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "timestamp": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return json.dumps(line, sort_keys=True, default=repr)
