"""A PostgreSQL server of the tests' own: in a temporary folder, as an unprivileged user, gone with the test process.

It listens on a Unix socket that only its own user and root reach, and on a port of 127.0.0.1 with passwords
(SCRAM-SHA-256). Commits are flushed to disk, as in earnest: crashes are part of the tests.

Sources: postgresql.org/docs/current/app-initdb.html, /runtime-config.html, /server-shutdown.html (SIGINT is the fast
shutdown, SIGQUIT the immediate one); setpriv(1).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

OWNER: Final = "hsmkms"
"""The role that owns the tests' databases; no superuser, as in earnest."""
PASSWORD: Final = "made up for tests"
_SUPERUSER: Final = "postgres"
_SECONDS: Final = 60.0
_FOLDERS: Final = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
"""Where Debian, Red Hat and PostgreSQL's own build put what is not on PATH."""
_FIRST_PORT: Final = 20_000 + os.getpid() % 200 * 50
_SETTINGS: Final[Mapping[str, str]] = {
    "autovacuum": "off",  # the databases live for one test
    "deadlock_timeout": "50ms",
    "fsync": "on",
    "full_page_writes": "on",
    "jit": "off",
    "log_min_messages": "warning",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "shared_buffers": "32MB",
    "synchronous_commit": "on",
    "unix_socket_permissions": "0700",
}


def program(name: str) -> Path:
    """Return the path of one of the server's programs; the newest version's where there are several."""
    if found := shutil.which(name):
        return Path(found).resolve()
    candidates = [each for pattern in _FOLDERS for each in Path("/").glob(f"{pattern.lstrip('/')}/{name}")]
    assert candidates, f"{name} is not installed; install the package postgresql"
    return max(candidates, key=lambda path: [int(part) for part in path.parts if part.isdigit()])


@dataclass
class PostgresServer:
    """A server with its data below `folder`; `start` it, and `stop` it in the end."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _made: int = 0

    @classmethod
    def make(cls, folder: Path) -> PostgresServer:
        """Make its data in `folder`: one of a short path, since a socket's may have 107 characters."""
        server = cls(folder, _free_port())
        folder.chmod(0o711)  # the server's user goes through it; nobody sees what is in it
        for private in (server.data, server.socket_folder):
            private.mkdir(0o700)
            if os.geteuid() == 0:
                os.chown(private, *_unprivileged())
        done = subprocess.run(
            [
                *_as_unprivileged(),
                *(str(program("initdb")), "--pgdata", str(server.data), "--username", _SUPERUSER),
                *("--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                *("--no-sync", "--no-instructions"),
            ],
            capture_output=True,
            cwd="/",
            env=_environment(),
            check=False,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, done.stderr.decode()
        make_certificate(folder)
        server.certificate.chmod(0o644)  # whatever umask a command of ours has left in this process
        if os.geteuid() == 0:
            os.chown(server.key, *_unprivileged())
        return server

    @property
    def key(self) -> Path:
        """The private key of its certificate."""
        return self.folder / "server.key"

    @property
    def certificate(self) -> Path:
        """Its certificate, for clients to trust."""
        return self.folder / "server.crt"

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    @property
    def socket_folder(self) -> Path:
        """The folder of its Unix socket."""
        return self.folder / "socket"

    @property
    def log(self) -> Path:
        """What it wrote to standard error."""
        return self.folder / "log"

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert not self.is_running
        places = {"unix_socket_directories": str(self.socket_folder), "listen_addresses": "127.0.0.1"}
        secured = {"ssl": "on", "ssl_cert_file": str(self.certificate), "ssl_key_file": str(self.key)}
        settings = {**_SETTINGS, **places, **secured, "port": str(self.port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # The parent-death signal comes when this process is killed, too: the server never outlives it.
                [*_as_unprivileged("--pdeathsig", "QUIT"), str(program("postgres")), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
            )
        self._until_it_answers()
        with self.administering() as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone() is None:
                role, password = sql.Identifier(OWNER), sql.Literal(PASSWORD)
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """End it if it runs: SIGINT disconnects everybody and shuts down well, SIGQUIT is as good as a crash."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(_SECONDS)

    def restart(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it, and start it again on the same port and socket."""
        self.stop(how=how)
        self.start()

    # --- databases ---------------------------------------------------------------------------------------

    def create_database(self, template: str = "template0", encoding: str = "UTF8") -> str:
        """Create a database that nobody else has, as a copy of `template`, and return its name."""
        self._made += 1
        name = f"test_{self._made}"
        with self.administering() as connection:
            statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} ENCODING {}")
            connection.execute(statement.format(*map(sql.Identifier, (name, OWNER, template)), sql.Literal(encoding)))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever still uses it."""
        with self.administering() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def database(self, template: str = "template0", encoding: str = "UTF8") -> Iterator[str]:
        """Return the name of a database that is there for the block."""
        name = self.create_database(template, encoding)
        try:
            yield name
        finally:
            if self.is_running:
                self.drop_database(name)

    def url(self, database: str) -> str:
        """Return what to write in `store.url`, through the Unix socket."""
        return f"postgresql://{OWNER}@:{self.port}/{database}?host={quote(str(self.socket_folder))}"

    def tcp_url(self, database: str, **parameters: object) -> str:
        """Return what to write in `store.url`, through TCP and with these parameters."""
        query = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
        return f"postgresql://{OWNER}@localhost:{self.port}/{database}?{query}"

    def write_passfile(self, path: Path, password: str = PASSWORD) -> Path:
        """Write libpq's password file."""
        path.touch(0o600)
        path.write_text(f"localhost:{self.port}:*:{OWNER}:{password}\n")
        return path

    def connect(self, database: str, user: str = OWNER) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection to a database, each of whose statements is a transaction."""
        host = str(self.socket_folder)
        return psycopg.connect(host=host, port=self.port, user=user, dbname=database, autocommit=True)

    def administering(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a superuser's connection."""
        return self.connect("postgres", _SUPERUSER)

    def _until_it_answers(self) -> None:
        deadline = time.monotonic() + _SECONDS
        while True:
            assert self.is_running, self.log.read_text()
            try:
                self.administering().close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)
            else:
                return


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Run a server for the block; nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="hsmkms-pg-"))
    try:
        server = PostgresServer.make(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def make_certificate(folder: Path) -> None:
    """Make a certificate for localhost that is its own root, and its private key, in `folder`."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt"))
    command = ("openssl", "req", "-x509", *curve, "-nodes", "-days", "2", *names, *files)
    subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS)


def _unprivileged() -> tuple[int, int]:
    """Return user and group for the server where the tests run as root, whom it refuses to serve."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    message = "there is no user postgres and none called nobody"
    raise AssertionError(message)


def _as_unprivileged(*arguments: str) -> list[str]:
    """Return the command that gives up root's rights; what it is given follows."""
    user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        uid, gid = _unprivileged()
        user = ("--reuid", str(uid), "--regid", str(gid), "--clear-groups")
    return ["setpriv", *user, *arguments, "--"] if user or arguments else []


def _environment() -> dict[str, str]:
    """Return an environment without anything of libpq's or of the user's language."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _free_port() -> int:
    """Return a port that connections are not given by the kernel: the server must find it free after a restart, too."""
    for port in range(_FIRST_PORT, _FIRST_PORT + 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    message = "no free port"
    raise AssertionError(message)
