"""How a run is shown: a line of progress on standard error, a table on standard output."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scripts.benchmark.measurements import ENCRYPT, ENCRYPT_SPREAD, IMPORT, SYNC, TOKEN_GCM, TOKEN_UNWRAP
from scripts.benchmark.service import CLIENT, HOSTS, OTHERS, SETTINGS, WEB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.benchmark.measurements import Measurement, Results
    from scripts.benchmark.points import Watcher

MOST_DRIFT: Final = 0.15
"""What the token's own rate may change by during a run before the ratios are called doubtful."""
MOST_OTHERS: Final = 0.25
"""Cores that others may keep busy meanwhile; the kernel's own work for the disk and the network is part of it."""
_WIDTH: Final = 100
_PARTS: Final = (CLIENT, WEB, HOSTS, OTHERS)
TITLES: Final = {
    TOKEN_UNWRAP: "token: C_UnwrapKey",
    TOKEN_GCM: "token: C_Encrypt",
    SYNC: "disk: write, fdatasync",
    IMPORT: "ImportKeyMaterial",
    ENCRYPT: "Encrypt, one key",
    ENCRYPT_SPREAD: "Encrypt, many keys",
}


class _Line:
    """One line that says what is going on; drawn when that changes, so that drawing costs the load nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._begun = False

    def begin(self, steps: int) -> None:
        """Take how many steps there will be."""
        self._progress.update(self._task, total=steps)

    def step(self, what: str) -> None:
        """Take what is done next."""
        self._progress.update(self._task, description=what, advance=1 if self._begun else 0)
        self._progress.refresh()
        self._begun = True


@contextmanager
def watching() -> Iterator[Watcher]:
    """Show how far a run is, for the block."""
    console = Console(stderr=True)
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
    ) as progress:
        yield _Line(progress)


def show(results: Results, machine: Mapping[str, str]) -> None:
    """Print the table, the machine below it, and a warning if the machine was not steady."""
    console = Console(width=_WIDTH)
    console.print(_table(results))
    console.print("machine: " + "; ".join(f"{name}: {fact}" for name, fact in machine.items()), highlight=False)
    console.print(f"settings: {SETTINGS}", highlight=False)
    for doubt in doubts(results):
        console.print(f"doubtful: {doubt}; run it again on a quiet machine", highlight=False)


def doubts(results: Results) -> Iterator[str]:
    """Return why the ratios of a run may be worth little: the machine was not ours, or not the same all the time."""
    for name in (TOKEN_UNWRAP, TOKEN_GCM):
        drift = results.drift(name)
        if drift > MOST_DRIFT:
            yield f"the token's own rate ({TITLES[name]}) changed by {drift:.0%} during the run"
    others = max((each.cpu.get(OTHERS, 0.0) for each in results.measurements), default=0.0)
    if others > MOST_OTHERS:
        yield f"something else kept up to {others:.1f} cores busy"


def _table(results: Results) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption="client, web, hosts, others: cores that they kept busy",
    )
    table.add_column("operation", no_wrap=True)
    for heading in ("at once", "/ token", "per s", "p50 ms", "p99 ms", *_PARTS):
        table.add_column(heading, justify="right")
    for each in results.measurements:
        table.add_row(TITLES.get(each.name, each.name), str(each.concurrency), *_figures(results, each))
    return table


def _figures(results: Results, point: Measurement) -> list[str]:
    ratio, latency = results.ratio(point), point.latency
    return [
        "" if ratio is None else f"{ratio:#.3g}",
        f"{point.rate:.0f}",
        *(("", "") if latency is None else (f"{latency.p50:.1f}", f"{latency.p99:.1f}")),
        *(f"{point.cpu[part]:.2f}" if part in point.cpu else "" for part in _PARTS),
    ]
