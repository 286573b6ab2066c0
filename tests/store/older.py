"""Databases as older versions of this program left them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from alembic import command
from sqlalchemy import create_engine

from hsmkms.store.migrating import config_of
from hsmkms.store.versions import VERSION_TABLE

if TYPE_CHECKING:
    from pathlib import Path


def make(path: Path, revision: str) -> None:
    """Make an empty database of a revision."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(config_of(connection), revision)
    engine.dispose()
    path.chmod(0o600)


def rewind(path: Path, revision: str) -> None:
    """Make of a database that nobody has open one of an older revision, with all rows that this can hold."""
    newer = path.rename(path.with_name("newer.db"))
    make(path, revision)
    with closing(sqlite3.connect(path)) as database:
        database.execute("ATTACH ? AS newer", (str(newer),))
        with database:
            for table in _tables(database):
                columns = ", ".join(row[1] for row in database.execute(f"PRAGMA main.table_info({table})"))
                database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}")  # noqa: S608
    newer.unlink()


def _tables(database: sqlite3.Connection) -> list[str]:
    rows = database.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    return [name for (name,) in rows if name != VERSION_TABLE]
