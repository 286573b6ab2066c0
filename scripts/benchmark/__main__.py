"""The command: `./scripts/bench`, or `python -m scripts.benchmark` in the project's root."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import HsmkmsError
from scripts.benchmark import machine, points, report
from scripts.benchmark.trouble import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.benchmark.measurements import Results

_SIGNAL_EXIT: Final = 128
_LEAST_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 120.0
"""Requests are signed before the clock starts, and a signature lives 300 s."""


def main() -> int:
    """Measure, show, and return the exit code."""
    arguments = _arguments()
    plan = points.Plan(seconds=arguments.seconds, warm_up_seconds=min(1.0, arguments.seconds / 2))
    try:
        results, where = asyncio.run(_measured(plan))
    except (BenchError, HsmkmsError) as trouble:
        sys.stderr.write(f"error: {trouble}\n")
        return 1
    except KeyboardInterrupt:
        return _SIGNAL_EXIT + signal.SIGINT
    except asyncio.CancelledError:
        return _SIGNAL_EXIT + signal.SIGTERM
    report.show(results, where)
    if arguments.json is not None:
        try:
            arguments.json.write_text(json.dumps(results.document(where), indent=2) + "\n", encoding="utf-8")
        except OSError as trouble:
            sys.stderr.write(f"error: {trouble}\n")
            return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/bench", description="Measure the service as ratios to its token.")
    parser.add_argument("--seconds", type=_duration, default=points.SECONDS, help="for each point")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    return parser.parse_args()


def _duration(text: str) -> float:
    seconds = float(text)
    if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"from {_LEAST_SECONDS:g} to {_MOST_SECONDS:g}")
    return seconds


async def _measured(plan: points.Plan) -> tuple[Results, Mapping[str, str]]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - this is a coroutine
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    # Everything that was started ends before the folder goes.
    with tempfile.TemporaryDirectory(prefix="hsmkms-bench-") as name, report.watching() as watcher:
        folder = Path(name)
        where = machine.facts(folder)
        return await points.run(plan, folder, watcher), where


if __name__ == "__main__":
    sys.exit(main())
