"""As `integrity`, for PostgreSQL: whether the schema holds what this program made, and nothing that acts by itself.

Triggers, rules, views, row security and tables that inherit from ours can swallow what is written, or show other rows
than there are; so can a constraint or a default of somebody else's, and a function or an operator, because the server
prefers one for exactly a column's type to its own, wherever it is in `search_path`. The server's superuser can do all
that out of sight, too: this finds what is left in the catalogues.

Source: postgresql.org/docs/current/catalogs.html; /functions-info.html for how the server writes definitions.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    CheckConstraint,
    DefaultClause,
    Dialect,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import CreateIndex

from hsmkms.core.errors import StoreUnusable
from hsmkms.store.postgresql import SCHEMA
from hsmkms.store.schema import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Column, Connection, Constraint, Table

Part = tuple[str, str]
"""A kind of thing, and its name."""

_HERE: Final = "CAST(current_schema() AS regnamespace)"
_FOUND: Final = text(f"""
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view'
         WHEN 'm' THEN 'view' ELSE 'relation' END AS kind, relname AS name,
       CASE WHEN relkind = 'i' THEN pg_get_indexdef(oid)
            WHEN relkind = 'r' THEN concat(relpersistence, relrowsecurity, relforcerowsecurity)
            ELSE '' END AS definition
  FROM pg_class WHERE relnamespace = {_HERE} AND relkind <> 'c'
UNION ALL
SELECT 'column', concat(relname, '.', attname),
       concat(format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN ' NOT NULL' END,
              ' DEFAULT ' || pg_get_expr(adbin, adrelid), attidentity, attgenerated, ' COLLATE ' || collname)
  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  LEFT JOIN pg_collation ON pg_collation.oid = attcollation
 WHERE relnamespace = {_HERE} AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(pg_constraint.oid)
  FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
 WHERE relnamespace = {_HERE} AND contype <> 'n'
UNION ALL
SELECT 'trigger', tgname, '' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
 WHERE relnamespace = {_HERE} AND NOT tgisinternal
UNION ALL
SELECT 'rule', rulename, '' FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
 WHERE relnamespace = {_HERE} AND relkind = 'r'
UNION ALL
SELECT 'policy', polname, '' FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE relnamespace = {_HERE}
UNION ALL
SELECT 'table', child.relname, 'inherits' FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
  JOIN pg_class AS child ON child.oid = inhrelid WHERE parent.relnamespace = {_HERE} AND parent.relkind = 'r'
