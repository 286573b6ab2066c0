"""The few statements that most requests make: compiled once by SQLAlchemy, and then run by SQLite's driver itself.

SQLAlchemy's way from a compiled statement to a row takes two to four times as long as the driver does
(docs/benchmarks.md), and an import makes nine of them. Of what it would convert, only truth values differ from what
the driver knows: `store.rows` makes them of 0 and 1. PostgreSQL is asked through SQLAlchemy, which notices a lost
connection; what lies between the two processes takes longer there than either.
"""

from __future__ import annotations

import operator
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Executable

Parameters = Mapping[str, object] | list[dict[str, object]]
"""Of one run, or of several rows."""

_MOST_SHAPES: Final = 500


@dataclass(slots=True)
class _Prepared:
    """A statement as the driver takes it."""

    sql: str
    arguments: Callable[[Mapping[str, object]], Sequence[object]]
    """Returns parameters as the driver takes them."""
    row: Callable[[Sequence[object]], Any] | None = None
    """Makes a named tuple of a row; None until the statement has shown what its columns are."""


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
_rows: dict[tuple[str, ...], Callable[[Sequence[object]], Any]] = {}


def driver_of(connection: Connection) -> sqlite3.Connection | None:
    """Return what `run` runs the connection's statements by, if not by SQLAlchemy."""
    driver = connection.connection.driver_connection
    return driver if isinstance(driver, sqlite3.Connection) else None


def run(
    connection: Connection, driver: sqlite3.Connection | None, statement: Executable, parameters: Parameters
) -> Answer:
    """Run a statement of `queries`; what SQLAlchemy or the driver raises is raised.

    Args:
        connection: in a transaction.
        driver: `driver_of` the connection, looked up once for many statements.
        statement: one that is built once: what is built anew each time would be prepared anew each time.
        parameters: by name; of several rows, all with the same names in the same order.
    """
    if driver is None:
        result = connection.execute(statement, parameters)
        return Answer(result.all() if result.returns_rows else (), result.rowcount)
    if isinstance(parameters, list):  # not a test for a Mapping, which takes ten times as long
        prepared = _prepared(statement, connection, tuple(parameters[0]))
        cursor = driver.executemany(prepared.sql, [prepared.arguments(each) for each in parameters])
    else:
        prepared = _prepared(statement, connection, tuple(parameters))
        cursor = driver.execute(prepared.sql, prepared.arguments(parameters))
    if cursor.description is None:
        return Answer((), cursor.rowcount)
    if prepared.row is None:
        prepared.row = _row(tuple(column[0] for column in cursor.description))
    return Answer([prepared.row(each) for each in cursor.fetchall()], cursor.rowcount)


def _prepared(statement: Executable, connection: Connection, names: tuple[str, ...]) -> _Prepared:
    key = id(statement), names
    kept = _shapes.get(key)
    if kept is not None:
        return kept[1]
    prepared = _compiled(statement, connection.dialect, names)
    if len(_shapes) < _MOST_SHAPES:
        _shapes[key] = statement, prepared  # the statement, too, so that its id is not given to another
    return prepared


def _compiled(statement: Executable, dialect: Dialect, names: tuple[str, ...]) -> _Prepared:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))  # type: ignore[attr-defined]
    wanted: tuple[str, ...] = tuple(compiled.positiontup)
    constants = {name: value for name, value in compiled.params.items() if name not in names}

    def in_order(parameters: Mapping[str, object]) -> Sequence[object]:
        return tuple(parameters.values())

    def by_name(parameters: Mapping[str, object]) -> Sequence[object]:
        return [parameters[name] if name in parameters else constants[name] for name in wanted]

    if wanted == names:
        return _Prepared(str(compiled), in_order)
    if len(wanted) > 1 and not constants:
        return _Prepared(str(compiled), operator.itemgetter(*wanted))
    return _Prepared(str(compiled), by_name)


def _row(names: tuple[str, ...]) -> Callable[[Sequence[object]], Any]:
    row = _rows.get(names)
    if row is None:
        made: Any = namedtuple("Row", names)  # type: ignore[misc]  # noqa: PYI024 - its columns are known at run time
        row = _rows[names] = made._make
    return row
