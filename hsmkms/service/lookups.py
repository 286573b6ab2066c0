"""Look-ups of whoever is not known to this process yet.

Anybody can claim to be anybody, and each claim costs the database a question before a signature is verified. So few
such questions are asked at a time, and few wait; whoever was found before does not wait with them.

Laws:

- those who are not known wait in a line of the source they ask from, and the lines are served in turn: invented
  credentials keep those of another source waiting for one turn, also when this process has just begun and knows nobody;
- who is known is looked up at once: a flood of invented credentials keeps no known one from its work;
- those who ask for the same name at the same time get the same answer, but nobody waits in the line of another source.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from hsmkms.service.admission import Places
from hsmkms.service.sources import name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Hashable

MOST_AT_ONCE: Final = 2
"""A fraction of the database's connections."""
MOST_WAITING: Final = 64
"""From one source."""
MOST_KNOWN: Final = 10_000

NameT = TypeVar("NameT", bound="Hashable")
FoundT = TypeVar("FoundT")


class LookUps(Generic[NameT, FoundT]):
    """Who is known, and the lines of those who are not."""

    def __init__(self) -> None:
        """Know nobody."""
        self._known: dict[NameT, None] = {}
        self._places = Places(MOST_AT_ONCE, most_waiting=MOST_WAITING)
        self._asking: dict[tuple[NameT, str | None], asyncio.Task[FoundT]] = {}

    async def once(self, name: NameT, source: str, look_up: Callable[[], Coroutine[None, None, FoundT]]) -> FoundT:
        """Look a name up for all who ask for it at the same time, from the same source unless it is known.

        Args:
            name: of the holder.
            source: the address that the question came from.
            look_up: what asks, with `of`.

        Raises:
            ServiceOverloaded: he is not known, and too many who are not ask from this source.
        """
        asked = name, self._line(name, source)
        asking = self._asking.get(asked)
        if asking is None:
            asking = self._asking[asked] = asyncio.create_task(look_up())
            asking.add_done_callback(lambda _: self._asking.pop(asked, None))
        return await asyncio.shield(asking)

    @asynccontextmanager
    async def of(self, name: NameT, source: str) -> AsyncIterator[None]:
        """Ask for the holder of this name within the block.

        Raises:
            ServiceOverloaded: he is not known, and too many who are not ask from this source.
        """
        line = self._line(name, source)
        if line is None:
            yield
        else:
            async with self._places.held(line):
                yield

    def _line(self, name: NameT, source: str) -> str | None:
        return None if name in self._known else name_of(source)

    def found(self, name: NameT, *, good: bool) -> None:
        """Know from now on whether there is such a holder."""
        self._known.pop(name, None)
        if good:
            while len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[name] = None
