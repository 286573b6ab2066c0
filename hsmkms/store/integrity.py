"""Whether the database holds what the migrations made, and nothing that acts by itself.

SQLite keeps triggers and views in the file: one of them can swallow what is written, or show other rows than there are,
without a single row changed. A constraint can do so, too (`ON CONFLICT IGNORE`). So whoever uses the file first
compares every declaration in it with the tables' own.

Source: sqlite.org/schematab.html; /security.html on what may be in a file that others can write.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from hsmkms.core.errors import StoreUnusable
from hsmkms.store.schema import METADATA

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection

_SCHEMA: Final = text("SELECT type, name, sql FROM sqlite_schema ORDER BY type = 'table', name")
_OF_SQLITE: Final = "sqlite_"
"""How the names of what SQLite makes itself begin: nobody can create another thing of such a name."""
_VERSIONS: Final = "CREATE TABLE {0} ( version_num VARCHAR(32) NOT NULL, CONSTRAINT {0}_pkc PRIMARY KEY (version_num) )"
"""As Alembic makes it."""

Declaration = tuple[str, ...]
"""What is between its commas, in no order: a column that was added later comes before the constraints in the file."""


def require_untouched(connection: Connection, path: Path, version_table: str) -> None:
    """Return if the newest schema in the database is exactly what the migrations make.

    Args:
        connection: of the database.
        path: its file.
        version_table: the name of Alembic's table.

    Raises:
        StoreUnusable: it has a trigger, a view, a table or an index of nobody's, or lacks or changed one.
    """
    expected, found = _expected(version_table), set()
    for kind, name, sql in connection.execute(_SCHEMA):
        if kind in {"table", "index"} and name.startswith(_OF_SQLITE):
            continue
        if (kind, name) not in expected:
            raise _spoilt(path, f"holds the {kind} {name}, which this program did not make")
        if declaration(sql) != expected[kind, name]:
            raise _spoilt(path, f"holds the {kind} {name} otherwise than this program made it")
        found.add((kind, name))
    lacking = sorted(expected.keys() - found, key=lambda each: (each[0] != "table", each))
    if lacking:
        raise _spoilt(path, f"lacks the {' '.join(lacking[0])}")


def declaration(sql: str) -> Declaration:
    """Return what `CREATE` says, but for what differs between a table made at once and one that was altered.

    SQLite writes quotation marks around the name of a table that was renamed, as a batch of Alembic does.
    """
    return tuple(sorted(" ".join(part.replace('"', "").split()).rstrip(" )") for part in sql.split(",")))


@cache
def _expected(version_table: str) -> Mapping[tuple[str, str], Declaration]:
    dialect = sqlite.dialect()
    made = {("table", version_table): _VERSIONS.format(version_table)}
    for table in METADATA.tables.values():
        made["table", table.name] = str(CreateTable(table).compile(dialect=dialect))
        made |= {("index", str(each.name)): str(CreateIndex(each).compile(dialect=dialect)) for each in table.indexes}
    return {each: declaration(sql) for each, sql in made.items()}


def _spoilt(path: Path, what: str) -> StoreUnusable:
    return StoreUnusable(
        f"The database {path} {what}: somebody changed it, or it is damaged. Keep it as evidence, and restore a backup."
    )
