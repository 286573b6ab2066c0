"""What `hsmkms backup ...` does with token and database: a copy of both that belong together, also while they are used.

Laws:

- the token's objects are the same before and after the copy, so that every record in it has its sealing key;
- a copy of the token is proved: a host logs in to it and its objects give their known answers;
- the PIN is never in a backup, and only that host reads it;
- nothing is restored over anything, and the database comes last: where it is, all is there.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal

from hsmkms import __version__
from hsmkms.core.errors import BackupUnusable, ChangedMeanwhile
from hsmkms.core.ids import MILLISECONDS_PER_SECOND
from hsmkms.hsm import softhsm, token_copy
from hsmkms.service.deploying import ready_deployment
from hsmkms.wiring import backup_folder
from hsmkms.wiring.adapters import STORE_BUSY_SECONDS, SystemClock, opened_store
from hsmkms.wiring.backup_folder import Manifest
from hsmkms.wiring.commands import attached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hsmkms.config import HsmSection, Settings
    from hsmkms.store.database import SqlStore

_TOKENS: Final = "tokens"
_CONFIGURATION: Final = "hsmkms.toml"


async def create(settings: Settings, config_path: Path, folder: Path, *, with_database: bool) -> Manifest:
    """Make a backup in `folder`, which is not there yet, and return what is in it.

    Args:
        settings: of the deployment, which may be at work.
        config_path: where they were read from.
        folder: where to.
        with_database: False if the database is backed up by other means.

    Raises:
        OperatorFault: token, database or folder are not what is needed; there is no backup.
        TemporarilyUnavailable: the database was locked, or the token's objects were being replaced.
    """
    from hsmkms.store import backup  # noqa: PLC0415 - SQLAlchemy, as in `adapters`

    url = settings.store.url
    with backup_folder.appearing(folder) as unfinished:
        async with opened_store(settings) as store:
            deployment = await ready_deployment(store)
            made_at, heads = _now(), await _heads(store)
            tokens = await _copy_token(settings, store, unfinished)
            database = await backup.copy(url, unfinished, STORE_BUSY_SECONDS) if with_database else None
            if await ready_deployment(store) != deployment:
                raise ChangedMeanwhile("The token's long-lived objects were replaced meanwhile; run it again.")
        shutil.copyfile(config_path, unfinished / _CONFIGURATION)
        manifest = Manifest(
            made_at=made_at,
            hsmkms=__version__,
            schema=backup.schema_version(),
            edition=deployment.edition,
            deployment=deployment.deployment_id,
            token_serial=deployment.token_serial,
            audit_heads=heads,
            database=database,
            tokens=tokens,
        )
        return backup_folder.seal(unfinished, manifest)


async def restore(settings: Settings, folder: Path) -> Manifest:
    """Put the token and the database of a backup where the configuration says, and return what was in it.

    Raises:
        OperatorFault: the backup is damaged or another deployment's, or there is a token or a database already.
    """
    from hsmkms.store import backup  # noqa: PLC0415 - as above

    manifest = backup_folder.verified(folder)
    if manifest.edition is not settings.edition:
        raise BackupUnusable(
            f"The backup is of the edition {manifest.edition}, and the configuration says {settings.edition}."
        )
    if manifest.database is not None:
        await backup.require_vacant(settings.store.url)
    if manifest.tokens is not None:
        if not softhsm.is_softhsm(str(settings.hsm.module)):
            raise BackupUnusable("The backup has a token of SoftHSM, and hsm.module names another module.")
        tokens = softhsm.token_directory(_environment(settings.hsm))
        token_copy.restore(folder / manifest.tokens, tokens)
        backup_folder.flush_tree(tokens)
        backup_folder.flush(tokens.parent)
    if manifest.database is not None:
        await backup.restore(settings.store.url, folder / manifest.database)
    return manifest


async def _heads(store: SqlStore) -> tuple[str, ...]:
    heads = [await store.trail(node).head() for node in await store.nodes()]
    return tuple(str(head) for head in heads if head is not None)


async def _copy_token(settings: Settings, store: SqlStore, folder: Path) -> Literal["tokens"] | None:
    """Copy a token of SoftHSM into `folder` and prove the copy; return its name there, or None for another token."""
    hsm = settings.hsm
    if not softhsm.is_softhsm(str(hsm.module)):
        return None
    environment = _environment(hsm)
    token_copy.copy(softhsm.token_directory(environment), folder / _TOKENS)
    shutil.copyfile(softhsm.configuration(environment), folder / token_copy.CONFIGURATION_FILE)
    with _environment_for(folder / _TOKENS) as own:
        there = hsm.model_copy(update={"env": {**hsm.env, **own}})
        async with attached(settings.model_copy(update={"hsm": there}), store):
            pass  # its objects have given their known answers
    return _TOKENS


@contextmanager
def _environment_for(tokens: Path) -> Iterator[dict[str, str]]:
    """Return the variables with which SoftHSM uses a token directory, whatever characters its name has."""
    with TemporaryDirectory(prefix="hsmkms-") as place:
        (named := Path(place, _TOKENS)).symlink_to(tokens)
        (configuration := Path(place, token_copy.CONFIGURATION_FILE)).write_text(token_copy.configuration_for(named))
        yield {softhsm.CONFIGURATION_VARIABLE: str(configuration)}


def _environment(hsm: HsmSection) -> dict[str, str]:
    return {**os.environ, **hsm.env}


def _now() -> str:
    at = datetime.fromtimestamp(SystemClock().now() / MILLISECONDS_PER_SECOND, UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
