"""Whole copies of a database, made while the service runs, and what is put in the place of a lost one.

Laws:

- a copy shows one instant, and nobody who writes waits for it;
- it is one file, whole in itself: an SQLite file that is copied without what is still in its -wal is damaged;
- nothing is ever put over a database that is there.

Sources: sqlite.org/backup.html, /howtocorrupt.html (1.2 and 1.4: live files copied as such, journals of another
database); postgresql.org/docs/current/app-pgdump.html, /app-pgrestore.html.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Final, Literal

from hsmkms.core.errors import BackupUnusable, HsmkmsError, StoreUnusable
from hsmkms.store import sqlite
from hsmkms.store.failures import meaning
from hsmkms.store.urls import SqliteFile, database_of
from hsmkms.store.versions import known_revisions, require_empty

if TYPE_CHECKING:
    from pathlib import Path


Copied = Literal["hsmkms.db", "hsmkms.dump"]
"""The names that copies have."""
SQLITE_COPY: Final = "hsmkms.db"
POSTGRESQL_COPY: Final = "hsmkms.dump"
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite would take for a part of the database; a journal of another one would be played back into it."""
_MAKING: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def schema_version() -> str:
    """Return the revision of the schema that this program reads and writes."""
    return known_revisions()[-1]


async def copy(url: str, folder: Path, busy_seconds: float) -> Copied:
    """Write a copy of the database that `store.url` names, and return the name of its file in `folder`.

    Raises:
        BackupUnusable: it cannot be written, or the database is damaged.
        StoreUnusable: pg_dump is not there, or failed.
        StoreUnavailable: the database was locked all the time.
    """
    database = database_of(url)
    if isinstance(database, SqliteFile):
        await asyncio.to_thread(_copy_sqlite, database.path, folder / SQLITE_COPY, busy_seconds)
        return SQLITE_COPY
    # A dump is one transaction of one view; the custom format is compressed, and what pg_restore takes.
    dump = ("--format=custom", f"--file={folder / POSTGRESQL_COPY}", f"--dbname={database.url}")
    await asyncio.to_thread(_run, "pg_dump", *dump)
    return POSTGRESQL_COPY


async def restore(url: str, file: Path) -> None:
    """Put a copy in the place that `store.url` names, wholly or not at all.

    Raises:
        BackupUnusable: there is a database already, or the copy is of another kind.
        StoreUnusable: the place cannot be used, or pg_restore is not there, or failed.
    """
    database = database_of(url)
    if (file.name == SQLITE_COPY) is not isinstance(database, SqliteFile):
        raise BackupUnusable(f"The backup's {file.name} is of another kind of database than store.url names.")
    await require_vacant(url)
    if isinstance(database, SqliteFile):
        await asyncio.to_thread(_put, file, database.path)
    else:
        whole = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
        await asyncio.to_thread(_run, "pg_restore", *whole, f"--dbname={database.url}", str(file))


async def require_vacant(url: str) -> None:
    """Return if there is no database where `store.url` says, or an empty one on a server.

    Raises:
        BackupUnusable: there is one.
        StoreUnusable, StoreUnavailable: the server cannot be used.
    """
    database = database_of(url)
    if not isinstance(database, SqliteFile):
        await require_empty(database)
        return
    there = [each for suffix in _BESIDE if (each := _with(database, suffix)).is_symlink() or each.exists()]
    if there:
        raise BackupUnusable(f"There is {there[0]} already; a backup is restored where there is none: move it away.")


def _with(database: SqliteFile, suffix: str) -> Path:
    return database.path.with_name(database.path.name + suffix)


def _copy_sqlite(source: Path, target: Path, busy_seconds: float) -> None:
    """Copy a database, page by page, into a file for its owner only."""
    os.close(os.open(target, _MAKING | os.O_EXCL, 0o600))
    engine = sqlite.looking_engine(source, busy_seconds)
    try:
        with engine.connect() as reading, closing(sqlite3.connect(target, isolation_level=None)) as copying:
            # All pages in one step: in several, whatever another process commits in between begins the copy anew.
            sqlite.driver_of(reading).backup(copying)
            copying.execute("PRAGMA journal_mode=DELETE")  # or it could not be read from where nobody can write
            found = copying.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except HsmkmsError:
        raise
    except Exception as error:
        raise meaning(error) from error
    finally:
        engine.dispose()
    if found != "ok":
        raise BackupUnusable(f"The database {source} is damaged ({found}); keep the backups you have.")


def _put(file: Path, target: Path) -> None:
    """Copy a file to where it was not, so that it is there whole or not at all."""
    new = target.with_name(f"{target.name}.restored")
    try:
        with file.open("rb") as source, os.fdopen(os.open(new, _MAKING | os.O_TRUNC, 0o600), "wb") as copying:
            shutil.copyfileobj(source, copying)
            copying.flush()
            os.fsync(copying.fileno())
        new.rename(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # or a power failure could forget the file's name
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreUnusable(
            f"The database {target} cannot be written ({error.strerror}); correct store.url."
        ) from error


def _run(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's own programs; store.url says all that it needs, and no password is in it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    ours["HOME"] = os.devnull  # or libpq takes a password file and certificates from there
    command = [program, "--no-password", *arguments]  # asking for one, it would wait for ever
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, and what the operator's own configuration names
            command, env=ours, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise StoreUnusable(
            f"{program} is not installed; install the PostgreSQL client of the server's version."
        ) from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise StoreUnusable(f"{program} could not do it ({said}); correct store.url, the server, or what is there.")
