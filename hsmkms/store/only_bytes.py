"""An expression that databases differ in: a column of bytes, NULL where something else is in it.

SQLite keeps whatever it is given, and its driver cannot even decode a text that is none; PostgreSQL keeps bytes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


class OnlyBytes(FunctionElement[bytes]):
    """The value of a column if it is bytes."""

    type = LargeBinary()
    inherit_cache = True


@compiles(OnlyBytes)
def _checked(element: OnlyBytes, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    column = compiler.process(element.clauses, **options)
    return f"CASE WHEN typeof({column}) = 'blob' THEN {column} END"


@compiles(OnlyBytes, "postgresql")
def _plain(element: OnlyBytes, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return compiler.process(element.clauses, **options)
