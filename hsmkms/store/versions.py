"""The schema's version: brought up to date by `init`, required by everything else."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import String, column, inspect, select, table

from hsmkms.core.errors import BackupUnusable, HsmkmsError, StoreUnavailable, StoreUnusable
from hsmkms.store.failures import meaning
from hsmkms.store.places import place_of
from hsmkms.store.urls import database_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from hsmkms.store.places import Place
    from hsmkms.store.urls import Database

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
    place = place_of(database_of(url))
    place.make()
    await asyncio.to_thread(_within, place, place.looking(_LOCK_SECONDS), _require_ours)
    return await asyncio.to_thread(_within, place, place.writing(_LOCK_SECONDS), _upgrade)


async def require_empty(database: Database) -> None:
    """Return if there is nothing in the database.

    Raises:
        BackupUnusable: there is something.
        StoreUnusable, StoreUnavailable: it cannot be used, or its server does not answer.
    """
    place = place_of(database)
    await asyncio.to_thread(_within, place, place.looking(_LOCK_SECONDS), _require_empty)


async def require_current(database: Database, busy_seconds: float) -> None:
    """Return if the database has this program's schema.

    Raises:
        StoreUnusable: there is none, it has another schema or not all of this one, or it cannot be used at all.
        StoreUnavailable: another process kept it locked, or its server does not answer.
    """
    place = place_of(database)
    await asyncio.to_thread(_within, place, place.looking(busy_seconds), _require_current)


def _within(place: Place, engine: Engine, step: Callable[[Connection, Place], Result]) -> Result:
    """Take one step in a transaction, and say of an error what the operator, who is there, can mend."""
    place.require_there()
    try:
        with engine.begin() as connection:
            return step(connection, place)
    except HsmkmsError:
        raise
    except Exception as error:
        why = place.why_unusable(error)
        if why is not None:
            raise StoreUnusable(why) from error
        fault = meaning(error)
        if isinstance(fault, StoreUnavailable):
            fault = StoreUnavailable(f"The database {place.name} does not answer, or others keep it busy; try again.")
        raise fault from error
    finally:
        engine.dispose()


def _require_current(connection: Connection, place: Place) -> None:
    _require_ours(connection, place)
    if version_of(connection) is not Version.CURRENT:
        raise StoreUnusable(f"The database {place.name} has an older schema than this program; run 'hsmkms init'.")


def _require_empty(connection: Connection, place: Place) -> None:
    if version_of(connection) is not Version.EMPTY:
        raise BackupUnusable(f"The database {place.name} is not empty; a backup is restored into an empty one.")


def _require_ours(connection: Connection, place: Place) -> None:
    place.require_sound(connection)
    match version_of(connection):
        case Version.NEWER:
            raise StoreUnusable(
                f"The database {place.name} has a newer schema than this program; install the version that wrote it."
            )
        case Version.FOREIGN:
            raise StoreUnusable(f"The database {place.name} belongs to another program; correct store.url.")
        case Version.CURRENT:
            place.require_untouched(connection, VERSION_TABLE)
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


def _upgrade(connection: Connection, place: Place) -> bool:
    place.hold(connection)
    _require_ours(connection, place)  # again: now nobody else can change it
    found = version_of(connection)
    if found is not Version.CURRENT:
        from hsmkms.store import migrating  # noqa: PLC0415 - Alembic, which only a change of the schema needs

        migrating.to_newest(connection, empty=found is Version.EMPTY)
    return found is Version.OLDER
