"""When a run is called doubtful, and what CPU time is."""

from __future__ import annotations

import os
import re

import pytest

from scripts.benchmark.measurements import IMPORT, TOKEN_GCM, TOKEN_UNWRAP, Measurement, Results
from scripts.benchmark.report import doubts, show
from scripts.benchmark.service import OTHERS, busy_seconds


def run(*, last_unwraps: int = 1000, others: float = 0.0) -> Results:
    return Results(
        (
            Measurement(TOKEN_UNWRAP, 2, 1000, 1.0),
            Measurement(TOKEN_GCM, 2, 1000, 1.0),
            Measurement(IMPORT, 32, 250, 1.0, cpu={OTHERS: others}),
            Measurement(TOKEN_UNWRAP, 2, last_unwraps, 1.0),
            Measurement(TOKEN_GCM, 2, 1000, 1.0),
        )
    )


def test_a_steady_machine_leaves_no_doubt() -> None:
    assert not list(doubts(run(last_unwraps=1100, others=0.2)))


@pytest.mark.parametrize(
    ("results", "why"), [(run(last_unwraps=500), "C_UnwrapKey.*100%"), (run(others=1.25), "up to 1.2 cores")]
)
def test_a_machine_that_did_something_else_is_doubtful(results: Results, why: str) -> None:
    (doubt,) = doubts(results)
    assert re.search(why, doubt)


def test_the_table_shows_ratio_machine_and_doubt(capsys: pytest.CaptureFixture[str]) -> None:
    show(run(others=0.75), {"cpu": "abacus"})
    said = capsys.readouterr().out
    assert "0.250" in said
    assert "cpu: abacus" in said
    assert "requests_per_second_per_api = 0" in said, "it measures without limits, and says so"
    assert "doubtful: something else kept up to 0.8 cores busy" in said


def test_neither_idle_time_nor_waiting_for_the_disk_is_busy() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    stat = f"cpu  {ticks} {ticks} {ticks} 999999 888888 {ticks} {ticks} {ticks} 777 666\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert busy_seconds(stat) == 6.0
