"""Where a schema is, to whoever makes or checks it: a file, or a database of a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from hsmkms.core.errors import StoreUnusable
from hsmkms.store import integrity, postgresql, postgresql_integrity, sqlite
from hsmkms.store.failures import cause_of
from hsmkms.store.urls import SqliteFile

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from hsmkms.store.urls import Database, PostgresDatabase


class Place(Protocol):
    """What differs between kinds of databases before there are transactions."""

    @property
    def name(self) -> str:
        """What to call it in a sentence."""

    def make(self) -> None:
        """Make an empty database if there is none, where that is ours to do.

        Raises:
            StoreUnusable: it cannot be made.
        """

    def require_there(self) -> None:
        """Return if there is something to connect to, as far as can be told without trying.

        Raises:
            StoreUnusable: there is not; the message has the cure.
        """

    def looking(self, busy_seconds: float) -> Engine:
        """Return the engine of a connection that changes nothing."""

    def writing(self, busy_seconds: float) -> Engine:
        """Return the engine of a connection that writes."""

    def hold(self, connection: Connection) -> None:
        """Keep everybody else from changing the schema until the transaction ends."""

    def require_sound(self, connection: Connection) -> None:
        """Return if what is committed there is kept.

        Raises:
            StoreUnusable: it is set up so that it is not.
        """

    def require_untouched(self, connection: Connection, version_table: str) -> None:
        """Return if the newest schema there is exactly what this program makes.

        Raises:
            StoreUnusable: somebody added, changed or removed something.
        """

    def why_unusable(self, error: Exception) -> str | None:
        """Return the sentence about an error that the operator can mend; None if it is none."""


class SqlitePlace:
    """An SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def make(self) -> None:
        """Create the file for its owner only."""
        sqlite.create_file(self._path)

    def require_there(self) -> None:
        """Ask before SQLite does: it would create the file.

        The file itself is not opened here: closing it again would end the locks that this process holds on it.
        """
        path = self._path
        if not path.exists():
            raise StoreUnusable(f"There is no database {path}; run 'hsmkms init'.")
        if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
            raise StoreUnusable(
                f"{path} is not a file that this user can read and write; correct store.url, or the file."
            )

    def looking(self, busy_seconds: float) -> Engine:
        """Return an engine that changes nothing, not even the journal mode of somebody else's file."""
        return sqlite.looking_engine(self._path, busy_seconds)

    def writing(self, busy_seconds: float) -> Engine:
        """Return an engine whose transactions begin with the write lock."""
        return sqlite.writing_engine(self._path, busy_seconds)

    def hold(self, connection: Connection) -> None:
        """Do nothing: the transaction has the write lock."""

    def require_sound(self, connection: Connection) -> None:
        """Do nothing: each connection says how it commits."""

    def require_untouched(self, connection: Connection, version_table: str) -> None:
        """Compare the declarations in the file."""
        integrity.require_untouched(connection, self._path, version_table)

    def why_unusable(self, error: Exception) -> str | None:
        """Return what is wrong with the file."""
        why = sqlite.why_unusable(cause_of(error))
        return None if why is None else f"{self.name} {why}; correct store.url, or the file."


class PostgresPlace:
    """A database of a PostgreSQL server."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self.name = f"{database.database} on {database.host}"

    def make(self) -> None:
        """Do nothing: who may create databases is the server's administrator, not this program."""

    def require_there(self) -> None:
        """Do nothing: who connects will hear of it."""

    def looking(self, busy_seconds: float) -> Engine:
        """Return an engine of read-only transactions."""
        return postgresql.reading_engine(self._database, busy_seconds)

    def writing(self, busy_seconds: float) -> Engine:
        """Return an engine whose statements see what is committed by then."""
        return postgresql.writing_engine(self._database, busy_seconds)

    def hold(self, connection: Connection) -> None:
        """Take the lock that whoever initialises takes, too."""
        postgresql.lock(connection, postgresql.INITIALISING)

    def require_sound(self, connection: Connection) -> None:
        """Ask the server for its settings."""
        postgresql.require_server(connection, self.name)

    def require_untouched(self, connection: Connection, version_table: str) -> None:
        """Compare the catalogues of the schema."""
        postgresql_integrity.require_untouched(connection, self.name, version_table)

    def why_unusable(self, error: Exception) -> str | None:
        """Return what the server refuses."""
        return postgresql.why_unusable(cause_of(error), self.name)


def place_of(database: Database) -> Place:
    """Return where the schema of `database` is."""
    return SqlitePlace(database.path) if isinstance(database, SqliteFile) else PostgresPlace(database)
