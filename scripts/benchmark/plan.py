"""What a run measures, and who is told how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECONDS: Final = 5.0
QUICK_SECONDS: Final = 1.5
CONCURRENCIES: Final = (1, 8, 32)
SPREAD_KEYS: Final = 64
"""Fewer than a host keeps at hand, so that they are unsealed once a minute and not with each use."""
SIZES: Final = (10, 1_000, 100_000)
QUICK_SIZES: Final = (10, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    seconds: float = SECONDS
    """For one point."""
    concurrencies: Sequence[int] = CONCURRENCIES
    spread_keys: int = SPREAD_KEYS
    """Over how many keys Encrypt is spread."""
    spread_concurrencies: Sequence[int] = CONCURRENCIES
    sizes: Sequence[int] = SIZES
    """How many keys the databases hold that are compared with each other, fewest first."""
    keygen_factor: float = 6.0
    """How much longer a point lasts that is bound by making wrapping pairs: there are five a second, or two."""
    warm_requests: int = 48
    """Import parameters that are asked for while pairs are ready."""
    openbao: Path | None = None
    """The program to measure beside; None: no peer."""

    @classmethod
    def quick(cls, seconds: float = QUICK_SECONDS, openbao: Path | None = None) -> Plan:
        """Return one that takes less than four minutes."""
        return cls(
            seconds=seconds,
            spread_concurrencies=CONCURRENCIES[-1:],
            sizes=QUICK_SIZES,
            keygen_factor=4.0,
            warm_requests=24,
            openbao=openbao,
        )

    @property
    def warm_up_seconds(self) -> float:
        """How long a point works before it counts."""
        return min(1.0, self.seconds / 4)

    @property
    def keygen_seconds(self) -> float:
        """For a point that is bound by making wrapping pairs."""
        return self.keygen_factor * self.seconds


class Watcher(Protocol):
    """Who is told how far a run is."""

    def begin(self, steps: int) -> None:
        """Take how many steps there will be."""

    def step(self, what: str) -> None:
        """Take what is done next."""

    def detail(self, what: str) -> None:
        """Take how far the step is."""
