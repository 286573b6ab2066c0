"""From numbers to the text formats of Prometheus and OpenMetrics.

Sources: prometheus.io/docs/practices/naming and /instrumenting/exposition_formats; OpenMetrics 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from hsmkms.core.keys import KeyState
from hsmkms.core.tickets import TicketState
from hsmkms.metrics.tally import BOUNDS

StateT = TypeVar("StateT", bound=str)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from hsmkms.core.metering import SealLevel
    from hsmkms.core.ports import Timer
    from hsmkms.metrics.levels import CountsTaken, Levels
    from hsmkms.metrics.tally import Latency, Tally, Timings

_FRESH_SECONDS: Final = 1.0
"""So long everybody is given the same text: to write it takes some milliseconds, in which nothing else happens."""
_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
_WITHIN: Final = {0: "0s", 3600: "1h", 86_400: "1d", 7 * 86_400: "7d", 30 * 86_400: "30d"}
"""How the seconds of `core.metering.FORECASTS` are written."""


@dataclass(frozen=True, slots=True)
class Build:
    """Which program this is, and what it imports."""

    version: str
    edition: str


class Exposition:
    """What a service shows of itself."""

    def __init__(self, build: Build, tally: Tally, levels: Callable[[], Levels], timer: Timer) -> None:
        """Show what `tally` was told, and what `levels` finds when it is asked."""
        self._timer = timer
        self._written: dict[str, tuple[float, bytes, str]] = {}
        """By format: when, what, and of which content type."""
        self._registry = CollectorRegistry()
        self._registry.register(_Service(build, tally, levels))
        ProcessCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return all series in the format that an Accept header asks for, and its content type."""
        chosen, now = _OPENMETRICS if _takes_openmetrics(accept) else "", self._timer.seconds()
        if chosen in self._written and now - self._written[chosen][0] < _FRESH_SECONDS:
            return self._written[chosen][1:]
        encode, content_type = choose_encoder(chosen)
        body = encode(self._registry)
        self._written[chosen] = now, body, content_type
        return body, content_type


def _takes_openmetrics(accept: str) -> bool:
    """Tell whether OpenMetrics 1.0 is among what is accepted; who accepts it prefers it to the older text format.

    Of a client's own header `choose_encoder` fails on a version that is no number, and repeats others to the client.
    """
    for each in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        versions = [part.removeprefix("version=") for part in parameters if part.startswith("version=")]
        if kind == "application/openmetrics-text" and versions in ([], ["1.0.0"]):
            return True
    return False


class _Service(Collector):
    """All series but those of the process."""

    def __init__(self, build: Build, tally: Tally, levels: Callable[[], Levels]) -> None:
        self._build = build
        self._tally = tally
        self._levels = levels

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry need not look for doubles, and nothing is there yet to be looked at."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family, always in the same order."""
        build = _gauge("build_info", "Always 1; which program this is.", ("version", "edition"))
        build.add_metric((self._build.version, self._build.edition), 1)
        yield build
        yield from self._told()
        levels = self._levels()
        yield from _lanes_and_hosts(levels)
        yield from _trail(levels.events_waiting, levels.seals)
        yield from _held(levels.counted)

    def _told(self) -> Iterator[Metric]:
        tally = self._tally
        yield from _timed(
            tally.requests,
            ("request", "requests"),
            ("dialect", "action"),
            ("Requests answered.", "From a request's head to its answer."),
        )
        turned_away = _counter("requests_turned_away", "Requests refused before they became a command.", ("reason",))
        for reason, number in tally.turned_away_by.items():
            turned_away.add_metric((reason,), number)
        yield turned_away
        yield from _timed(
            tally.token_calls,
            ("token_call", "token_calls"),
            ("verb",),
            ("Calls that hosts were sent.", "From sending a call to its answer, without the waiting for a host."),
        )
        yield from _timed(
            tally.transactions,
            ("store_transaction", "store_transactions"),
            ("kind",),
            ("Transactions of the database.", "A transaction with the waiting for its turn and its commit."),
        )
        for name, said, number in (
            ("hosts_attached", "Hosts that took up their work.", tally.hosts_attached),
            ("hosts_lost", "Hosts that died, hung or were given up; each is replaced.", tally.hosts_lost),
        ):
            family = _counter(name, said)
            family.add_metric((), number)
            yield family


