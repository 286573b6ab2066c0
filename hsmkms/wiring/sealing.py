"""What `hsmkms sealing ...` does with token and database, also while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.hsm.settings import HostPurpose
from hsmkms.hsm.transferring import TransferHost
from hsmkms.service import rotating
from hsmkms.service.deploying import ready_deployment
from hsmkms.service.transferring import Transferring, settled
from hsmkms.wiring.adapters import SystemClock, opened_store
from hsmkms.wiring.commands import channel_to, init_host

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hsmkms.config import Settings
    from hsmkms.service.rotating import Retired, SealingVersion
    from hsmkms.service.transferring import Transfer


async def sealing_versions(settings: Settings) -> Sequence[SealingVersion]:
    """Return the versions of the sealing keys, the oldest first; no host is started."""
    async with opened_store(settings) as store:
        return rotating.versions(await ready_deployment(store), await store.sealed_counts())


async def rotate_sealing_keys(
    settings: Settings, *, transferable: bool | None, replace_unknown: bool
) -> SealingVersion:
    """Make the sealing keys of the next version, and return it.

    Raises:
        TokenUnusable: the token did not make them, or has others of that name that the database does not know.
        StoreUnusable, StoreUnavailable: the database cannot be used.
    """
    async with opened_store(settings) as store, init_host(settings, replace_unknown=replace_unknown) as host:
        deployment = await rotating.rotate(store, host, SystemClock(), settings.edition, transferable=transferable)
        return rotating.versions(deployment, {})[-1]


async def transfer_material(settings: Settings, so_pin_file: Path, tell: Callable[[Transfer], None]) -> Transfer:
    """Seal all material anew that is under an older version than the newest; `tell` is called again and again.

    Where there is nothing that could be, the token is not asked, and no PIN is tried.

    Raises:
        PinRefused: the token refused a PIN.
        TokenUnavailable, StoreUnavailable: it is to be run again for the rest.
    """
    async with opened_store(settings) as store:
        if (idle := await settled(store)) is not None:
            return idle
        deployment = await ready_deployment(store)
        async with channel_to(settings, HostPurpose.TRANSFER, so_pin_file) as (channel, _):
            await channel.attach(deployment)
            host = TransferHost(channel, settings.hsm.verb_timeout_seconds)
            return await Transferring(store, host, SystemClock(), settings.edition).run(tell)


async def retire_sealing_keys(settings: Settings, version: int) -> Retired:
    """Forget and destroy the sealing keys of an older version; tell what there was of them.

    Raises:
        StoreUnusable: something is under them still, or they seal, or did until just now.
        TokenUnusable: the token did not destroy them; it is to be run again.
    """
    async with opened_store(settings) as store, init_host(settings) as host:
        return await rotating.retire(store, host, SystemClock(), settings.edition, version)
