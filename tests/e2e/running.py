"""A real instance and a running service, driven only from outside: commands, HTTP, the official SDKs, /proc."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.huawei_client import HuaweiClient
from tests.e2e.tencent_client import TencentClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HSMKMS: Final = (sys.executable, "-m", "hsmkms")
COMMAND_SECONDS: Final = 60
START_SECONDS: Final = 60
SHARED_PAIRS: Final = "\n[import]\ntickets_per_pair = 1000\nready_pairs = 1\n"
"""RSA pairs cost 0.2 s each: tests share them, except where a pair's end is what is tested."""
KEYS_PER_ACCOUNT: Final = 50
"""A limit of the `sm` service that the tests share."""
GET_PARAMETERS_BURST: Final = 40
"""Another one."""
_FOR_TESTS: Final = {
    "limits": {"requests_per_second_per_api": 0, "get_parameters_burst": 0},
    "import": {"failure_deadline_milliseconds": 10},
}
EVERY_ROLE: Final = "admin,importer,user,auditor"
ALGORITHM_OF: Final = {"softhsm": "RSAES_OAEP_SHA_1", "nss": "RSAES_OAEP_SHA_256"}
"""What each test token unwraps, and the issue asks for."""


def _with_defaults(configuration: str, section: str, defaults: dict[str, int]) -> str:
    """Return the end of a configuration with what it does not say itself."""
    head = f"[{section}]\n"
    lines = "".join(f"{name} = {value}\n" for name, value in defaults.items() if name not in configuration)
    return configuration.replace(head, head + lines) if head in configuration else f"{configuration}\n{head}{lines}"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, outside of the range that connections are given ports from.

    Each test process has ports of its own to try: two that run at once must not choose the same.
    """
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    message = "no free port"
    raise AssertionError(message)


_FIRST_PORT: Final = 10_000 + os.getpid() % 200 * 100
_PORTS: Final = itertools.chain(range(_FIRST_PORT, _FIRST_PORT + 100), range(30_000, 32_000))


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> Any:
    """Return the first true value of `condition`; fail after `seconds`.

    What takes long is asked for less and less often: the asking takes processor time from what is waited for.
    """
    begun = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begun
        if waited > seconds:
            message = f"{what}: not within {seconds:g} seconds"
            raise AssertionError(message)
        time.sleep(min(max(0.02, waited / 10), 0.1))
    return value


def hsmkms(
    *arguments: str, expect: int | None = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end; `env` is added to the environment."""
    done = subprocess.run(
        [*HSMKMS, *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    if expect is not None:
        assert done.returncode == expect, (arguments, done.returncode, done.stdout, done.stderr)
    return done


@dataclass
class Instance:
    """A folder made by `hsmkms new`."""

    folder: Path
    token: str
    edition: str
    port: int
    config_name: str = "hsmkms.toml"

    @classmethod
    def make(
        cls,
        folder: Path,
        token: str = "softhsm",
        edition: str = "fips",
        extra: str = SHARED_PAIRS,
        env: dict[str, str] | None = None,
    ) -> Instance:
        """Make one; `extra` is appended to its configuration, `env` added to the environment of `hsmkms new`.

        Without an environment of its own it is a copy of the first of its kind: a token takes a second to initialise.
        Tests ask as often as they like, and are told of failed imports almost at once, unless `extra` says otherwise.
        """
        instance = _first_of(token, edition).copy(folder) if env is None else cls.new(folder, token, edition, env)
        for section, defaults in _FOR_TESTS.items():
            extra = _with_defaults(extra, section, defaults)
        instance.config.write_text(instance.config.read_text() + extra)
        return instance

    @classmethod
    def new(cls, folder: Path, token: str, edition: str, env: dict[str, str] | None = None) -> Instance:
        """Run `hsmkms new`, with `env` added to the environment."""
        port = free_port()
        hsmkms("new", str(folder), "--token", token, "--edition", edition, "--port", str(port), env=env)
        return cls(folder, token, edition, port)

    def copy(self, folder: Path) -> Instance:
        """Return a copy of this instance, which is not running, in a folder and on a port of its own."""
        shutil.copytree(self.folder, folder)
        copy = replace(self, folder=folder, port=free_port())
        copy.replace(f"port = {self.port}", f"port = {copy.port}")
        for name in ("hsmkms.toml", "softhsm2.conf", "nss/pkcs11.txt"):
            file = folder / name
            if file.exists():
                file.write_text(file.read_text().replace(str(self.folder), str(folder)))
        return copy

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.folder / self.config_name

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.folder / "hsmkms.db"

    @property
    def algorithm(self) -> str:
        """The wrapping algorithm to test its token with."""
        return ALGORITHM_OF[self.token]

    @property
    def material_bytes(self) -> int:
        """The length that its edition imports."""
        return 32 if self.edition == "fips" else 16

    def credential(self) -> dict[str, str]:
        """Its credential.json."""
        return dict(json.loads((self.folder / "credential.json").read_text()))

    def another_credential(self, account: str, *flags: str, roles: str = EVERY_ROLE) -> dict[str, str]:
        """Make a credential of any account."""
        wanted = ("--account", account, "--roles", roles, "--json", *flags)
        made = hsmkms("credential", "create", "--config", str(self.config), *wanted)
        return dict(json.loads(made.stdout))

    def replace(self, old: str, new: str) -> None:
        """Change its configuration."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def holds_material(self, key_id: str) -> bool:
        """Tell from the database whether a key holds material."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as database:
            found = database.execute("SELECT count(*) FROM materials WHERE key_id = ?", (key_id,))
            return bool(found.fetchone()[0])

    def variant(self, name: str, changes: dict[str, str]) -> Instance:
        """Return the same folder under another configuration: a copy with each text replaced."""
        other = replace(self, config_name=f"{name}.toml")
        other.config.write_text(self.config.read_text())
        for old, new in changes.items():
            other.replace(old, new)
        return other

    @contextlib.contextmanager
    def serving(self) -> Iterator[RunningService]:
        """Run its service for the block."""
        service = RunningService(self)
        service.start()
        try:
            yield service
        finally:
            service.end()


@functools.cache
def _first_of(token: str, edition: str) -> Instance:
    """Return the instance that those of its kind are copied from; it is removed with the process."""
    folder = Path(tempfile.mkdtemp(prefix="hsmkms-tests-"))
    atexit.register(shutil.rmtree, folder)
    return Instance.new(folder / "first", token, edition)


@dataclass
class RunningService:
    """`hsmkms serve` as a child of the test."""

    instance: Instance
    process: subprocess.Popen[bytes] = field(init=False)
    log: Path = field(init=False)
    _open: list[HuaweiClient] = field(default_factory=list, repr=False)

    def start(self, *, ready: bool = True, env: dict[str, str] | None = None) -> None:
        """Start it with `env` added to its environment, and wait until it is ready."""
        self.log = self.instance.folder / f"serve-{secrets.token_hex(3)}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*HSMKMS, "serve", "--config", str(self.instance.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        if ready:
            self.until_ready()

    def until_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait for /readyz."""

        def is_ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return self.get("/readyz")[0] == 200

        until(is_ready, "ready", seconds)

    def get(self, path: str) -> tuple[int, bytes]:
        """GET a path; status 0 when there is no answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.endpoint}{path}", timeout=10) as answer:
                return int(answer.status), bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, ValueError):
            return 0, b""

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def end(self) -> None:
        """Leave nothing running."""
        while self._open:
            self._open.pop().close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def endpoint(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.instance.port}"

    def children(self) -> dict[int, str]:
        """Return the process ids of the web process and the hosts, and what each is: `web` or `host`."""
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == self.process.pid:
                command = _read(entry / "cmdline")
                found[int(entry.name)] = "web" if b"web_process" in command else "host"
        return found

    def pids(self, kind: str) -> list[int]:
        """Return the process ids of one kind of child."""
        return [pid for pid, each in self.children().items() if each == kind]

    def serving_hosts(self) -> list[int]:
        """Return the process ids of the hosts that do not make pairs."""
        return [pid for pid in self.pids("host") if b"pair-host" not in _read(Path(f"/proc/{pid}/cmdline"))]

    def attempts(self, key_id: str) -> int:
        """Return how many attempts are counted on the import tokens of a key."""
        with contextlib.closing(sqlite3.connect(self.instance.database, timeout=10)) as database:
            rows = database.execute("SELECT sum(attempts) FROM tickets WHERE key_id = ?", (key_id,))
            return int(rows.fetchone()[0] or 0)

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what the service logged, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def verbs(self, verb: str) -> int:
        """Return how many verbs of this name reached a host (needs log.level = "debug")."""
        return sum(1 for line in self.log_lines() if line.get("event") == "verb" and line.get("verb") == verb)

    def client(self, keys: dict[str, str] | None = None, **profile: Any) -> TencentClient:
        """Return a client of Tencent's official SDK."""
        return TencentClient(self.endpoint, keys or self.instance.credential(), self.instance.algorithm, **profile)

    def huawei(self, keys: dict[str, str] | None = None, **config: Any) -> HuaweiClient:
        """Return a client of Huawei's official SDK, which is closed at the end of the service."""
        client = HuaweiClient(self.endpoint, keys or self.instance.credential(), self.instance.algorithm, **config)
        self._open.append(client)
        return client


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Let processes hang for the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    state = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return bool(state) and state[0] not in {b"Z", b"X"}


def _parent(entry: Path) -> int:
    fields = _read(entry / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
