"""The adapters that both the web process and the commands need: clock, database, what a host is told."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.ids import MILLISECONDS_PER_SECOND, Instant
from hsmkms.hsm.settings import HostSettings
from hsmkms.store.database import SqlStore, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hsmkms.config import Settings
    from hsmkms.core.custody import Deployment
    from hsmkms.hsm.settings import HostPurpose

STORE_BUSY_SECONDS: Final = 10.0


class SystemClock:
    """The machine's clock."""

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(time.time_ns() // (1_000_000_000 // MILLISECONDS_PER_SECOND))


def host_settings(settings: Settings, purpose: HostPurpose) -> HostSettings:
    """Return what a host is told when it is started."""
    hsm = settings.hsm
    return HostSettings(
        module=str(hsm.module),
        token_label=hsm.token_label,
        pin_file=str(hsm.pin_file),
        edition=settings.edition,
        initialize_args=hsm.initialize_args,
        sessions=hsm.sessions_per_host,
        purpose=purpose,
        env=dict(hsm.env),
        log_level=settings.log.level,
    )


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[SqlStore]:
    """Open the database for as long as the block runs.

    Raises:
        StoreUnusable: it was never initialised, or is of another version.
    """
    store = await open_store(settings.store.url, chain=link, busy_seconds=STORE_BUSY_SECONDS)
    try:
        yield store
    finally:
        await store.close()


async def ready_deployment(store: SqlStore) -> Deployment:
    """Return the deployment of the database.

    Raises:
        StoreUnusable: `init` was never run to its end.
    """
    deployment = await store.deployment()
    if deployment is None or not deployment.ready:
        raise StoreUnusable("The database does not belong to an initialised deployment; run 'hsmkms init'.")
    return deployment
