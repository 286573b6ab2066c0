"""Logs: JSON lines on standard error, a request id in each, no bodies.

Laws:

- everyone logs through `logging.getLogger(__name__)` and passes facts as `extra=`; this module renders them;
- what may be logged is what the caller names: no request, reply or exception argument is rendered by itself.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The request that the running task serves."""


def configure(level: str, process: str) -> None:
    """Send this process's logs from `level` on to standard error, each line naming `process`."""

    def identify(_logger: object, _method: str, line: MutableMapping[str, object]) -> MutableMapping[str, object]:
        line["process"] = process
        request_id = REQUEST_ID.get()
        if request_id is not None:
            line.setdefault("request_id", request_id)
        return line

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                identify,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it greets on every start
