"""The adapters that both the web process and the commands need: clock, database, what a host is told."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from hsmkms.audit.chain import link
from hsmkms.core.ids import MILLISECONDS_PER_SECOND, Instant
from hsmkms.core.metering import UNMETERED
from hsmkms.hsm.settings import HostSettings
from hsmkms.wiring import pins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hsmkms.config import Settings
    from hsmkms.core.metering import Meter
    from hsmkms.hsm.settings import HostPurpose
    from hsmkms.store.database import SqlStore
    from hsmkms.store.node_claim import NodeClaim

STORE_BUSY_SECONDS: Final = 10.0


class SystemClock:
    """The machine's clock."""

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(time.time_ns() // (1_000_000_000 // MILLISECONDS_PER_SECOND))


class LoopTimer:
    """The event loop's clock; it is `time.monotonic`, by which the web room says when a request arrived."""

    def seconds(self) -> float:
        """Return the seconds since some moment in the past."""
        return time.monotonic()

    async def sleep_until(self, seconds: float) -> None:
        """Return when `seconds` has come."""
        await asyncio.sleep(max(0.0, seconds - time.monotonic()))


def host_settings(settings: Settings, purpose: HostPurpose, so_pin_file: Path | None = None) -> HostSettings:
    """Return what a host is told when it is started; `so_pin_file` is for one that transfers.

    Raises:
        ConfigurationInvalid: the PIN is a credential of systemd's, and there is none.
    """
    hsm = settings.hsm
    pin_file = pins.pin_path(hsm)
    return HostSettings(
        module=str(hsm.module),
        token_label=hsm.token_label,
        pin_file=None if pin_file is None else str(pin_file),
        pin_fd=hsm.pin_fd,
        pin_key=pins.pin_key(hsm),
        so_pin_file=None if so_pin_file is None else str(so_pin_file),
        edition=settings.edition,
        initialize_args=hsm.initialize_args,
        sessions=hsm.sessions_per_host,
        purpose=purpose,
        env=dict(hsm.env),
        log_level=settings.log.level,
        dumpable=hsm.dumpable_processes,
    )


@asynccontextmanager
async def opened_store(settings: Settings, meter: Meter = UNMETERED) -> AsyncIterator[SqlStore]:
    """Open the database for as long as the block runs; `meter` is told of its transactions.

    Raises:
        StoreUnusable: it was never initialised, or is of another version.
    """
    from hsmkms.store.database import open_store  # noqa: PLC0415 - SQLAlchemy: supervisor and clients do without

    url, node = settings.store.url, settings.store.node
    store = await open_store(url, link=link, busy_seconds=STORE_BUSY_SECONDS, node=node, meter=meter)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def claimed_node(settings: Settings) -> AsyncIterator[NodeClaim]:
    """Hold the right to serve as the configured node for as long as the block runs, which is to `keep` it.

    Raises:
        StoreUnusable: another process serves as this node.
    """
    from hsmkms.store.node_claim import NodeClaim  # noqa: PLC0415 - as above

    claim = NodeClaim(settings.store.url, settings.store.node, STORE_BUSY_SECONDS)
    try:
        await claim.take()
        yield claim
    finally:
        await claim.give_up()
