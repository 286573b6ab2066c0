"""A throw-away instance, its running service, and what CPU its processes use."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms import config
from hsmkms.client.credential import ClientCredential
from hsmkms.core.ids import AccessId
from hsmkms.core.secrets import SecretKey
from hsmkms.instance import CONFIGURATION_FILE, CREDENTIAL_FILE
from scripts.benchmark.trouble import NotStartedError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping

HOST: Final = "127.0.0.1"
WEB: Final = "web"
HOSTS: Final = "hosts"
PAIRS: Final = "pairs"
CLIENT: Final = "client"
OTHERS: Final = "others"
_HSMKMS: Final = (sys.executable, "-I", "-m", "hsmkms")
_MANY_TICKETS: Final = "\n[import]\ntickets_per_pair = 1000\n"
"""Generating RSA pairs takes the token 0.2 s each: with one for each ticket it would be all that is measured."""
_NO_LIMITS: Final = "\n[limits]\nrequests_per_second_per_api = 0\nget_parameters_burst = 0\n"
"""One account asks for all, as often as the service can answer."""
SETTINGS: Final = "tickets_per_pair = 1000; requests_per_second_per_api = 0 and get_parameters_burst = 0: no limits"
"""Where the service's configuration is not that of `hsmkms new`."""
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_LOG_LINES: Final = 15
_STAT: Final = Path("/proc/stat")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Instance:
    """A folder made by `hsmkms new`."""

    folder: Path
    port: int

    @classmethod
    async def make(cls, folder: Path) -> Instance:
        """Make one with a SoftHSM token of its own.

        Raises:
            NotStartedError: the command failed; what it said is on standard error.
        """
        port = _free_port()
        wish = ("--token", "softhsm", "--edition", "fips", "--port", str(port))
        log = folder.with_suffix(".log")
        with log.open("wb") as written:
            command = (*_HSMKMS, "new", str(folder), *wish)
            making = await asyncio.create_subprocess_exec(*command, stdout=written, stderr=written)
            try:
                code = await making.wait()
            finally:
                if making.returncode is None:
                    making.kill()
        if code:
            raise NotStartedError(f"'hsmkms new' failed:\n{_end_of(log)}")
        configuration = folder / CONFIGURATION_FILE
        written_by_new = configuration.read_text(encoding="utf-8")
        configuration.write_text(written_by_new + _MANY_TICKETS + _NO_LIMITS, encoding="utf-8")
        return cls(folder, port)

    @property
    def hosts(self) -> int:
        """The number of processes that will use the token for requests."""
        return config.load(self.folder / CONFIGURATION_FILE).hsm.hosts

    def _credential(self) -> dict[str, str]:
        text = (self.folder / CREDENTIAL_FILE).read_text(encoding="utf-8")
        return {name: str(value) for name, value in json.loads(text).items()}

    @property
    def account(self) -> str:
        """Whose the credential is."""
        return self._credential()["account"]

    @property
    def credential(self) -> ClientCredential:
        """The credential with all roles."""
        members = self._credential()
        return ClientCredential(AccessId(members["secret_id"]), SecretKey(members["secret_key"].encode()))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Service]:
        """Run the service for the block.

        Raises:
            NotStartedError: it is not ready in time.
        """
        log = self.folder / "serve.log"
        with log.open("wb") as written:
            # A session of its own: the terminal's Ctrl-C is for the bench, which then stops the service in order.
            process = await asyncio.create_subprocess_exec(
                *_HSMKMS,
                "serve",
                "--config",
                str(self.folder / CONFIGURATION_FILE),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
        service = Service(process, self.port, log)
        try:
            await service.until_ready()
            yield service
        finally:
            await service.stop()


@dataclass(frozen=True, slots=True)
class Service:
    """`hsmkms serve` as our child."""

    process: Process
    port: int
    log: Path

    async def until_ready(self) -> None:
        """Wait for /readyz.

        Raises:
            NotStartedError: it is not ready in time, or ended.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not await self._is_ready():
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise NotStartedError(f"'hsmkms serve' does not get ready:\n{_end_of(self.log)}")
            await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: hsmkms\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
        except OSError:
            return False
        return status.split(b" ")[1:2] == [str(int(HTTPStatus.OK)).encode()]

    async def stop(self) -> None:
        """End it and all that it started, by force if it takes too long."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.process.wait()
        except BaseException:
            self.process.kill()  # its children end with it
            await self.process.wait()
            raise

    def cpu_seconds(self) -> Mapping[str, float]:
        """Return the CPU time so far, in seconds: of the service's parts, of this process, and of all others."""
        used = {WEB: 0.0, HOSTS: 0.0, PAIRS: 0.0, CLIENT: time.process_time()}
        for entry in Path("/proc").iterdir():
            fields = _stat(entry) if entry.name.isdigit() else []
            if fields and int(fields[1]) == self.process.pid:
                used[_part(entry)] += (int(fields[11]) + int(fields[12])) / _TICKS
        return {**used, OTHERS: busy_seconds(_STAT.read_text(encoding="utf-8")) - sum(used.values())}

    async def until_idle(self, most_cores: float = 0.1, seconds: float = 0.3, patience_seconds: float = 60.0) -> None:
        """Wait until the service leaves the cores alone: it makes wrapping pairs in the background.

        Raises:
            NotStartedError: it does not, or ended.
        """
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline and self.process.returncode is None:
            before = self.cpu_seconds()
            await asyncio.sleep(seconds)
            after = self.cpu_seconds()
            if sum(after[part] - before[part] for part in (WEB, HOSTS, PAIRS)) <= most_cores * seconds:
                return
        raise NotStartedError(f"the service ended, or is busy with nothing to do:\n{_end_of(self.log)}")


def _stat(entry: Path) -> list[str]:
    """Return the fields of proc_pid_stat(5) behind the name: state, parent, ..., of which 11 and 12 are CPU times."""
    try:
        return (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def busy_seconds(stat: str) -> float:
    """Return the CPU time that the machine was not idle, from what /proc/stat says (proc_stat(5)).

    Time that the hypervisor gave to other machines counts: it was not ours.
    """
    user, nice, system, _idle, _iowait, *interrupts_and_steal = (
        int(ticks) for ticks in stat.split("\n", maxsplit=1)[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts_and_steal)) / _TICKS


def _part(entry: Path) -> str:
    try:
        command = (entry / "cmdline").read_bytes()
    except OSError:
        return HOSTS
    if b"web_process" in command:
        return WEB
    return PAIRS if b"pair-host" in command else HOSTS


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
