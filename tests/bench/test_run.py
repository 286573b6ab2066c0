"""The whole bench against a real token and a real service, as short as it can be."""

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

from scripts.benchmark import points
from scripts.benchmark.measurements import ENCRYPT, ENCRYPT_SPREAD, IMPORT, SYNC, TOKEN_GCM, TOKEN_UNWRAP
from scripts.benchmark.token_rates import BareToken, make_token

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-m", "scripts.benchmark")
SHORT: Final = points.Plan(seconds=0.4, warm_up_seconds=0.1, concurrencies=(4,), spread_keys=4)


class Steps:
    """Who listens to a run."""

    def __init__(self) -> None:
        self.promised = 0
        self.taken: list[str] = []

    def begin(self, steps: int) -> None:
        self.promised = steps

    def step(self, what: str) -> None:
        self.taken.append(what)


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


async def test_a_short_run_measures_everything_and_leaves_nothing_running(tmp_path: Path) -> None:
    steps = Steps()
    results = await points.run(SHORT, tmp_path, steps)
    outside = [TOKEN_UNWRAP, TOKEN_GCM, SYNC]
    assert [each.name for each in results.measurements] == [*outside, IMPORT, ENCRYPT, ENCRYPT_SPREAD, *outside]
    assert all(each.count > 0 for each in results.measurements)
    assert set(results.ratios()) >= {"import_vs_unwrap", "encrypt_vs_gcm", "encrypt_spread_vs_gcm"}
    assert all(0 < each < 1 for each in results.ratios().values())
    (imported,) = results.named(IMPORT)
    assert imported.cpu["web"] > 0
    assert imported.cpu["hosts"] > 0
    assert len(steps.taken) == steps.promised
    json.dumps(results.document({}))
    assert not processes_in(tmp_path)


async def test_what_the_tokens_rate_is_measured_with_does_unwrap_and_encrypt(tmp_path: Path) -> None:
    bare = BareToken(await asyncio.to_thread(make_token, tmp_path / "bare"), 1)
    one = await bare.measure(TOKEN_UNWRAP, 0.0, 0.2)
    assert (one.name, one.concurrency) == (TOKEN_UNWRAP, 1)
    assert one.seconds >= 0.2


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


def test_a_time_that_is_none_is_refused() -> None:
    for seconds in ("0", "nan"):
        done = subprocess.run([*COMMAND, "--seconds", seconds], cwd=ROOT, capture_output=True, check=False, timeout=60)
        assert done.returncode == 2