def _timed(
    timings: Timings, names: tuple[str, str], labels: tuple[str, ...], said: tuple[str, str]
) -> Iterator[Metric]:
    """Yield how often, by result, and how long, of all results together: half as many series as of each apart."""
    one, many = names
    counter = _counter(many, said[0], (*labels, "outcome"))
    histogram = HistogramMetricFamily(f"hsmkms_{one}_seconds", said[1], labels=labels)
    for values, by_result in timings.found.items():
        for result, latency in by_result.items():
            counter.add_metric((*values, result), latency.count)
        histogram.add_metric(values, *_buckets(by_result.values()))
    yield counter
    yield histogram


def _buckets(latencies: Iterable[Latency]) -> tuple[list[tuple[str, float]], float]:
    """Return the cumulative buckets of all together, by their bounds, and the sum."""
    latencies = tuple(latencies)
    reached, buckets = 0, []
    for place, bound in enumerate((*map(str, BOUNDS), "+Inf")):
        reached += sum(each.buckets[place] for each in latencies)
        buckets.append((bound, float(reached)))
    return buckets, sum(each.seconds for each in latencies)


def _lanes_and_hosts(levels: Levels) -> Iterator[Metric]:
    yield _by("commands_in_flight", "Commands that hold a place.", "lane", _each(levels, waiting=False))
    yield _by("commands_waiting", "Commands that wait for a place.", "lane", _each(levels, waiting=True))
    yield _by("hosts", "Hosts in use.", "duty", levels.hosts)
    yield _single("wrapping_pairs_ready", "Wrapping pairs that no ticket has taken yet.", levels.pairs_ready)
    yield _single(
        "wrapping_pairs_wanted", "Wrapping pairs that should be ready, or are waited for.", levels.pairs_wanted
    )


def _each(levels: Levels, *, waiting: bool) -> Mapping[str, int]:
    return {lane: line.waiting if waiting else line.in_flight for lane, line in levels.commands.items()}


def _trail(events_waiting: int, seals: SealLevel) -> Iterator[Metric]:
    yield _single("audit_events_waiting", "Events of the audit trail that are not on disk yet.", events_waiting)
    yield _single("audit_last_sealed_sequence", "Sequence of the last event that the token sealed.", seals.sequence)
    yield _single("audit_last_seal_age_seconds", "Since this process last sealed.", seals.last_seal_seconds)
    yield _single(
        "audit_all_sealed_age_seconds", "Since the last look that found all events sealed.", seals.all_sealed_seconds
    )
    yield _single("audit_seal_broken", "1: the trail does not hold, and nothing is sealed any more.", seals.broken)


def _held(taken: CountsTaken | None) -> Iterator[Metric]:
    """Yield what the database holds; no series before it was counted."""
    counts = taken and taken.counts
    keys = {state: counts.keys.get(state, 0) for state in KeyState} if counts else {}
    tickets = {state: counts.tickets.get(state, 0) for state in TicketState} if counts else {}
    yield _by("keys", "Keys, by the state that is shown.", "state", keys)
    yield _by("tickets", "Import tokens, by state.", "state", tickets)
    yield _by(
        "materials_expiring",
        "Keys whose material is over within so long; each count holds those before it.",
        "within",
        _forecast(counts.materials_expiring if counts else {}),
    )
    yield _by(
        "key_deletions_due",
        "Keys that are deleted within so long; each count holds those before it.",
        "within",
        _forecast(counts.deletions_due if counts else {}),
    )
    yield _single("store_counts_age_seconds", "Since the database was counted.", taken.seconds if taken else None)


def _forecast(numbers: Mapping[int, int]) -> Mapping[str, int]:
    return {_WITHIN[seconds]: number for seconds, number in numbers.items()}


def _counter(name: str, said: str, labels: tuple[str, ...] = ()) -> CounterMetricFamily:
    return CounterMetricFamily(f"hsmkms_{name}", said, labels=labels)


def _gauge(name: str, said: str, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hsmkms_{name}", said, labels=labels)


def _by(name: str, said: str, label: str, numbers: Mapping[StateT, int]) -> GaugeMetricFamily:
    family = _gauge(name, said, (label,))
    for value, number in numbers.items():
        family.add_metric((value,), number)
    return family


def _single(name: str, said: str, number: float | None) -> GaugeMetricFamily:
    family = _gauge(name, said)
    if number is not None:
        family.add_metric((), number)
    return family
