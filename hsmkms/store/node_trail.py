"""`core.ports.TrailReading`: the audit trail of one node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.store import chaining, trail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.events import AuditCut, AuditHead, AuditSeal, ChainedEvent
    from hsmkms.store.backend import Backend


class NodeTrail:
    """The events that one node appended, and the seals on them."""

    def __init__(self, backend: Backend, node: str) -> None:
        """Read the trail of `node`."""
        self._backend = backend
        self.node = node

    async def head(self) -> AuditHead | None:
        """Return the newest event's place and digest; None in an empty trail."""
        return await self._backend.read(lambda reading: chaining.head(reading, self.node))

    async def events(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        """Return at most `limit` events of a sequence above `after`, in the order of the trail."""
        return await self._backend.read(lambda reading: trail.events(reading, self.node, after, limit))

    async def cut(self) -> AuditCut | None:
        """Return where the trail begins after what was archived; None: it begins with its first event."""
        return await self._backend.read(lambda reading: trail.cut(reading, self.node))

    async def last_seal(self) -> AuditSeal | None:
        """Return the newest seal of the trail."""
        return await self._backend.read(lambda reading: trail.last_seal(reading, self.node))

    async def seals(self, after: int, limit: int) -> Sequence[AuditSeal]:
        """Return at most `limit` seals of events above the sequence `after`, in the order of the trail."""
        return await self._backend.read(lambda reading: trail.seals(reading, self.node, after, limit))
