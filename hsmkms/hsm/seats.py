"""Hosts in a pool, and how many calls each of them is given."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import TokenNotAsked

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.custody import Deployment
    from hsmkms.hsm import messages
    from hsmkms.hsm.channel import HostChannel
    from hsmkms.hsm.settings import Duty

AHEAD_SECONDS: Final = 0.005
"""More than anything holds up the event loop, in which a host with nothing ahead would wait: some imports of SoftHSM,
but less than one call of most network HSMs."""
MOST_AHEAD: Final = 7
_LEAST_PACE: Final = 1e-6
"""As good as nothing, to divide by."""
_WEIGHT: Final = 1 / 8
"""Of a host's last call, in what its calls take."""


@dataclass(slots=True)
class Seat:
    """A host in the pool."""

    channel: HostChannel
    sessions: int
    duties: frozenset[Duty]
    attached: messages.Attached
    deployment: Deployment
    """With whose sealing keys it works."""
    taken: int = 0
    last_taken: int = 0
    """When, as a number that grows with every place taken in the pool."""
    adopting: bool = False
    """Whether it is asked nothing because it takes over sealing keys, which no call is to wait for."""
    pace: float | None = None
    """How many seconds its calls take, the last ones above all; None: not known yet."""

    @property
    def most_ahead(self) -> int:
        """How many calls it is given beyond those that it works on, at its pace."""
        if self.pace is None:
            return 0
        return min(MOST_AHEAD, math.ceil(AHEAD_SECONDS * self.sessions / max(self.pace, _LEAST_PACE)) - 1)

    @property
    def room(self) -> bool:
        """Whether one more call can be sent."""
        return not self.adopting and (self.taken < self.sessions or self.taken < self.sessions + self.most_ahead)

    def took(self, seconds: float) -> None:
        """Know how long a call took."""
        self.pace = seconds if self.pace is None else self.pace + _WEIGHT * (seconds - self.pace)


class Waiting:
    """Those who wait for a place: who came first is served first."""

    def __init__(self, most: int, seconds: float) -> None:
        """Let `most` wait at a time, and each for `seconds`."""
        self._most = most
        self._seconds = seconds
        self._futures: deque[asyncio.Future[Seat]] = deque()

    async def place(self, release: Callable[[Seat], None]) -> Seat:
        """Wait for a place at a host, and take it.

        Args:
            release: gives a place back that came too late.

        Raises:
            TokenNotAsked: none came in time, too many wait already, or none will come any more.
        """
        if len(self._futures) >= self._most:
            raise TokenNotAsked
        future: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        try:
            async with asyncio.timeout(self._seconds):
                return await future
        except BaseException as error:
            # A place came at the very moment we stopped waiting.
            if future.done() and not future.cancelled() and future.exception() is None:
                release(future.result())
            with suppress(ValueError):
                self._futures.remove(future)  # while no host is there, nobody else would
            future.cancel()
            if isinstance(error, TimeoutError):
                raise TokenNotAsked from None
            raise

    def offer(self, seat: Seat) -> None:
        """Give the free places of `seat` to those who wait longest."""
        while self._futures and seat.room:
            future = self._futures.popleft()
            if not future.done():
                seat.taken += 1
                future.set_result(seat)

    def end(self) -> None:
        """Tell all who wait that no place will come."""
        while self._futures:
            future = self._futures.popleft()
            if not future.done():
                future.set_exception(TokenNotAsked())
