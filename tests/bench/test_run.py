"""The bench against a real token and a real service, as short as it can be."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from scripts.benchmark import points, ratios
from scripts.benchmark.__main__ import main
from scripts.benchmark.measurements import TOKEN_KEYGEN, TOKEN_UNWRAP
from scripts.benchmark.plan import Plan
from scripts.benchmark.report import TITLES
from scripts.benchmark.token_rates import BareToken, make_token

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-m", "scripts.benchmark")
SHORT: Final = Plan(
    seconds=0.4, concurrencies=(4,), spread_concurrencies=(4,), spread_keys=4, sizes=(10, 20), warm_requests=4
)


class Steps:
    """Who listens to a run."""

    def __init__(self) -> None:
        self.promised = 0
        self.taken: list[str] = []

    def begin(self, steps: int) -> None:
        self.promised = steps

    def step(self, what: str) -> None:
        self.taken.append(what)

    def detail(self, what: str) -> None:
        assert what


def processes_in(folder: Path) -> list[bytes]:
    """Return the command lines that name `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in command:
                found.append(command)
    return found


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.torture
@pytest.mark.timeout(600)
async def test_a_short_run_measures_everything_and_leaves_nothing_running(tmp_path: Path) -> None:
    steps = Steps()
    results = await points.run(SHORT, tmp_path, steps)
    outside = {each for each in TITLES if each.startswith("openbao")}
    measured = {each.name for each in results.measurements} | {each.name for each in results.figures}
    assert measured == set(TITLES) - outside
    assert all(each.count > 0 for each in results.measurements)
    assert all(each.value > 0 for each in results.figures)
    assert [name for name, ratio in ratios.ratios(results).items() if ratio is None] == [
        rule.name for rule in ratios.TO_PEER
    ]
    (imported,) = results.named("import")
    assert imported.cpu["web"] > 0
    assert imported.cpu["hosts"] > 0
    assert len(steps.taken) == steps.promised
    assert not processes_in(tmp_path)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_the_command_measures_the_peer_too(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    figures, chart = tmp_path / "figures.json", tmp_path / "chart.svg"
    subprocess.run(
        ["scripts/bench", "--quick", "--seconds", "0.3", "--peers", "--json", figures, "--plot", chart],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        check=True,
    )
    found = json.loads(figures.read_text())["ratios"]
    assert all(found[name] > 0 for name in ratios.NAMES)
    assert "OpenBao" in chart.read_text()
    assert not processes_in(tmp_path)
    assert not list((tmp_path / "tmp").iterdir())


async def test_what_the_tokens_rate_is_measured_with_does_what_it_is_called(tmp_path: Path) -> None:
    bare = BareToken(await asyncio.to_thread(make_token, tmp_path / "bare"), 1)
    for operation in (TOKEN_UNWRAP, TOKEN_KEYGEN):
        one = await bare.measure(operation, 0.0, 0.2)
        assert (one.name, one.concurrency) == (operation, 1)
        assert one.seconds >= 0.2
        assert one.count > 0


def test_an_interrupt_stops_and_removes_everything(tmp_path: Path) -> None:
    bench = subprocess.Popen(
        [*COMMAND, "--seconds", "0.2"], cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE
    )
    try:
        until(lambda: any(b"web_process" in each for each in processes_in(tmp_path)))
        bench.send_signal(signal.SIGINT)
        said, _ = bench.communicate(timeout=60)
    finally:
        bench.kill()
    assert bench.returncode == 130
    assert said == b""
    assert not processes_in(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [("--seconds", "0"), ("--seconds", "nan"), ("--plot", "chart.png"), ("--json", "no/such/folder/figures.json")],
)
def test_what_would_fail_at_the_end_is_refused_at_the_start(
    arguments: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 2
    assert f"argument {arguments[0]}" in capsys.readouterr().err
