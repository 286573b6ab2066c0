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
from scripts.benchmark import chart, machine, points, report
from scripts.benchmark.plan import QUICK_SECONDS, SECONDS, Plan
from scripts.benchmark.ratios import ratios
from scripts.benchmark.trouble import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.benchmark.measurements import Results

_SIGNAL_EXIT: Final = 128
_LEAST_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 60.0
"""Requests are signed before the clock starts, and a signature lives 300 s."""


def main() -> int:
    """Measure, show, and return the exit code."""
    arguments = _arguments()
    try:
        results, where = asyncio.run(_measured(_plan(arguments)))
        report.show(results, where)
        if arguments.json is not None:
            document = results.document(where, ratios(results))
            arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        if arguments.plot is not None:
            arguments.plot.write_text(chart.drawn(results, where), encoding="utf-8")
    except (BenchError, HsmkmsError, OSError) as trouble:
        sys.stderr.write(f"error: {trouble}\n")
        return 1
    except KeyboardInterrupt:
        return _SIGNAL_EXIT + signal.SIGINT
    except asyncio.CancelledError:
        return _SIGNAL_EXIT + signal.SIGTERM
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/bench", description="Measure the service as ratios to its token.")
    parser.add_argument("--quick", action="store_true", help="less of everything, in less than four minutes")
    parser.add_argument("--seconds", type=_duration, help=f"for each point; {SECONDS:g}, or {QUICK_SECONDS:g} if quick")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--plot", type=_new_svg, metavar="FILE", help="draw them there, as SVG")
    parser.add_argument("--openbao", type=Path, metavar="PROGRAM", help="measure this OpenBao in the same run")
    return parser.parse_args()


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.quick:
        return Plan.quick(arguments.seconds or QUICK_SECONDS, arguments.openbao)
    return Plan(seconds=arguments.seconds or SECONDS, openbao=arguments.openbao)


def _new_file(text: str) -> Path:
    path = Path(text)
    if not path.parent.is_dir():  # better told before minutes of measuring than after
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _duration(text: str) -> float:
    seconds = float(text)
    if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"from {_LEAST_SECONDS:g} to {_MOST_SECONDS:g}")
    return seconds


def _new_svg(text: str) -> Path:
    path = _new_file(text)
    if path.suffix not in {"", ".svg"}:
        raise argparse.ArgumentTypeError(f"the chart is SVG: name it {path.with_suffix('.svg')}")
    return path


async def _measured(plan: Plan) -> tuple[Results, Mapping[str, str]]:
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
