"""What `hsmkms audit ...` does with the token and the database, also while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.audit.verification import require_initialised
from hsmkms.service import verifying
from hsmkms.service.deploying import ready_deployment
from hsmkms.wiring.adapters import opened_store
from hsmkms.wiring.commands import attached

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from hsmkms.audit.verification import Verification
    from hsmkms.config import Settings
    from hsmkms.core.events import AuditHead, ChainedEvent

_PIECE: Final = 1000


async def verify_trail(settings: Settings, expected: Sequence[AuditHead]) -> Sequence[Verification]:
    """Hold the audit trail of each node against its seals, and against a head of it that was kept elsewhere.

    Raises:
        PinRefused, TokenUnusable, StoreUnusable: token or database cannot be used.
    """
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        deployment = await ready_deployment(store)
        kept = {head.node: head for head in expected}
        nodes = sorted({*await store.nodes(), *kept}) or [settings.store.node]
        trails = [
            await verifying.verify(store.trail(node), hsm, deployment.deployment_id, kept.get(node)) for node in nodes
        ]
    require_initialised(trails)
    return trails


async def read_trail(settings: Settings, after: int) -> AsyncGenerator[tuple[str, ChainedEvent], None]:
    """Yield the events of a sequence above `after`, each with its node, one node after the other; no host is started.

    Raises:
        EventUnreadable: the next one cannot be read.
        StoreUnusable: there is no trail.
    """
    async with opened_store(settings) as store:
        for node in await store.nodes():
            last = after
            while events := await store.trail(node).events(last, _PIECE):
                for each in events:
                    yield node, each
                last = events[-1].sequence
