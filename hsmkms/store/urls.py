"""Where the database is: `store.url`, read without the library that speaks to databases.

Laws:

- a URL says all there is to say: nothing is taken from the environment or from a user's home;
- no secret is in a URL, and no sentence about a wrong one quotes from it;
- what goes over a network is encrypted, and the server proves to be the one that was meant.

Sources: RFC 3986; postgresql.org/docs/current/libpq-connect.html (names and meaning of the parameters),
/libpq-pgpass.html, /libpq-ssl.html (what each `sslmode` protects from).
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from hsmkms.core.errors import StoreUnusable

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = "postgresql://"
_EITHER: Final = "write sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE?..."
_FILE: Final = "write sqlite:///FILE; in FILE, %3F stands for a question mark and %25 for a percent sign"
_SERVER: Final = (
    "write postgresql://USER@HOST:PORT/DATABASE?NAME=VALUE&..., or postgresql://USER@/DATABASE?host=FOLDER for a Unix "
    "socket; %40 stands for an at sign and %2F for a slash"
)
_USE_A_PASSFILE: Final = (
    "it holds a password; write HOST:PORT:DATABASE:USER:PASSWORD into a file of mode 0600 instead, and name that with "
    "?passfile=FILE"
)
_REMOTE: Final = (
    "the server is on another machine: what is sent must be encrypted and the server's certificate proved, so leave "
    "sslmode at verify-full and name the certificates to trust with sslrootcert=FILE, or sslrootcert=system for those "
    "of the machine"
)
_AUTHORITY: Final = re.compile(
    r"(?P<user>[^:@/?#]+)(?P<secret>:[^/?#]*)?@(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::(?P<port>[0-9]{1,5}))?"
)
_PORT: Final = 5432
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PROVING: Final = ("verify-ca", "verify-full")
_PARAMETERS: Final = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "application_name")
"""What may follow the question mark."""
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "passfile")
_SYSTEM: Final = "system"
"""What `sslrootcert` says for the certificates that the machine trusts."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database that is a file."""

    path: Path

    @property
    def url(self) -> str:
        """The URL that `parse` reads this from."""
        return _SQLITE + quote(os.fsencode(self.path))

    def within(self, folder: Path) -> SqliteFile:
        """Return it with a relative path taken from `folder`."""
        return SqliteFile(folder / self.path)


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database of a PostgreSQL server; what the fields mean is libpq's."""

    user: str
    host: str
    """A name, an address, or the folder of a Unix socket."""
    port: int
    database: str
    sslmode: str
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    passfile: str | None = None
    application_name: str = "hsmkms"

    @property
    def socket_folder(self) -> Path | None:
        """The folder of the Unix socket; None if the server is spoken to through TCP."""
        return Path(self.host) if self.host.startswith("/") else None

    @property
    def is_remote(self) -> bool:
        """Whether what is sent leaves this machine."""
        return self.socket_folder is None and not _is_loopback(self.host)

    @property
    def files(self) -> dict[str, Path]:
        """The files it names, by the parameter that does."""
        named = {name: getattr(self, name) for name in _FILES}
        return {name: Path(file) for name, file in named.items() if file is not None and file != _SYSTEM}

    @property
    def url(self) -> str:
        """The URL that `parse` reads this from."""
        host = "" if self.socket_folder else f"[{self.host}]" if ":" in self.host else self.host
        told = {"host": self.host} if self.socket_folder else {}
        told |= {name: value for name in _PARAMETERS[1:] if (value := getattr(self, name)) is not None}
        query = "&".join(f"{name}={quote(os.fsencode(value))}" for name, value in told.items())
        user, database = quote(self.user, safe=""), quote(self.database, safe="")
        return f"{_POSTGRESQL}{user}@{host}:{self.port}/{database}?{query}"

    def within(self, folder: Path) -> PostgresDatabase:
        """Return it with relative paths taken from `folder`."""
        absolute: dict[str, Any] = {name: str(folder / path) for name, path in self.files.items()}
        return replace(self, **absolute)


Database = SqliteFile | PostgresDatabase


