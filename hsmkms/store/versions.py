"""The schema's version: brought up to date by `init`, required by everything else."""

from __future__ import annotations

import os
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import String, column, inspect, select, table

from hsmkms.core.errors import HsmkmsError, StoreUnusable
from hsmkms.store import integrity, sqlite
from hsmkms.store.failures import cause_of, meaning
from hsmkms.store.urls import file_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")

VERSION_TABLE: Final = "hsmkms_schema"
"""Alembic's table under a name of ours, so that another program's database is not taken for one of ours."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Alembic's scripts."""

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
        StoreUnusable: it cannot be created, is of a newer version, was changed, or is no database of this program.
        StoreUnavailable: another process kept it locked.
    """
    path = file_of(url)
    sqlite.create_file(path)
    await _within(sqlite.looking_engine(path, _LOCK_SECONDS), path, _require_ours)
    return await _within(sqlite.writing_engine(path, _LOCK_SECONDS), path, _upgrade)


async def require_current(path: Path, busy_seconds: float) -> None:
    """Return if the database has this program's schema.

    Raises:
        StoreUnusable: there is none, it has another schema or not all of this one, or the file is no database.
        StoreUnavailable: another process kept it locked.
    """
    await _within(sqlite.looking_engine(path, busy_seconds), path, _require_current)


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
        case Version.CURRENT:
            integrity.require_untouched(connection, path, VERSION_TABLE)
        case _:
            return


def version_of(connection: Connection) -> Version:
    """Return how the database's schema compares with this program's."""
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE not in tables:
        return Version.FOREIGN if tables else Version.EMPTY
    statement = select(column("version_num", String)).select_from(table(VERSION_TABLE))
    present = connection.execute(statement).scalar_one_or_none()
    revisions = known_revisions()
    if present == revisions[-1]:
        return Version.CURRENT
    return Version.OLDER if present is None or present in revisions else Version.NEWER


def known_revisions() -> list[str]:
    """Return the revisions that this program can bring a schema to, oldest first: each file's name begins with its own.

    Every start asks for them, and Alembic, which would read the files, takes longer to load than the rest of the store.
    """
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _upgrade(connection: Connection, path: Path) -> bool:
    _require_ours(connection, path)  # again: now nobody else can change it
    found = version_of(connection)
    if found is not Version.CURRENT:
        from hsmkms.store import migrating  # noqa: PLC0415 - Alembic, which only a change of the schema needs

        migrating.to_newest(connection)
    return found is Version.OLDER
