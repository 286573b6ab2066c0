"""Unsealed objects kept at hand for records that are used again.

Laws:

- an object is found again only by the identity and its record together;
- an object is destroyed when it makes room, when it is forgotten, and when it was kept for as long as it may be;
- nothing is lost with any of them: the record opens again.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.records import RecordIdentity


class Destroyable(Protocol):
    """What stands for objects of the token."""

    def destroy(self) -> None:
        """Destroy the objects."""


_Name: TypeAlias = "tuple[RecordIdentity, bytes]"
KeptT = TypeVar("KeptT", bound=Destroyable)


@dataclass(frozen=True, slots=True)
class _Place(Generic[KeptT]):
    content: KeptT
    until: float


class Kept(Generic[KeptT]):
    """What was last used."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep at most `most`, each for at most `seconds`, which `clock` counts."""
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._earliest = math.inf
        """Nothing is overdue before."""
        self._places: OrderedDict[_Name, _Place[KeptT]] = OrderedDict()

    @property
    def contents(self) -> tuple[KeptT, ...]:
        """All that is at hand."""
        return tuple(place.content for place in self._places.values())

    def __len__(self) -> int:
        return len(self._places)

    def get(self, identity: RecordIdentity, record: bytes) -> KeptT | None:
        """Return what was made of exactly this record, if it is at hand."""
        self.drop_overdue()
        name = (identity, record)
        place = self._places.get(name)
        if place is None:
            return None
        self._places.move_to_end(name)
        return place.content

    def keep(self, identity: RecordIdentity, record: bytes, content: KeptT) -> None:
        """Take something in; what was unused for longest goes."""
        self.forget(identity, record)
        until = self._clock() + self._seconds
        self._places[(identity, record)] = _Place(content, until)
        self._earliest = min(self._earliest, until)
        while len(self._places) > self._most:
            self._drop(next(iter(self._places)))

    def forget(self, identity: RecordIdentity, record: bytes) -> None:
        """Destroy what was made of this record, if it is at hand."""
        name = (identity, record)
        if name in self._places:
            self._drop(name)

    @property
    def seconds_left(self) -> float:
        """Until something may be overdue; infinite while nothing is kept."""
        return max(0.0, self._earliest - self._clock())

    def drop_overdue(self) -> None:
        """Destroy what was kept for as long as it may be."""
        now = self._clock()
        if now < self._earliest:
            return
        for name in [name for name, place in self._places.items() if place.until <= now]:
            self._drop(name)
        self._earliest = min((place.until for place in self._places.values()), default=math.inf)

    def _drop(self, name: _Name) -> None:
        self._places.pop(name).content.destroy()
