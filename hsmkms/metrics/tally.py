"""What was told, as numbers: `core.metering.Meter`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from hsmkms.core.errors import ActionUnknown
from hsmkms.core.metering import Reason, Result, TransactionKind, reason_of, result_of

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Of the buckets, in seconds: from a cached answer to a network HSM that makes a pair."""
NO_DIALECT: Final = "none"
NO_ACTION: Final = "unknown"


class Latency:
    """How often something happened, and how long it took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        """Start with nothing."""
        self.buckets = [0] * (len(BOUNDS) + 1)
        """How often it took at most each of `BOUNDS` and more than the one before; the last one is without bound."""
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one that took so long."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        """How often it happened."""
        return sum(self.buckets)


class Timings:
    """Latencies of things of one sort, by what they were and how they ended."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._ways: dict[tuple[tuple[str, ...], str | None], Latency] = {}
        """From what is told to where it is counted, in one look-up."""
        self.found: dict[tuple[str, ...], dict[Result, Latency]] = {}
        """By labels; from the first time on with every result, so that a first failure shows as one more than none."""

    def observe(self, labels: tuple[str, ...], fault: str | None, seconds: float) -> None:
        """Count one."""
        latency = self._ways.get((labels, fault))
        if latency is None:
            latency = self._ways[labels, fault] = self.expect(labels)[result_of(fault)]
        latency.observe(seconds)

    def expect(self, labels: tuple[str, ...]) -> dict[Result, Latency]:
        """Show these labels from now on, even with nothing counted."""
        return self.found.setdefault(labels, {each: Latency() for each in Result})


class Tally:
    """All that was told since the process began."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.requests = Timings()
        self.token_calls = Timings()
        self.transactions = Timings()
        for kind in TransactionKind:
            self.transactions.expect((kind,))
        self.turned_away_by: Counter[Reason] = Counter(dict.fromkeys(Reason, 0))
        self.hosts_attached = 0
        self.hosts_lost = 0

    def request(self, dialect: str | None, action: str | None, fault: str | None, seconds: float) -> None:
        """Count a request that was answered."""
        if dialect is None:
            dialect, fault = NO_DIALECT, ActionUnknown.__name__
        self.requests.observe((dialect, action or NO_ACTION), fault, seconds)

    def turned_away(self, fault: str) -> None:
        """Count a request that did not become a command."""
        self.turned_away_by[reason_of(fault)] += 1

    def token_call(self, verb: str, fault: str | None, seconds: float) -> None:
        """Count a call that a host was sent."""
        self.token_calls.observe((verb,), fault, seconds)

    def transaction(self, kind: TransactionKind, fault: str | None, seconds: float) -> None:
        """Count a transaction."""
        self.transactions.observe((kind,), fault, seconds)

    def host_attached(self) -> None:
        """Count a host that took up its work."""
        self.hosts_attached += 1

    def host_lost(self) -> None:
        """Count a host that was given up."""
        self.hosts_lost += 1
