"""What was measured, and every ratio that is derived from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TOKEN_UNWRAP: Final = "token_unwrap"  # noqa: S105 - a measurement's name
TOKEN_GCM: Final = "token_gcm"  # noqa: S105 - as above
IMPORT: Final = "import"
ENCRYPT: Final = "encrypt"
ENCRYPT_SPREAD: Final = "encrypt_spread"
SYNC: Final = "sync"


@dataclass(frozen=True, slots=True)
class Latency:
    """How long single requests took, in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency:
        """Return the latency of requests that took so many `seconds` each, of which there is one at least."""
        ordered = sorted(seconds)
        return cls(1000 * percentile(ordered, 50), 1000 * percentile(ordered, 99))


@dataclass(frozen=True, slots=True)
class Measurement:
    """One point: so many operations, one after the other on each of `concurrency` connections or processes."""

    name: str
    concurrency: int
    count: int
    seconds: float
    latency: Latency | None = None
    cpu: Mapping[str, float] = field(default_factory=dict)
    """Cores that each part kept busy: 1.0 is one core, all the time."""
    unit: str = "1/s"

    @property
    def rate(self) -> float:
        """Return operations a second."""
        return self.count / self.seconds


@dataclass(frozen=True, slots=True)
class RatioRule:
    """A ratio by its name: the rate of `part` to that of `whole`."""

    name: str
    part: str
    whole: str


RATIO_RULES: Final = (
    RatioRule("import_vs_unwrap", IMPORT, TOKEN_UNWRAP),
    RatioRule("encrypt_vs_gcm", ENCRYPT, TOKEN_GCM),
    RatioRule("encrypt_spread_vs_gcm", ENCRYPT_SPREAD, TOKEN_GCM),
)


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements of one run."""

    measurements: Sequence[Measurement]

    def named(self, name: str) -> list[Measurement]:
        """Return the measurements of one name, in the order in which they were made."""
        return [each for each in self.measurements if each.name == name]

    def reference(self, name: str) -> float:
        """Return the mean rate of the measurements of one name, of which there is one at least."""
        rates = [each.rate for each in self.named(name)]
        return sum(rates) / len(rates)

    def drift(self, name: str) -> float:
        """Return by how much the fastest measurement of one name exceeds the slowest: 0.1 is a tenth."""
        rates = [each.rate for each in self.named(name)]
        return max(rates) / min(rates) - 1

    def ratio(self, point: Measurement) -> float | None:
        """Return the ratio that `point` has to the token; None for the token itself."""
        for rule in RATIO_RULES:
            if rule.part == point.name and self.named(rule.whole):
                return point.rate / self.reference(rule.whole)
        return None

    def ratios(self) -> dict[str, float]:
        """Return each ratio at each concurrency, `NAME_cN`, and that of the highest concurrency as `NAME`."""
        found: dict[str, float] = {}
        for rule in RATIO_RULES:
            for point in sorted(self.named(rule.part), key=lambda each: each.concurrency):
                ratio = self.ratio(point)
                if ratio is not None:
                    found[f"{rule.name}_c{point.concurrency}"] = found[rule.name] = ratio
        return found

    def rates(self) -> dict[str, float]:
        """Return the service's rates as `NAME_cN`, the others, each a mean, as `NAME`."""
        parts = {rule.part for rule in RATIO_RULES}
        return {
            f"{each.name}_c{each.concurrency}" if each.name in parts else each.name: (
                each.rate if each.name in parts else self.reference(each.name)
            )
            for each in self.measurements
        }

    def document(self, machine: Mapping[str, str]) -> dict[str, Any]:
        """Return all of it as JSON has it; `machine` is where it was measured."""
        return {
            "machine": dict(machine),
            "ratios": self.ratios(),
            "rates": self.rates(),
            "measurements": [{**asdict(each), "rate": each.rate} for each in self.measurements],
        }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the `ordered` ones do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
