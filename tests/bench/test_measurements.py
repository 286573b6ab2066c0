"""Rates, ratios and percentiles."""

from __future__ import annotations

import json

import pytest

from scripts.benchmark.measurements import (
    ENCRYPT,
    IMPORT,
    SYNC,
    TOKEN_GCM,
    TOKEN_UNWRAP,
    Latency,
    Measurement,
    Results,
    percentile,
)


def results() -> Results:
    return Results(
        (
            Measurement(TOKEN_UNWRAP, 2, 2000, 2.0),
            Measurement(TOKEN_GCM, 2, 20000, 2.0),
            Measurement(SYNC, 1, 3000, 1.0, Latency(0.2, 0.9)),
            Measurement(IMPORT, 32, 1500, 2.0, Latency(40.0, 90.0), {"web": 0.9}),
            Measurement(IMPORT, 1, 100, 1.0, Latency(10.0, 20.0)),
            Measurement(ENCRYPT, 8, 500, 1.0, Latency(16.0, 30.0)),
            Measurement(TOKEN_UNWRAP, 2, 2000, 1.0),
            Measurement(TOKEN_GCM, 2, 10000, 1.0),
        )
    )


def test_a_ratio_is_to_the_mean_of_the_tokens_own_rates() -> None:
    assert results().reference(TOKEN_UNWRAP) == 1500
    ratios = results().ratios()
    assert ratios["import_vs_unwrap_c1"] == pytest.approx(100 / 1500)
    assert ratios["import_vs_unwrap_c32"] == pytest.approx(750 / 1500)
    assert ratios["encrypt_vs_gcm_c8"] == pytest.approx(500 / 10000)


def test_the_short_name_is_the_ratio_of_the_highest_concurrency() -> None:
    ratios = results().ratios()
    assert ratios["import_vs_unwrap"] == ratios["import_vs_unwrap_c32"]
    assert ratios["encrypt_vs_gcm"] == ratios["encrypt_vs_gcm_c8"]
    assert "encrypt_spread_vs_gcm" not in ratios


def test_token_and_disk_have_no_ratio() -> None:
    made = results()
    assert [made.ratio(each) is None for each in made.measurements] == [
        each.name in {TOKEN_UNWRAP, TOKEN_GCM, SYNC} for each in made.measurements
    ]


def test_rates_tell_the_concurrency_of_the_service_only() -> None:
    assert results().rates() == {
        "token_unwrap": 1500,
        "token_gcm": 10000,
        "sync": 3000,
        "import_c32": 750,
        "import_c1": 100,
        "encrypt_c8": 500,
    }


def test_drift_is_how_much_the_token_changed() -> None:
    assert results().drift(TOKEN_UNWRAP) == pytest.approx(1.0)
    assert results().drift(TOKEN_GCM) == 0


def test_the_document_is_json() -> None:
    document = json.loads(json.dumps(results().document({"cpu": "one"})))
    assert set(document) == {"machine", "ratios", "rates", "measurements"}
    assert document["measurements"][3] == {
        "name": "import",
        "concurrency": 32,
        "count": 1500,
        "seconds": 2.0,
        "rate": 750.0,
        "unit": "1/s",
        "latency": {"p50": 40.0, "p99": 90.0},
        "cpu": {"web": 0.9},
    }


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([7.0], 50, 7.0), ([7.0], 99, 7.0), ([1.0, 2.0], 50, 1.0), ([1.0, 2.0, 3.0], 50, 2.0), ([1.0, 2.0], 99, 2.0)],
)
def test_percentiles_are_values_that_were_measured(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_latency_is_in_milliseconds() -> None:
    assert Latency.of(each / 1000 for each in range(100, 0, -1)) == Latency(50.0, 99.0)
