"""What `hsmkms audit ...` does with the token and the database, also while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.service import verifying
from hsmkms.wiring.adapters import opened_store, ready_deployment
from hsmkms.wiring.commands import attached

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hsmkms.audit.verification import Verification
    from hsmkms.config import Settings
    from hsmkms.core.events import AuditHead, ChainedEvent

_PIECE: Final = 1000


async def verify_trail(settings: Settings, expected: AuditHead | None) -> Verification:
    """Hold the audit trail against its seals, and against a head that was kept elsewhere.

    Raises:
        PinRefused, TokenUnusable, StoreUnusable: token or database cannot be used.
    """
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        deployment = await ready_deployment(store)
        return await verifying.verify(store, hsm, deployment.deployment_id, expected)


async def read_trail(settings: Settings, after: int) -> AsyncGenerator[ChainedEvent, None]:
    """Yield the events of a sequence above `after`; no host is started.

    Raises:
        EventUnreadable: the next one cannot be read.
        StoreUnusable: there is no trail.
    """
    async with opened_store(settings) as store:
        while events := await store.events(after, _PIECE):
            for each in events:
                yield each
            after = events[-1].sequence
