"""How a run is shown: a line of progress on standard error, a table on standard output."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scripts.benchmark import ratios
from scripts.benchmark.cpu import CLIENT, HOSTS, OTHERS, WEB
from scripts.benchmark.measurements import (
    CEREMONY,
    CEREMONY_PAIR_EACH,
    DATA_KEY,
    ENCRYPT,
    ENCRYPT_AMONG,
    ENCRYPT_ANY,
    ENCRYPT_SPREAD,
    IMPORT,
    IMPORT_AMONG,
    OPENBAO_DATA_KEY,
    OPENBAO_ENCRYPT,
    OPENBAO_IMPORT,
    PARAMETERS_DRY,
    PARAMETERS_WARM,
    START_SECONDS,
    SYNC,
    TOKEN_GCM,
    TOKEN_KEYGEN,
    TOKEN_UNWRAP,
    WEB_MEMORY_MIB,
)
from scripts.benchmark.service import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.benchmark.measurements import Measurement, Results
    from scripts.benchmark.plan import Watcher

MOST_DRIFT: Final = 0.15
"""What the token's own rate may change by during a run before the ratios are called doubtful."""
MOST_OTHERS: Final = 0.25
"""Cores that others may keep busy meanwhile; the kernel's own work for the disk and the network is part of it."""
_WIDTH: Final = 120
_PARTS: Final = (CLIENT, WEB, HOSTS, OTHERS)
_SMALL_RATE: Final = 100
TITLES: Final = {
    TOKEN_UNWRAP: "token: C_UnwrapKey",
    TOKEN_GCM: "token: C_Encrypt",
    TOKEN_KEYGEN: "token: C_GenerateKeyPair",
    SYNC: "disk: write, fdatasync",
    IMPORT: "ImportKeyMaterial",
    CEREMONY: "ceremony, 1000 tickets a pair",
    CEREMONY_PAIR_EACH: "ceremony, 1 ticket a pair",
    ENCRYPT: "Encrypt, one key",
    ENCRYPT_SPREAD: "Encrypt, many keys",
    DATA_KEY: "GenerateDataKey",
    PARAMETERS_WARM: "GetParametersForImport, warm",
    PARAMETERS_DRY: "GetParametersForImport, dry",
    IMPORT_AMONG: "Import, ten of {:,} keys",
    ENCRYPT_AMONG: "Encrypt, ten of {:,} keys",
    ENCRYPT_ANY: "Encrypt, any of {:,} keys",
    OPENBAO_IMPORT: "OpenBao: transit import",
    OPENBAO_ENCRYPT: "OpenBao: transit encrypt",
    OPENBAO_DATA_KEY: "OpenBao: transit data key",
    START_SECONDS: "start to ready with {:,} keys, s",
    WEB_MEMORY_MIB: "web process with {:,} keys, resident MiB",
}


class _Line:
    """One line that says what is going on; drawn when that changes, so that drawing costs the load nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._begun, self._step = False, ""

    def begin(self, steps: int) -> None:
        """Take how many steps there will be."""
        self._progress.update(self._task, total=steps)

    def step(self, what: str) -> None:
        """Take what is done next."""
        self._progress.update(self._task, description=what, advance=1 if self._begun else 0)
        self._progress.refresh()
        self._begun, self._step = True, what

    def detail(self, what: str) -> None:
        """Take how far the step is."""
        self._progress.update(self._task, description=f"{self._step}: {what}")
        self._progress.refresh()


class _Lines:
    """A line for each step, where lines cannot be drawn anew: in a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin = time.monotonic()
        self._steps = self._taken = 0

    def begin(self, steps: int) -> None:
        """Take how many steps there will be."""
        self._steps = steps

    def step(self, what: str) -> None:
        """Take what is done next."""
        self._taken += 1
        seconds = time.monotonic() - self._begin
        self._console.print(f"{seconds:4.0f} s  {self._taken}/{self._steps}  {what}", highlight=False)

    def detail(self, what: str) -> None:
        """Leave it: a log needs no more than the steps."""


@contextmanager
def watching() -> Iterator[Watcher]:
    """Show how far a run is, for the block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        yield _Line(progress)


def show(results: Results, machine: Mapping[str, str]) -> None:
    """Print the tables, the machine below them, and a warning if the machine was not steady."""
    console = Console(width=_WIDTH)
    console.print(_table(results))
    console.print(_ratios(results))
    console.print("machine: " + "; ".join(f"{name}: {fact}" for name, fact in machine.items()), highlight=False)
    console.print(f"settings: {SETTINGS}", highlight=False)
    for doubt in doubts(results):
        console.print(f"doubtful: {doubt}; run it again on a quiet machine", highlight=False)


def doubts(results: Results) -> Iterator[str]:
    """Return why the ratios of a run may be worth little: the machine was not ours, or not the same all the time."""
    for name in (TOKEN_UNWRAP, TOKEN_GCM):  # making pairs takes too many different times to tell
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
        caption="client, web, hosts, others: cores that they kept busy; of OpenBao, web is its one process",
    )
    table.add_column("operation", no_wrap=True)
    for heading in ("at once", "/ token", "/ OpenBao", "per s", "p50 ms", "p99 ms", *_PARTS):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in results.measurements:
        table.add_row(TITLES[each.name].format(each.keys), str(each.concurrency), *_figures(results, each))
    return table


def _figures(results: Results, point: Measurement) -> list[str]:
    latency = point.latency
    return [
        _ratio(ratios.to_token(results, point)),
        _ratio(ratios.to_peer(results, point)),
        f"{point.rate:.0f}" if point.rate >= _SMALL_RATE else f"{point.rate:.1f}",
        *(("", "") if latency is None else (f"{latency.p50:.1f}", f"{latency.p99:.1f}")),
        *(f"{point.cpu[part]:.2f}" if part in point.cpu else "" for part in _PARTS),
    ]


def _ratios(results: Results) -> Table:
    """Return the figures that have targets: each ratio at its highest concurrency, and what is no rate."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("ratio", no_wrap=True)
    table.add_column("", justify="right")
    found = ratios.ratios(results)
    for name in ratios.NAMES:
        table.add_row(name, _ratio(found[name]) or "not measured")
    for figure in results.figures:
        table.add_row(TITLES[figure.name].format(figure.keys), f"{figure.value:.1f}")
    return table


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:#.3g}"
