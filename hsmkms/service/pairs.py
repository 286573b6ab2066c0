"""The pool of wrapping pairs made ahead of need.

Laws:

- a pair is taken once, and waits in memory only: what no ticket took is lost with the process, and nothing is lost;
- once a later version of the sealing keys seals, no pair that an older one sealed is given out: it would outlive that;
- the pool refills itself in the background; a caller waits at most `patience_seconds` for a pair.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Final

from hsmkms.core import records
from hsmkms.core.custody import FIRST_VERSION
from hsmkms.core.errors import ServiceFault, TokenNotAsked
from hsmkms.core.ids import PairId
from hsmkms.core.wrapping import WRAPPING_KEY_BITS

if TYPE_CHECKING:
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Hsm
    from hsmkms.core.tickets import FreshPair

_logger = logging.getLogger(__name__)
_PAUSE_AFTER_FAULT_SECONDS: Final = 1.0


class PairPool:
    """Pairs that the token made and no ticket has taken yet."""

    def __init__(self, hsm: Hsm, edition: Edition, *, ready_pairs: int, patience_seconds: float) -> None:
        """Keep `ready_pairs` ready once `keep_filled` runs; 0 makes each when it is asked for."""
        self._hsm = hsm
        self._edition = edition
        self._target = ready_pairs
        self._patience_seconds = patience_seconds
        self._ready: asyncio.Queue[FreshPair] = asyncio.Queue()
        self._waiting = 0
        self._oldest_version = FIRST_VERSION
        self._wanted = asyncio.Event()

    @property
    def level(self) -> int:
        """How many pairs are ready."""
        return self._ready.qsize()

    @property
    def wanted(self) -> int:
        """How many are to be ready now."""
        return max(self._target, self._waiting)

    async def take(self) -> FreshPair:
        """Return a pair that nobody else has.

        Raises:
            TokenNotAsked: none was made in time.
        """
        self._waiting += 1
        self._wanted.set()
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await self._ready.get()
        except TimeoutError as error:
            raise TokenNotAsked from error
        finally:
            self._waiting -= 1
            # Now one less is ready, or one less is waited for: without this a burst would leave the pool empty.
            self._wanted.set()

    def put_back(self, pair: FreshPair) -> None:
        """Return a pair that was taken and not shown to anyone."""
        if records.split_head(pair.record)[0] >= self._oldest_version:
            self._ready.put_nowait(pair)

    def require_version(self, version: int) -> None:
        """Throw away the pairs that are sealed under a version below `version`, those under way, too."""
        self._oldest_version = version
        for _ in range(self._ready.qsize()):
            self.put_back(self._ready.get_nowait())
        self._wanted.set()

    async def keep_filled(self) -> None:
        """Make pairs whenever fewer are ready than wanted; runs until it is cancelled."""
        while True:
            if self._ready.qsize() >= self.wanted:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            identity = records.of_pair(PairId(str(uuid.uuid4())), self._edition)
            try:
                self.put_back(await self._hsm.make_pair(identity, WRAPPING_KEY_BITS))
            except ServiceFault:
                _logger.warning("no wrapping pair could be made", extra={"ready": self._ready.qsize()})
                await asyncio.sleep(_PAUSE_AFTER_FAULT_SECONDS)
