"""Every ratio of a run: by what the token does by itself, by the peer, and by the same with few keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
    TOKEN_GCM,
    TOKEN_KEYGEN,
    TOKEN_UNWRAP,
)

if TYPE_CHECKING:
    from scripts.benchmark.measurements import Measurement, Results


@dataclass(frozen=True, slots=True)
class RateRule:
    """A ratio by its name: the rate of `part` to that of `whole`."""

    name: str
    part: str
    whole: str


@dataclass(frozen=True, slots=True)
class GrowthRule:
    """A ratio by its name: the p50 of `many` with the most keys to that of `few` with the fewest."""

    name: str
    many: str
    few: str


TO_TOKEN: Final = (
    RateRule("import_vs_unwrap", IMPORT, TOKEN_UNWRAP),
    RateRule("ceremony_vs_unwrap", CEREMONY, TOKEN_UNWRAP),
    RateRule("encrypt_vs_gcm", ENCRYPT, TOKEN_GCM),
    RateRule("encrypt_spread_vs_gcm", ENCRYPT_SPREAD, TOKEN_GCM),
    RateRule("parameters_dry_vs_keygen", PARAMETERS_DRY, TOKEN_KEYGEN),
    RateRule("ceremony_pair_each_vs_keygen", CEREMONY_PAIR_EACH, TOKEN_KEYGEN),
)
TO_PEER: Final = (
    RateRule("import_vs_openbao", IMPORT, OPENBAO_IMPORT),
    RateRule("ceremony_vs_openbao", CEREMONY, OPENBAO_IMPORT),
    RateRule("encrypt_vs_openbao", ENCRYPT, OPENBAO_ENCRYPT),
    RateRule("data_key_vs_openbao", DATA_KEY, OPENBAO_DATA_KEY),
)
GROWTH: Final = (
    GrowthRule("p50_growth_import", IMPORT_AMONG, IMPORT_AMONG),
    GrowthRule("p50_growth_encrypt", ENCRYPT_AMONG, ENCRYPT_AMONG),
    GrowthRule("p50_growth_encrypt_any", ENCRYPT_ANY, ENCRYPT_AMONG),
)
NAMES: Final = tuple(rule.name for rule in (*TO_TOKEN, *TO_PEER, *GROWTH))
"""All ratios; each is in every run's document."""


def to_token(results: Results, point: Measurement) -> float | None:
    """Return the rate of `point` by the token's mean rate; None where that is not to be compared."""
    for rule in TO_TOKEN:
        if rule.part == point.name and results.named(rule.whole):
            return point.rate / results.reference(rule.whole)
    return None


def to_peer(results: Results, point: Measurement) -> float | None:
    """Return the rate of `point` by the peer's at the same concurrency; None where there is none."""
    for rule in TO_PEER:
        if rule.part == point.name:
            for peer in results.named(rule.whole):
                if peer.concurrency == point.concurrency:
                    return point.rate / peer.rate
    return None


def ratios(results: Results) -> dict[str, float | None]:
    """Return each ratio at each concurrency, `NAME_cN`, and that of the highest concurrency as `NAME`.

    `NAME` is there always: None if what it is made of was not measured.
    """
    found: dict[str, float | None] = {}
    for rules, ratio_of in ((TO_TOKEN, to_token), (TO_PEER, to_peer)):
        for rule in rules:
            found[rule.name] = None
            for point in sorted(results.named(rule.part), key=lambda each: each.concurrency):
                ratio = ratio_of(results, point)
                if ratio is not None:
                    found[f"{rule.name}_c{point.concurrency}"] = found[rule.name] = ratio
    return found | {rule.name: _growth(results, rule) for rule in GROWTH}


def _growth(results: Results, rule: GrowthRule) -> float | None:
    many, few = p50s(results, rule.many), p50s(results, rule.few)
    if not many or not few or max(many) == min(few):
        return None
    return many[max(many)] / few[min(few)]


def p50s(results: Results, name: str) -> dict[int, float]:
    """Return the p50 of one kind of request by the number of keys, in milliseconds."""
    points = results.named(name)
    return {each.keys: each.latency.p50 for each in points if each.keys is not None and each.latency is not None}
