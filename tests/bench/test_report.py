"""When a run is called doubtful, and what CPU time is."""

from __future__ import annotations

import os
import re

import pytest

from scripts.benchmark import measurements
from scripts.benchmark.cpu import OTHERS, busy_seconds
from scripts.benchmark.measurements import (
    ENCRYPT_ANY,
    IMPORT,
    OPENBAO_IMPORT,
    TOKEN_GCM,
    TOKEN_UNWRAP,
    WEB_MEMORY_MIB,
    Figure,
    Latency,
    Measurement,
    Results,
)
from scripts.benchmark.report import TITLES, doubts, show


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


def test_the_table_names_peer_and_number_of_keys(capsys: pytest.CaptureFixture[str]) -> None:
    peer = Measurement(OPENBAO_IMPORT, 32, 100, 1.0)
    among = Measurement(ENCRYPT_ANY, 32, 10, 1.0, Latency(1.0, 2.0), keys=100_000)
    show(Results((*run().measurements, peer, among), (Figure(WEB_MEMORY_MIB, 120.4, 100_000),)), {})
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if "ImportKeyMaterial" in line)
    assert row.split()[:5] == ["ImportKeyMaterial", "32", "0.250", "2.50", "250"]
    assert any("any of 100,000 keys" in line for line in lines)
    assert any(line.split()[-1:] == ["120.4"] and "100,000 keys" in line for line in lines)
    assert any(line.split() == ["encrypt_vs_openbao", "not", "measured"] for line in lines)
    assert not any("…" in line for line in lines), "nothing is cut off"


def test_everything_that_is_measured_has_a_title() -> None:
    names = [value for name, value in vars(measurements).items() if name.isupper() and isinstance(value, str)]
    assert len(names) > len(measurements.BY_THEMSELVES)
    assert set(names) == set(TITLES)


def test_neither_idle_time_nor_waiting_for_the_disk_is_busy() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    stat = f"cpu  {ticks} {ticks} {ticks} 999999 888888 {ticks} {ticks} {ticks} 777 666\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert busy_seconds(stat) == 6.0