def parse(url: str) -> Database:
    """Return what `store.url` names.

    Another machine's server is refused unless `sslmode` is `verify-full`, which is what it is there if not given: with
    anything less, whoever is between the two could answer in its place, and records and the audit trail would be his.

    Raises:
        ValueError: it names no database, or one that may not be used like this; the message is the cure.
    """
    if url.startswith(_SQLITE):
        return _sqlite(url.removeprefix(_SQLITE))
    if url.startswith(_POSTGRESQL):
        return _postgresql(url.removeprefix(_POSTGRESQL))
    raise ValueError(_FILE if url.startswith("sqlite:") else _EITHER)


def database_of(url: str) -> Database:
    """Return what `store.url` names.

    Raises:
        StoreUnusable: it names none; the message has the cure.
    """
    try:
        return parse(url)
    except ValueError as error:
        raise StoreUnusable(f"store.url: {error}.") from error


def file_of(url: str) -> Path:
    """Return the SQLite file that `store.url` names.

    Raises:
        StoreUnusable: it names none, or another kind of database.
    """
    database = database_of(url)
    if not isinstance(database, SqliteFile):
        raise StoreUnusable(f"store.url: {_FILE}.")
    return database.path


def _sqlite(rest: str) -> SqliteFile:
    """Read what follows the slash.

    SQLAlchemy's `make_url` is not asked: it knows no way to write a question mark in a file's name.
    """
    path = _decoded(rest)
    if "?" in rest or path in {"", ":memory:"} or "\0" in path:
        raise ValueError(_FILE)
    return SqliteFile(Path(path))


def _postgresql(rest: str) -> PostgresDatabase:
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        # A password with a slash or an at sign in it does not look like one.
        raise ValueError(_USE_A_PASSFILE if ":" in place.rpartition("@")[0] else _SERVER)
    if found["secret"] is not None:
        raise ValueError(_USE_A_PASSFILE)
    if "#" in rest:
        raise ValueError(_SERVER)
    told = _parameters(query)
    socket_folder = told.pop("host", None)
    host = found["host"].strip("[]")
    port = int(found["port"] or _PORT)
    user, database = _decoded(found["user"]), _decoded(path)
    if not all(_is_name(each) for each in (user, database, *told.values())) or not 1 <= port <= 65535:  # noqa: PLR2004 - TCP's
        raise ValueError(_SERVER)
    if (socket_folder is None) == (host == ""):
        raise ValueError("name the server once: before the database, or as host=FOLDER of its Unix socket")
    if socket_folder is not None and not (socket_folder.startswith("/") and _is_name(socket_folder)):
        raise ValueError("host is the absolute path of the folder that the server's Unix socket is in")
    if socket_folder is not None and "," in socket_folder:  # libpq would take what follows for one more server
        raise ValueError("host is one folder, with no comma in its name")
    if found["host"].startswith("[") and not _is_address(host):
        raise ValueError(_SERVER)
    return _secured(PostgresDatabase(user, socket_folder or host, port, database, told.pop("sslmode", ""), **told))


def _parameters(query: str) -> dict[str, str]:
    told: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name == "password":
            raise ValueError(_USE_A_PASSFILE)
        if name not in _PARAMETERS:
            raise ValueError(f"it has a parameter that is not known here; known are {', '.join(_PARAMETERS)}")
        if name in told or value == "":
            raise ValueError(f"write {name} once, with a value")
        told[name] = _decoded(value)
    return told


def _secured(database: PostgresDatabase) -> PostgresDatabase:
    """Return the database with its `sslmode`, if that protects what is sent to it."""
    mode = database.sslmode or ("verify-full" if database.is_remote else "prefer")
    if mode not in _MODES:
        raise ValueError(f"sslmode is one of {', '.join(_MODES)}")
    if database.is_remote and (mode != "verify-full" or database.sslrootcert is None):
        raise ValueError(_REMOTE)
    if database.sslrootcert == _SYSTEM and mode != "verify-full":
        raise ValueError("sslrootcert=system trusts so many that sslmode must be verify-full")
    if mode in _PROVING and database.sslrootcert is None:
        raise ValueError(f"sslmode={mode} needs the certificates to trust: name their file with sslrootcert=FILE")
    if (database.sslcert is None) != (database.sslkey is None):
        raise ValueError("sslcert and sslkey belong together; name both or neither")
    return replace(database, sslmode=mode)


def _decoded(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))


def _is_name(text: str) -> bool:
    return text != "" and text.isprintable()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback if _is_address(host) else host == "localhost"
