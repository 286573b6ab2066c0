"""What only PostgreSQL can do: its connections, what its errors mean, and what a server must be like.

Sources: postgresql.org/docs/current, /libpq-connect.html, /runtime-config-client.html, /errcodes-appendix.html,
/explicit-locking.html (13.3.5, advisory locks); SQLAlchemy, "PostgreSQL", psycopg dialect.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, create_engine, event, func, select, text

from hsmkms.core.errors import StoreUnusable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

    from hsmkms.store.urls import PostgresDatabase

DRIVER: Final = "postgresql+psycopg"
READERS: Final = 8
WRITERS: Final = 8
"""Connections: what each waits for is the server, so more than there are cores are of use."""
SCHEMA: Final = "public"
INITIALISING: Final = 0x68736D6B6D730001
"""The advisory lock of whoever initialises the deployment or changes the schema: "hsmkms", and a number."""

_OLDEST: Final = 140000
"""PostgreSQL 14, the oldest that is still maintained (postgresql.org/support/versioning)."""
_ABANDONED_SECONDS: Final = 60
"""After which the server undoes a transaction that its client has left open: a frozen node must not keep its locks."""
_KEEPALIVE: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""Seconds, seconds and a number: a server that is gone without a word is noticed before `busy_seconds` are over."""

_NO_FILE: Final = "/dev/null/none"
"""There cannot be one. Where none is named, libpq takes those in its user's home."""

_PASSING: Final = ("08", "25P03", "40", "53", "55P03", "57", "58")
"""Beginnings of the SQLSTATEs after which trying later is right: no connection, a transaction that stood still for too
long, a conflict, no resources, a lock or a statement that took too long or a server that stops, and its disk."""
_READ_ONLY: Final = "25006"
"""The server is a standby, as it may be for the moment in which another takes over."""
_AGAIN: Final = ("40001", "40P01")
"""A conflict of two transactions, or a deadlock, of which PostgreSQL undid this one."""
_SETTINGS: Final = (
    ("server_encoding", ("UTF8",), "create the database with ENCODING 'UTF8'"),
    ("fsync", ("on",), "set it to on: a power failure would undo imports that were answered"),
    ("full_page_writes", ("on",), "set it to on: a power failure would damage the database"),
    ("synchronous_commit", ("on", "local", "remote_write", "remote_apply"), "set it to on for this database"),
)
"""What must be set to what, and the cure."""
_NOT_ALLOWED: Final = ("42501", "3F000")
"""No privilege, or no schema to have one in."""
_REFUSALS: Final = (
    "password authentication failed",
    "authentication failed for user",
    "no password supplied",
    "no pg_hba.conf entry",
    "certificate",
    "does not exist",
    "permission denied for database",
    "does not support SSL",
)
"""Parts of what libpq says when trying later will not help; it gives no code for a connection that did not come about.
Where it speaks another language, its sentence is in the log, and the command may be tried again for nothing."""


def reading_engine(database: PostgresDatabase, busy_seconds: float) -> Engine:
    """Return the engine of the connections that read; each transaction has one view.

    Args:
        database: where it is.
        busy_seconds: how long a statement may take, and wait for a lock.
    """
    engine = _engine(database, busy_seconds, connections=READERS, isolation="REPEATABLE READ")
    event.listen(engine, "connect", _read_only)
    return engine


def glancing_engine(database: PostgresDatabase, busy_seconds: float) -> Engine:
    """Return the engine of the connections of which each statement is a transaction."""
    return _engine(database, busy_seconds, connections=READERS, isolation="AUTOCOMMIT")


def writing_engine(database: PostgresDatabase, busy_seconds: float) -> Engine:
    """Return the engine of the connections that write: each statement sees what is committed by then.

    There is one more than `WRITERS`, for whoever initialises.
    """
    return _engine(database, busy_seconds, connections=WRITERS + 1, isolation="READ COMMITTED")


def claiming_engine(database: PostgresDatabase, busy_seconds: float) -> Engine:
    """Return the engine of the one connection whose session stands for a serving node."""
    return _engine(database, busy_seconds, connections=1, isolation="AUTOCOMMIT")


