"""What only SQLite can do: its files, pragmas, locks and checkpoint.

Sources: sqlite.org/wal.html, /pragma.html, /lang_transaction.html, /rescode.html; SQLAlchemy, "Enabling Non-Legacy
SQLite Transactional Modes" (the driver's own BEGIN is off, and the engine's `begin` event emits ours).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL, QueuePool, create_engine, event

from hsmkms.core.errors import StoreUnusable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

DRIVER: Final = "sqlite+pysqlite"
READERS: Final = 4
"""Connections that read at once: SQLite reads in threads of this process, so more than a few win nothing."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",  # readers and the writer do not wait for each other
    "PRAGMA synchronous=FULL",  # in WAL mode: a commit is on disk when it returns
    "PRAGMA secure_delete=ON",  # what is deleted is overwritten
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",  # no record in a temporary file
    "PRAGMA trusted_schema=OFF",  # nothing in the file calls a function with effects
)
WITHOUT_BEGIN: Final = "hsmkms_without_begin"
"""The execution option of a connection whose user begins transactions himself."""
_CHECKPOINT_WAIT_SECONDS: Final = 0.05

# Primary result codes after which trying later is right.
_PASSING: Final = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    )
)


_UNDECODABLE: Final = "Could not decode to UTF-8"
"""What the driver says of a text in the file that is none: it has no code for that."""

_UNUSABLE: Final = {
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is a damaged database",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_PERM: "cannot be opened",
    sqlite3.SQLITE_AUTH: "cannot be opened",
    sqlite3.SQLITE_READONLY: "cannot be written",
}


def create_file(path: Path) -> None:
    """Create the database file for its owner only, unless it is there; SQLite gives its -wal and -shm the same mode.

    Raises:
        StoreUnusable: the directory does not take it.
    """
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)  # or a power failure could forget the file's name
            finally:
                os.close(directory)
    except OSError as error:
        raise StoreUnusable(
            f"The database {path} cannot be created: {error.strerror}; correct store.url or the directory."
        ) from error


def reading_engine(path: Path, busy_seconds: float) -> Engine:
    """Return the engine of the connections that read; each transaction has one view.

    Args:
        path: the database file; it must exist.
        busy_seconds: how long a statement waits for a lock of another process.
    """
    return _engine(path, busy_seconds, begin="BEGIN", connections=READERS, pragmas=_PRAGMAS)


def writing_engine(path: Path, busy_seconds: float) -> Engine:
    """Return the engine of the one connection that writes; each transaction begins with the write lock."""
    return _engine(path, busy_seconds, begin="BEGIN IMMEDIATE", connections=1, pragmas=_PRAGMAS)


def looking_engine(path: Path, busy_seconds: float) -> Engine:
    """Return the engine of a connection that changes nothing, not even the journal mode of somebody else's file."""
    return _engine(path, busy_seconds, begin="BEGIN", connections=1, pragmas=("PRAGMA query_only=ON",))


def glancing_engine(path: Path) -> Engine:
    """Return the engine of a connection that reads single rows and waits for nobody."""
    return _engine(path, 0.0, begin="BEGIN", connections=1, pragmas=_PRAGMAS)


def _engine(path: Path, busy_seconds: float, *, begin: str, connections: int, pragmas: tuple[str, ...]) -> Engine:
    engine = create_engine(
        URL.create(DRIVER, database=str(path)),
        # One thread at a time uses a connection, but not always the same one.
        connect_args={"isolation_level": None, "timeout": busy_seconds, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=busy_seconds,
        pool_use_lifo=True,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        try:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(pragma)
            cursor.close()
        except BaseException:
            connection.close()  # the pool would forget it
            raise

    @event.listens_for(engine, "begin")
    def emit_begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(WITHOUT_BEGIN):
            connection.exec_driver_sql(begin)

    return engine


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the driver's own connection."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(driver)
    return driver


def wait_at_most(connection: Connection, seconds: float) -> None:
    """Let the connection's statements wait so long for a lock of others; 0: not at all."""
    driver_of(connection).execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def truncate_wal(connection: Connection) -> bool:
    """Copy the whole WAL into the database file and cut it to nothing; tell whether that succeeded.

    A reader with an older view, in any process, makes it fail; it is tried for a moment only, because writers wait
    meanwhile. `connection` must be in no transaction.
    """
    wait_at_most(connection, _CHECKPOINT_WAIT_SECONDS)
    try:
        busy, frames, _ = driver_of(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        wait_at_most(connection, 0)
    return (busy, frames) == (0, 0)


def is_busy(error: BaseException) -> bool:
    """Tell whether another process has the lock."""
    return isinstance(error, sqlite3.Error) and _primary_code(error) == sqlite3.SQLITE_BUSY


def is_passing(error: BaseException) -> bool | None:
    """Tell whether trying later is right after an error of the driver; None if it is not SQLite's."""
    if not isinstance(error, sqlite3.Error):
        return None
    code = _primary_code(error)
    if code is None:  # the driver's own: operational if the connection is gone, else a defect of ours
        return isinstance(error, sqlite3.OperationalError) and not str(error).startswith(_UNDECODABLE)
    return code in _PASSING


def is_databases_own(error: BaseException) -> bool:
    """Tell whether SQLite itself raised an error, and not its driver, whose sentence may quote a value."""
    return isinstance(error, sqlite3.Error) and _primary_code(error) is not None


def why_unusable(error: BaseException) -> str | None:
    """Return what is wrong with a file that could not be opened; None if it is not the file."""
    code = _primary_code(error)
    return None if code is None else _UNUSABLE.get(code)


def _primary_code(error: BaseException) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
