"""Numbers become text that Prometheus reads, as its own parsers say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as of_openmetrics
from prometheus_client.parser import text_string_to_metric_families as of_text

from hsmkms.core.metering import TransactionKind
from hsmkms.metrics.exposition import Build, Exposition
from hsmkms.metrics.tally import BOUNDS, Tally
from tests.fakes.clock import SteppedTimer
from tests.metrics.examples import AT_FIRST, LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.metrics.levels import Levels

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
LABELS = {"action", "dialect", "duty", "edition", "kind", "lane", "le", "outcome", "reason", "state", "verb"}
"""None of them can hold what a client chose."""


def busy() -> Tally:
    tally = Tally()
    for seconds in (0.0004, 0.003, 40.0):
        tally.request("tencent", "Encrypt", None, seconds)
    tally.request("huawei", "create-key", "AliasTaken", 0.02)
    tally.token_call("Encrypt", None, 0.0007)
    tally.transaction(TransactionKind.WRITE, "StoreUnavailable", 10.0)
    tally.turned_away("SignatureMismatch")
    tally.host_attached()
    tally.host_lost()
    return tally


def exposition(
    tally: Tally | None = None, levels: Levels = LEVELS, timer: SteppedTimer | None = None
) -> tuple[Exposition, list[Levels]]:
    """Return what shows `tally`, and the levels that it finds: the last one of the list."""
    found = [levels]
    return Exposition(Build("1.2", "fips"), tally or busy(), lambda: found[-1], timer or SteppedTimer()), found


def samples(text: bytes, *, openmetrics: bool = False) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    parse = of_openmetrics if openmetrics else of_text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def value(text: bytes, name: str, **labels: str) -> float | None:
    return samples(text).get((f"hsmkms_{name}", frozenset(labels.items())))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4", OPENMETRICS),
        ("text/plain;q=0.5, Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", TEXT),
        ("application/openmetrics-text; version=nonsense", TEXT),
        ("application/openmetrics-text; version=2.0.0\u00fc", TEXT),
        (";;,=,;version=,", TEXT),
    ],
)
def test_the_format_is_the_one_that_is_accepted(accept: str, content_type: str) -> None:
    text, kind = exposition()[0].text(accept)
    assert kind.startswith(content_type)
    assert samples(text, openmetrics=content_type == OPENMETRICS)


def test_both_formats_say_the_same() -> None:
    shown, _ = exposition()
    plain, _ = shown.text("")
    other, _ = shown.text(OPENMETRICS)
    ours = [{at: each for at, each in found.items() if at[0].startswith("hsmkms_")} for found in (
        samples(plain), samples(other, openmetrics=True)
    )]  # fmt: skip
    assert ours[0] == ours[1]


def test_what_was_told_is_shown() -> None:
    text, _ = exposition()[0].text("")
    encrypt = {"dialect": "tencent", "action": "Encrypt"}
    assert value(text, "requests_total", **encrypt, outcome="ok") == 3
    assert value(text, "requests_total", **encrypt, outcome="failed") == 0
    assert value(text, "requests_total", dialect="huawei", action="create-key", outcome="refused") == 1
    assert value(text, "token_calls_total", verb="Encrypt", outcome="ok") == 1
    assert value(text, "store_transactions_total", kind="write", outcome="unavailable") == 1
    assert value(text, "requests_turned_away_total", reason="authentication") == 1
    assert value(text, "requests_turned_away_total", reason="rate") == 0
    assert value(text, "hosts_attached_total") == value(text, "hosts_lost_total") == 1
    assert value(text, "build_info", version="1.2", edition="fips") == 1


def test_a_histogram_is_cumulative_and_of_all_results() -> None:
    tally = busy()
    tally.request("tencent", "Encrypt", "KeyNotFound", 0.3)
    text, _ = exposition(tally)[0].text("")
    labels = {"dialect": "tencent", "action": "Encrypt"}
    buckets = [value(text, "request_seconds_bucket", **labels, le=each) for each in (*map(str, BOUNDS), "+Inf")]
    assert buckets == [1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4]
    assert value(text, "request_seconds_count", **labels) == 4
    assert value(text, "request_seconds_sum", **labels) == pytest.approx(40.3034)


def test_what_is_there_at_the_moment_is_shown() -> None:
    text, _ = exposition()[0].text("")
    assert value(text, "commands_in_flight", lane="token") == 18
    assert value(text, "commands_waiting", lane="token") == 5
    assert value(text, "hosts", duty="operations") == 2
    assert value(text, "wrapping_pairs_ready") == 3
    assert value(text, "wrapping_pairs_wanted") == 4
    assert value(text, "audit_events_waiting") == 12
    assert value(text, "audit_last_sealed_sequence") == 1234
    assert value(text, "audit_last_seal_age_seconds") == 0.5
    assert value(text, "audit_all_sealed_age_seconds") == 0.25
    assert value(text, "audit_seal_broken") == 0
    assert value(text, "keys", state="Enabled") == 7
    assert value(text, "keys", state="Archived") == 0
    assert value(text, "tickets", state="issued") == 3
    assert value(text, "materials_expiring", within="7d") == 4
    assert value(text, "key_deletions_due", within="1d") == 2
    assert value(text, "store_counts_age_seconds") == 9.5


def test_a_broken_trail_is_one() -> None:
    levels = replace(LEVELS, seals=replace(LEVELS.seals, broken=True))
    assert value(exposition(levels=levels)[0].text("")[0], "audit_seal_broken") == 1


def test_what_is_not_known_yet_is_not_shown_as_none() -> None:
    text, _ = exposition(Tally(), AT_FIRST)[0].text("")
    known = {name for name, _ in samples(text)}
    unknown = {"keys", "tickets", "materials_expiring", "key_deletions_due", "store_counts_age_seconds"}
    unknown |= {"audit_last_sealed_sequence", "audit_last_seal_age_seconds", "audit_all_sealed_age_seconds"}
    assert not known & {f"hsmkms_{each}" for each in unknown}
    assert value(text, "audit_seal_broken") == 0


def test_names_and_labels_are_as_prometheus_would_have_them() -> None:
    text, _ = exposition()[0].text("")
    for family in of_text(text.decode()):
        assert re.fullmatch(r"(hsmkms|process)(_[a-z]+)+", family.name)
        assert family.documentation
        assert not re.search(r"milli|micro|minutes|_ms", family.name), "base units only"
        assert all(re.fullmatch(r".+_total", each.name) for each in family.samples if family.type == "counter")
        assert {label for each in family.samples for label in each.labels} <= LABELS | {"version", "within"}


def test_whoever_asks_again_at_once_is_given_the_same_text() -> None:
    timer = SteppedTimer()
    shown, found = exposition(timer=timer)
    shown.text("")
    found.append(replace(LEVELS, pairs_ready=1))
    timer.advance(0.9)
    assert value(shown.text("")[0], "wrapping_pairs_ready") == 3
    other, _ = shown.text(OPENMETRICS)
    assert b"wrapping_pairs_ready 1.0" in other, "each format has its own"
    timer.advance(0.2)
    assert value(shown.text("")[0], "wrapping_pairs_ready") == 1
