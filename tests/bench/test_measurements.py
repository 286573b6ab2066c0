"""Rates, ratios and percentiles, and the document that holds them."""

from __future__ import annotations

import json

import pytest

from scripts.benchmark import ratios
from scripts.benchmark.measurements import (
    CEREMONY,
    ENCRYPT,
    ENCRYPT_AMONG,
    ENCRYPT_ANY,
    IMPORT,
    IMPORT_AMONG,
    OPENBAO_ENCRYPT,
    OPENBAO_IMPORT,
    START_SECONDS,
    SYNC,
    TOKEN_GCM,
    TOKEN_UNWRAP,
    Figure,
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
    found = ratios.ratios(results())
    assert found["import_vs_unwrap_c1"] == pytest.approx(100 / 1500)
    assert found["import_vs_unwrap_c32"] == pytest.approx(750 / 1500)
    assert found["encrypt_vs_gcm_c8"] == pytest.approx(500 / 10000)


def test_the_short_name_is_the_ratio_of_the_highest_concurrency() -> None:
    found = ratios.ratios(results())
    assert found["import_vs_unwrap"] == found["import_vs_unwrap_c32"]
    assert found["encrypt_vs_gcm"] == found["encrypt_vs_gcm_c8"]
    assert found["encrypt_spread_vs_gcm"] is None


def with_peer() -> Results:
    measured = (
        Measurement(CEREMONY, 8, 900, 1.0),
        Measurement(OPENBAO_IMPORT, 1, 50, 1.0),
        Measurement(OPENBAO_IMPORT, 8, 300, 1.0),
        Measurement(OPENBAO_IMPORT, 32, 250, 1.0),
        Measurement(OPENBAO_ENCRYPT, 8, 1000, 1.0),
    )
    return Results((*results().measurements, *measured))


def test_the_peer_is_compared_at_the_same_concurrency() -> None:
    found = ratios.ratios(with_peer())
    assert (found["import_vs_openbao_c1"], found["import_vs_openbao_c32"]) == (2.0, 3.0)
    assert found["import_vs_openbao"] == 3.0
    assert found["ceremony_vs_openbao"] == 3.0
    assert found["encrypt_vs_openbao"] == 0.5
    assert "import_vs_openbao_c8" not in found, "ours was not measured with 8"


def among(name: str, keys: int, p50: float) -> Measurement:
    return Measurement(name, 8, 10, 1.0, Latency(p50, 2 * p50), keys=keys)


def test_growth_is_from_the_fewest_keys_to_the_most() -> None:
    found = ratios.ratios(
        Results(
            (
                among(IMPORT_AMONG, 1000, 7.0),
                among(IMPORT_AMONG, 10, 8.0),
                among(IMPORT_AMONG, 100_000, 10.0),
                among(ENCRYPT_AMONG, 10, 4.0),
                among(ENCRYPT_AMONG, 100_000, 4.0),
                among(ENCRYPT_ANY, 1000, 5.0),
                among(ENCRYPT_ANY, 100_000, 6.0),
            )
        )
    )
    assert (found["p50_growth_import"], found["p50_growth_encrypt"]) == (1.25, 1.0)
    assert found["p50_growth_encrypt_any"] == 1.5, "any key of many, to the same keys of few"


def test_what_was_not_measured_is_named_all_the_same() -> None:
    nothing = ratios.ratios(Results((among(IMPORT_AMONG, 10, 8.0),)))
    named = "import_vs_unwrap ceremony_vs_unwrap encrypt_vs_gcm p50_growth_import p50_growth_encrypt"
    assert set(nothing) >= {*named.split(), "import_vs_openbao", "ceremony_vs_openbao", "encrypt_vs_openbao"}
    assert set(nothing) == set(ratios.NAMES)
    assert set(nothing.values()) == {None}


def test_token_and_disk_have_no_ratio() -> None:
    made = results()
    assert [ratios.to_token(made, each) is None for each in made.measurements] == [
        each.name in {TOKEN_UNWRAP, TOKEN_GCM, SYNC} for each in made.measurements
    ]


def test_rates_tell_the_concurrency_of_the_service_only() -> None:
    some = (*results().measurements, among(IMPORT_AMONG, 1000, 7.0))
    assert Results(some).rates() == {
        "token_unwrap": 1500,
        "token_gcm": 10000,
        "sync": 3000,
        "import_c32": 750,
        "import_c1": 100,
        "encrypt_c8": 500,
        "import_among_1000_keys_c8": 10,
    }


def test_drift_is_how_much_the_token_changed() -> None:
    assert results().drift(TOKEN_UNWRAP) == pytest.approx(1.0)
    assert results().drift(TOKEN_GCM) == 0


def test_the_document_is_json() -> None:
    made = Results(results().measurements, (Figure(START_SECONDS, 1.5, 100_000),))
    document = json.loads(json.dumps(made.document({"cpu": "one"}, ratios.ratios(made))))
    assert set(document) == {"machine", "ratios", "rates", "figures", "measurements"}
    assert document["figures"] == {"start_seconds_100000_keys": 1.5}
    assert document["ratios"]["import_vs_openbao"] is None
    assert document["ratios"]["import_vs_unwrap"] == 0.5
    assert document["measurements"][3] == {
        "name": "import",
        "concurrency": 32,
        "count": 1500,
        "seconds": 2.0,
        "rate": 750.0,
        "unit": "1/s",
        "latency": {"p50": 40.0, "p99": 90.0},
        "cpu": {"web": 0.9},
        "keys": None,
    }


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([7.0], 50, 7.0), ([7.0], 99, 7.0), ([1.0, 2.0], 50, 1.0), ([1.0, 2.0, 3.0], 50, 2.0), ([1.0, 2.0], 99, 2.0)],
)
def test_percentiles_are_values_that_were_measured(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_latency_is_in_milliseconds() -> None:
    assert Latency.of(each / 1000 for each in range(100, 0, -1)) == Latency(50.0, 99.0)
