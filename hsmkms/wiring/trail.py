"""What `hsmkms audit ...` does with the token and the database, also while the service runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from hsmkms.audit.verification import require_initialised
from hsmkms.core.ids import MILLISECONDS_PER_SECOND, Instant
from hsmkms.service import verifying
from hsmkms.service.archiving import Archiving, require_leads_to_seals
from hsmkms.service.deploying import ready_deployment
from hsmkms.wiring import archive_files
from hsmkms.wiring.adapters import SystemClock, opened_store
from hsmkms.wiring.commands import attached

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from hsmkms.audit.verification import Verification
    from hsmkms.config import Settings
    from hsmkms.core.events import AuditHead, ChainedEvent
    from hsmkms.service.archiving import Part

_PIECE: Final = 1000
_DAY: Final = 24 * 60 * 60 * MILLISECONDS_PER_SECOND


async def verify_trail(
    settings: Settings, expected: Sequence[AuditHead], archives: Sequence[Path] = ()
) -> Sequence[Verification]:
    """Hold the audit trail of each node against its seals, and against a head of it that was kept elsewhere.

    Args:
        settings: which token and database.
        expected: the heads, one of a node at most.
        archives: all there are, in any order; none: what was archived is not looked at.

    Raises:
        PinRefused, TokenUnusable, StoreUnusable: token or database cannot be used.
        ArchiveUnusable: an archive is none of this deployment, or is there twice.
    """
    async with opened_store(settings) as store:
        deployment_id = (await ready_deployment(store)).deployment_id
        archived = archive_files.of_nodes(archives, deployment_id)
        kept = {head.node: head for head in expected}
        nodes = sorted({*await store.nodes(), *kept, *archived}) or [settings.store.node]
        async with attached(settings, store) as hsm:
            trails = [
                await verifying.verify(
                    store.trail(node),
                    hsm,
                    deployment_id,
                    kept.get(node),
                    partial(archive_files.read, archived.get(node, ()), deployment_id) if archives else None,
                )
                for node in nodes
            ]
    require_initialised(trails)
    return trails


async def archive_trail(settings: Settings, path: Path, keep_days: int) -> Sequence[Part]:
    """Write what is older than so many days into a new archive, and remove it from the database.

    Returns:
        What was archived of each node; nothing, and no archive, if there is nothing so old that was sealed.

    Raises:
        PinRefused, TokenUnusable, StoreUnusable: token or database cannot be used.
        ArchiveUnusable: the trail does not hold, or the archive cannot be written; nothing was removed.
    """
    archive_files.require_absent(path)
    clock = SystemClock()
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        deployment_id = (await ready_deployment(store)).deployment_id
        archiving = Archiving(store, hsm, clock, deployment_id)
        parts = await archiving.parts(Instant(clock.now() - keep_days * _DAY) if keep_days else None)
        if parts:
            await archive_files.write(path, archiving.lines(parts))
            await archiving.require_not_cut(parts)
            require_leads_to_seals(archive_files.read([path], deployment_id), parts)
            await archiving.cut(parts)
    return parts


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