def _engine(database: PostgresDatabase, busy_seconds: float, *, connections: int, isolation: str) -> Engine:
    _forget_environment()
    milliseconds = int(busy_seconds * 1000)
    settings = {
        "search_path": f"{SCHEMA},pg_temp",  # or a table in another schema could stand in for one of ours
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": _ABANDONED_SECONDS * 1000,
        "default_transaction_read_only": "off",
        # The other way round: the locks of a node that is gone without a word are gone as soon.
        **{f"tcp_{name}": value for name, value in _KEEPALIVE.items()},
        "tcp_user_timeout": milliseconds,
    }
    told = {name: getattr(database, name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey", "passfile")}
    told |= {name: told[name] or _NO_FILE for name in ("sslrootcert", "sslcert", "passfile")}
    engine = create_engine(
        URL.create(DRIVER, database.user, None, database.host, database.port, database.database),
        connect_args={
            **{name: value for name, value in told.items() if value is not None},
            **_KEEPALIVE,
            "application_name": database.application_name,
            "client_encoding": "utf8",
            "connect_timeout": max(2, int(busy_seconds)),  # libpq takes less for no limit
            "gssencmode": "disable",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            "tcp_user_timeout": milliseconds,
        },
        isolation_level=isolation,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=busy_seconds,
        pool_use_lifo=True,
        hide_parameters=True,
        use_native_hstore=False,
    )
    event.listen(engine, "handle_error", _be_terse)
    return engine


def _forget_environment() -> None:
    """Forget libpq's variables: the configuration says all, and nothing of it is overridden by the environment."""
    for name in [each for each in os.environ if each.startswith("PG")]:
        del os.environ[name]


def _read_only(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.read_only = True


def _be_terse(context: ExceptionContext) -> None:
    """Leave out of an error what the server adds to its first sentence: the values of the row, for example."""
    error = context.original_exception
    sentence = getattr(getattr(error, "diag", None), "message_primary", None)
    if sentence is not None:
        for each in (error, context.sqlalchemy_exception):
            if each is not None:
                each.args = (sentence,)


# --- errors ----------------------------------------------------------------------------------------------


def is_passing(error: BaseException) -> bool | None:
    """Tell whether trying later is right after an error of the driver; None if the server said nothing."""
    state = _state(error)
    return None if state is None else state.startswith(_PASSING) or state == _READ_ONLY


def is_again(error: BaseException | None) -> bool:
    """Tell whether the server undid a transaction that another one got in the way of."""
    return _state(error) in _AGAIN


def constraint_of(error: BaseException) -> str | None:
    """Return the name of the constraint that a statement violates."""
    name: str | None = getattr(getattr(error, "diag", None), "constraint_name", None)
    return name


def why_unusable(error: BaseException, place: str) -> str | None:
    """Return the sentence about an error that the operator can mend, with libpq's own in it; None if it is none."""
    said = " ".join(str(error).split())
    if _state(error) in _NOT_ALLOWED:
        return f"PostgreSQL does not let this user work in {place} ({said}); make him the owner of the database."
    if _state(error) is None and any(each in said for each in _REFUSALS):
        return f"PostgreSQL cannot be used for {place} ({said}); correct store.url, what it names, or the server."
    return None


def _state(error: BaseException | None) -> str | None:
    state: str | None = getattr(error, "sqlstate", None)
    return state


# --- the server ------------------------------------------------------------------------------------------


def require_server(connection: Connection, place: str) -> None:
    """Return if the server keeps what it has committed, and text as it was given.

    Raises:
        StoreUnusable: it is too old, or is set up so that it does not.
    """
    for setting, good, cure in _SETTINGS:
        value = connection.execute(text(f"SHOW {setting}")).scalar_one()
        if value not in good:
            raise StoreUnusable(f"PostgreSQL has {setting} = {value} for {place}; {cure}.")
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version < _OLDEST:
        raise StoreUnusable(f"PostgreSQL {version // 10000} is too old for {place}; install 14 or a newer one.")


def lock(connection: Connection, number: int) -> None:
    """Hold the advisory lock of this number until the transaction ends."""
    connection.execute(_LOCK, {"number": number})


def try_lock(connection: Connection, number: int) -> bool:
    """Hold the advisory lock of this number until the session ends; False if another session does."""
    return bool(connection.execute(_TRY_LOCK, {"number": number}).scalar_one())


def lock_number(purpose: str, node: str) -> int:
    """Return an advisory lock of a node: one of 2^64, by its name."""
    digest = hashlib.sha256(f"hsmkms {purpose}\0{node}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


_NUMBER: Final = text("CAST(:number AS bigint)")
_LOCK: Final[Any] = select(func.pg_advisory_xact_lock(_NUMBER))
_TRY_LOCK: Final[Any] = select(func.pg_try_advisory_lock(_NUMBER))


def be_patient(connection: Connection, seconds: float) -> None:
    """Let this transaction wait `seconds` for a lock, and its client take as long as he needs."""
    milliseconds = int(seconds * 1000)
    for setting, value in (
        ("lock_timeout", milliseconds),
        ("statement_timeout", milliseconds),
        ("idle_in_transaction_session_timeout", 0),
    ):
        connection.execute(text(f"SET LOCAL {setting} = {value}"))
