"""What was measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TOKEN_UNWRAP: Final = "token_unwrap"  # noqa: S105 - a measurement's name
TOKEN_GCM: Final = "token_gcm"  # noqa: S105 - as above
TOKEN_KEYGEN: Final = "token_keygen"  # noqa: S105 - as above
SYNC: Final = "sync"
IMPORT: Final = "import"
CEREMONY: Final = "ceremony"
CEREMONY_PAIR_EACH: Final = "ceremony_pair_each"
ENCRYPT: Final = "encrypt"
ENCRYPT_SPREAD: Final = "encrypt_spread"
DATA_KEY: Final = "data_key"
PARAMETERS_WARM: Final = "parameters_warm"
PARAMETERS_DRY: Final = "parameters_dry"
IMPORT_AMONG: Final = "import_among"
ENCRYPT_AMONG: Final = "encrypt_among"
ENCRYPT_ANY: Final = "encrypt_any"
OPENBAO_IMPORT: Final = "openbao_import"
OPENBAO_ENCRYPT: Final = "openbao_encrypt"
OPENBAO_DATA_KEY: Final = "openbao_data_key"
START_SECONDS: Final = "start_seconds"
WEB_MEMORY_MIB: Final = "web_memory_mib"

BY_THEMSELVES: Final = frozenset({TOKEN_UNWRAP, TOKEN_GCM, TOKEN_KEYGEN, SYNC})
"""Token and disk: measured at the start and at the end, and shown as the mean of both."""


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
    keys: int | None = None
    """How many keys the database held, where that is what differs."""

    @property
    def rate(self) -> float:
        """Return operations a second."""
        return self.count / self.seconds

    @property
    def label(self) -> str:
        """Return what tells its rate from all others of a run."""
        if self.name in BY_THEMSELVES:
            return self.name
        return f"{_among(self.name, self.keys)}_c{self.concurrency}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that is no rate; its name says the unit."""

    name: str
    value: float
    keys: int

    @property
    def label(self) -> str:
        """Return what tells it from all others of a run."""
        return _among(self.name, self.keys)


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured in one run."""

    measurements: Sequence[Measurement]
    figures: Sequence[Figure] = ()

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
        return max(rates) / min(rates) - 1 if rates else 0.0

    def rates(self) -> dict[str, float]:
        """Return every rate by its label."""
        return {
            each.label: self.reference(each.name) if each.name in BY_THEMSELVES else each.rate
            for each in self.measurements
        }

    def document(self, machine: Mapping[str, str], ratios: Mapping[str, float | None]) -> dict[str, Any]:
        """Return all of it as JSON has it; `machine` is where it was measured."""
        return {
            "machine": dict(machine),
            "ratios": dict(ratios),
            "rates": self.rates(),
            "figures": {each.label: each.value for each in self.figures},
            "measurements": [{**asdict(each), "rate": each.rate} for each in self.measurements],
        }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the `ordered` ones do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _among(name: str, keys: int | None) -> str:
    return name if keys is None else f"{name}_{keys}_keys"
