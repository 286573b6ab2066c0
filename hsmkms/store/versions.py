"""The schema's version: brought up to date by `init`, required by everything else."""

from __future__ import annotations

import os
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from hsmkms.core.errors import HsmkmsError, StoreUnusable
from hsmkms.store import sqlite
from hsmkms.store.failures import cause_of, meaning

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")

VERSION_TABLE: Final = "hsmkms_schema"
"""Alembic's table under a name of ours, so that another program's database is not taken for one of ours."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK_SECONDS: Final = 60.0


class Version(Enum):
    """How a database's schema compares with this program's."""

    EMPTY = auto()
    FOREIGN = auto()
    OLDER = auto()
    CURRENT = auto()
    NEWER = auto()


async def upgrade(url: str) -> bool:
    """Create the database that `store.url` names, or bring its schema up to date; harmless to repeat.

    Two processes may do so at once: the second waits, and then finds it done.

    Returns:
        Whether there was an older schema, which is up to date now.

    Raises:
        StoreUnusable: it cannot be created, is of a newer version, or is no database of this program.
        StoreUnavailable: another process kept it locked.
    """
    path = file_of(url)
    sqlite.create_file(path)
    await _within(sqlite.looking_engine(path, _LOCK_SECONDS), path, _require_ours)
    return await _within(sqlite.writing_engine(path, _LOCK_SECONDS), path, _upgrade)


async def require_current(path: Path, busy_seconds: float) -> None:
    """Return if the database has this program's schema.

    Raises:
        StoreUnusable: there is none, it has another schema, or the file is no database.
        StoreUnavailable: another process kept it locked.
    """
    await _within(sqlite.looking_engine(path, busy_seconds), path, _require_current)


def file_of(url: str) -> Path:
    """Return the file of the database that `store.url` names.

    Raises:
        StoreUnusable: it names none, or another kind of database.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StoreUnusable("store.url is not a URL: write sqlite:////path/to/hsmkms.db.")
    if scheme != sqlite.SCHEME:
        raise StoreUnusable("store.url names a database that is not supported: write sqlite:////path/to/hsmkms.db.")
    return sqlite.file_of(rest)


async def _within(engine: AsyncEngine, path: Path, step: Callable[[Connection, Path], Result]) -> Result:
    """Take one step in a transaction, and say of an error what the operator, who is there, can mend."""
    _require_file(path)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(step, path)
    except HsmkmsError:
        raise
    except Exception as error:
        why = sqlite.why_unusable(cause_of(error))
        if why is None:
            raise meaning(error) from error
        raise StoreUnusable(f"{path} {why}; correct store.url, or the file.") from error
    finally:
        await engine.dispose()


def _require_file(path: Path) -> None:
    """Ask before SQLite does: it would create the file, and a driver's thread that cannot open it outlives the try.

    The file itself is not opened here: closing it again would end the locks that this process holds on it.
    """
    if not path.exists():
        raise StoreUnusable(f"There is no database {path}; run 'hsmkms init'.")
    if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnusable(f"{path} is not a file that this user can read and write; correct store.url, or the file.")


def _require_current(connection: Connection, path: Path) -> None:
    _require_ours(connection, path)
    if version_of(connection) is not Version.CURRENT:
        raise StoreUnusable(f"The database {path} has an older schema than this program; run 'hsmkms init'.")


def _require_ours(connection: Connection, path: Path) -> None:
    match version_of(connection):
        case Version.NEWER:
            raise StoreUnusable(
                f"The database {path} has a newer schema than this program; install the version that wrote it."
            )
        case Version.FOREIGN:
            raise StoreUnusable(f"The database {path} belongs to another program; correct store.url.")
        case _:
            return


def version_of(connection: Connection) -> Version:
    """Return how the database's schema compares with this program's."""
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE not in tables:
        return Version.FOREIGN if tables else Version.EMPTY
    scripts = ScriptDirectory.from_config(_config())
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    present = context.get_current_revision()
    if present == scripts.get_current_head():
        return Version.CURRENT
    known = {each.revision for each in scripts.walk_revisions()}
    return Version.OLDER if present is None or present in known else Version.NEWER


def _upgrade(connection: Connection, path: Path) -> bool:
    _require_ours(connection, path)  # again: now nobody else can change it
    found = version_of(connection)
    if found is not Version.CURRENT:
        command.upgrade(_config(connection), "head")
    return found is Version.OLDER


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    # Read through a parser that expands percent signs.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
