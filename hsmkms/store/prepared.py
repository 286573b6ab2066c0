"""The few statements that most requests make: compiled once by SQLAlchemy, and then run by SQLite's driver itself.

SQLAlchemy's way from a compiled statement to a row takes two to four times as long as the driver does
(docs/benchmarks.md), and an import makes a dozen of them. Of what it would convert, only truth values differ from what
the driver knows: `store.rows` makes them of 0 and 1. PostgreSQL is asked through SQLAlchemy, which notices a lost
connection; what lies between the two processes takes longer there than either.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Dialect, Executable

    Parameters = Mapping[str, object] | Sequence[Mapping[str, object]]

_MOST_SHAPES: Final = 500


class _Prepared(NamedTuple):
    """A statement as the driver takes it."""

    sql: str
    names: tuple[str, ...]
    """Of its parameters, in their order."""
    constants: Mapping[str, object]
    """Parameters that the statement brought with it."""

    def arguments(self, parameters: Mapping[str, object]) -> Sequence[object]:
        """Return the parameters as the driver takes them."""
        return [parameters[name] if name in parameters else self.constants[name] for name in self.names]


class Answer(NamedTuple):
    """What a statement came to."""

    rows: Sequence[Any]
    """Named tuples: columns are attributes."""
    rowcount: int
    """Of rows written."""

    def first(self) -> Any:  # noqa: ANN401 - a row of untyped columns
        """Return the first row, or None."""
        return self.rows[0] if self.rows else None


_shapes: dict[tuple[int, tuple[str, ...]], tuple[Executable, _Prepared]] = {}
_rows: dict[tuple[str, ...], Any] = {}


def run(connection: Connection, statement: Executable, parameters: Parameters) -> Answer:
    """Run a statement of `queries`; what SQLAlchemy or the driver raises is raised.

    Args:
        connection: in a transaction.
        statement: one that is built once: what is built anew each time would be prepared anew each time.
        parameters: by name; of several rows, all with the same names.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        result = connection.execute(statement, parameters)
        return Answer(result.all() if result.returns_rows else (), result.rowcount)
    if isinstance(parameters, Mapping):
        prepared = _prepared(statement, connection.dialect, tuple(parameters))
        cursor = driver.execute(prepared.sql, prepared.arguments(parameters))
    else:
        prepared = _prepared(statement, connection.dialect, tuple(parameters[0]))
        cursor = driver.executemany(prepared.sql, [prepared.arguments(each) for each in parameters])
    if cursor.description is None:
        return Answer((), cursor.rowcount)
    row = _row(tuple(column[0] for column in cursor.description))
    return Answer([row(*each) for each in cursor.fetchall()], cursor.rowcount)


def _prepared(statement: Executable, dialect: Dialect, names: tuple[str, ...]) -> _Prepared:
    key = id(statement), names
    kept = _shapes.get(key)
    if kept is not None:
        return kept[1]
    compiled = statement.compile(dialect=dialect, column_keys=list(names))  # type: ignore[attr-defined]
    constants = {name: value for name, value in compiled.params.items() if name not in names}
    prepared = _Prepared(str(compiled), tuple(compiled.positiontup), constants)
    if len(_shapes) < _MOST_SHAPES:
        _shapes[key] = statement, prepared  # the statement, too, so that its id is not given to another
    return prepared


def _row(names: tuple[str, ...]) -> Any:  # noqa: ANN401 - a class made at run time
    row = _rows.get(names)
    if row is None:
        row = _rows[names] = namedtuple("Row", names)  # noqa: PYI024 - its columns are known at run time only
    return row