UNION ALL
SELECT 'function', proname, '' FROM pg_proc WHERE pronamespace = {_HERE}
UNION ALL
SELECT 'operator', oprname, '' FROM pg_operator WHERE oprnamespace = {_HERE}
""")  # noqa: S608 - our own words
"""Every part of the schema with its definition, as the server writes it."""

_PLAIN_TABLE: Final = "pff"
"""Of a table: it is permanent, and has no row security."""
_DIALECT: Final[Dialect] = PGDialect()  # type: ignore[no-untyped-call]
_TYPES: Final = {"VARCHAR": "character varying"}
_ORDER: Final = {"view": 0, "relation": 1, "table": 2, "function": 4, "operator": 4}
_ANY_OTHER: Final = 3
"""What is named first: the whole of what is wrong rather than a part of it, and what acts before what it calls."""
_NOISE: Final = re.compile(rf"::(?:text|character varying)|\b{SCHEMA}\.|USING btree|[()]")
"""What the server adds to a definition, or writes otherwise than SQLAlchemy."""


def require_untouched(connection: Connection, place: str, version_table: str) -> None:
    """Return if the newest schema in the database is exactly what this program makes.

    Args:
        connection: of the database.
        place: what to call it.
        version_table: the name of Alembic's table.

    Raises:
        StoreUnusable: it has a part of nobody's, or lacks or changed one.
    """
    expected, found = _expected(version_table), set()
    for kind, name, definition in sorted(map(tuple, connection.execute(_FOUND)), key=_order):
        part = (kind, name)
        if part not in expected:
            raise _spoilt(place, f"holds the {kind} {name}, which this program did not make")
        if _plain(definition) != expected[part]:
            raise _spoilt(place, f"holds the {kind} {name} otherwise than this program made it")
        found.add(part)
    lacking = sorted(expected.keys() - found, key=_order)
    if lacking:
        raise _spoilt(place, f"lacks the {' '.join(lacking[0])}")


def _order(part: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    return _ORDER.get(part[0], _ANY_OTHER), part


def _plain(definition: str) -> str:
    return " ".join(_NOISE.sub(" ", definition).split())


@cache
def _expected(version_table: str) -> Mapping[Part, str]:
    made = dict(_of_alembic(version_table))
    for table in METADATA.tables.values():
        made |= dict(_of_table(table))
    return {part: _plain(definition) for part, definition in made.items()}


def _of_alembic(name: str) -> Iterator[tuple[Part, str]]:
    yield ("table", name), _PLAIN_TABLE
    yield ("column", f"{name}.version_num"), "character varying(32) NOT NULL COLLATE default"
    yield ("constraint", f"{name}_pkc"), "PRIMARY KEY (version_num)"
    yield ("index", f"{name}_pkc"), f"CREATE UNIQUE INDEX {name}_pkc ON {name} (version_num)"


def _of_table(table: Table) -> Iterator[tuple[Part, str]]:
    yield ("table", table.name), _PLAIN_TABLE
    for column in table.columns:
        yield from _of_column(column)
    for constraint in table.constraints:
        yield from _of_constraint(constraint)
    for index in table.indexes:
        yield ("index", str(index.name)), str(CreateIndex(index).compile(dialect=_DIALECT))


def _of_column(column: Column[Any]) -> Iterator[tuple[Part, str]]:
    table = column.table.name
    written = column.type.compile(dialect=_DIALECT)
    kind, _, collation = written.partition(" COLLATE ")
    for name, word in _TYPES.items():
        kind = kind.replace(name, word)
    definition = kind if kind.startswith(tuple(_TYPES.values())) else kind.lower()
    if not column.nullable:
        definition += " NOT NULL"
    if column is column.table.autoincrement_column:
        sequence = f"{table}_{column.name}_seq"
        definition += f" DEFAULT nextval('{sequence}'::regclass)"
        yield ("sequence", sequence), ""
    elif isinstance(column.server_default, DefaultClause):
        definition += f" DEFAULT {column.server_default.arg}"
    if collation:
        definition += f" COLLATE {collation.strip(chr(34))}"
    yield ("column", f"{table}.{column.name}"), definition


def _of_constraint(constraint: Constraint) -> Iterator[tuple[Part, str]]:
    name, table = str(constraint.name), constraint.table.name
    match constraint:
        case PrimaryKeyConstraint() | UniqueConstraint():
            word = "PRIMARY KEY" if isinstance(constraint, PrimaryKeyConstraint) else "UNIQUE"
            columns = _listed(each.name for each in constraint.columns)
            yield ("constraint", name), f"{word} ({columns})"
            yield ("index", name), f"CREATE UNIQUE INDEX {name} ON {table} ({columns})"
        case ForeignKeyConstraint():
            there = constraint.elements[0].column
            yield (
                ("constraint", name),
                f"FOREIGN KEY ({_listed(constraint.column_keys)}) REFERENCES {there.table.name} ({there.name})",
            )
        case CheckConstraint():
            yield ("constraint", name), f"CHECK ({constraint.sqltext})"
        case _:
            raise TypeError(constraint)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _spoilt(place: str, what: str) -> StoreUnusable:
    return StoreUnusable(
        f"The database {place} {what}: somebody changed it, or it is damaged. Keep it as evidence, and restore a "
        "backup."
    )
