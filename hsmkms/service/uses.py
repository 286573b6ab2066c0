"""How often a key has encrypted: counted in blocks that are leased from the store before they are used.

Laws:

- a key never encrypts more than `MOST_USES` times, in all processes and over all restarts together: what a process did
  not use of its block when it ended is lost, never used twice;
- one lease serves all requests of this process that wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from hsmkms.core.ciphertexts import MOST_USES
from hsmkms.core.errors import KeyNotFound, KeyUsedUp

if TYPE_CHECKING:
    from hsmkms.core.ids import KeyId
    from hsmkms.core.ports import Store, Writing

BLOCK: Final = 4096
"""Uses in a lease: half a million restarts lose no more than the bound has."""
MOST_KEPT: Final = 100_000
"""Keys whose lease is remembered; the lease of the one longest unused is lost first."""


class UseCounter:
    """The leases of this process."""

    def __init__(self, store: Store, *, block: int = BLOCK, most: int = MOST_USES) -> None:
        """Lease `block` uses at a time from `store`, at most `most` of a key."""
        self._store = store
        self._block = block
        self._most = most
        self._left: dict[KeyId, int] = {}
        self._leases: dict[KeyId, asyncio.Task[None]] = {}

    async def take(self, key_id: KeyId) -> None:
        """Count one use of a key, which may then be made.

        Raises:
            KeyUsedUp: it has none left.
            KeyNotFound: a lease was needed, and the key is gone.
            StoreUnavailable: a lease was needed and could not be had.
        """
        while not self._left.get(key_id):
            lease = self._leases.get(key_id)
            if lease is None:
                lease = self._leases[key_id] = asyncio.create_task(self._lease(key_id))
                lease.add_done_callback(lambda _: self._leases.pop(key_id, None))
            await asyncio.shield(lease)
        # taken out and put in again, so that the first of the dictionary is the one longest unused
        self._left[key_id] = self._left.pop(key_id) - 1

    async def _lease(self, key_id: KeyId) -> None:
        def lease(writing: Writing) -> None:
            if not writing.lease_uses(key_id, self._block, self._most):
                gone = writing.uses_leased(key_id) is None
                raise KeyNotFound if gone else KeyUsedUp

        await self._store.write(lease)
        while len(self._left) >= MOST_KEPT:
            del self._left[next(iter(self._left))]
        self._left[key_id] = self._left.get(key_id, 0) + self._block
