"""A throw-away instance of the service, and the service as it runs."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hsmkms import config
from hsmkms.client.credential import ClientCredential
from hsmkms.core.ids import AccessId
from hsmkms.core.secrets import SecretKey
from hsmkms.instance import CONFIGURATION_FILE, CREDENTIAL_FILE
from scripts.benchmark.child import HOST, Child, end_of, free_port, running
from scripts.benchmark.cpu import HOSTS, PAIRS, WEB, processes, resident_mib
from scripts.benchmark.trouble import NotStartedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hsmkms.config import Settings

MANY_TICKETS: Final = 1000
"""For one pair. Generating a pair takes the token 0.2 s: with one for each ticket that is all that is measured."""
MANY_PAIRS: Final = 32
"""Kept ready, where parameters are asked for while there are some."""
_HSMKMS: Final = (sys.executable, "-I", "-m", "hsmkms")
_NO_LIMITS: Final = "\n[limits]\nrequests_per_second_per_api = 0\nget_parameters_burst = 0\n"
"""One account asks for all, as often as the service can answer."""
SETTINGS: Final = (
    f"tickets_per_pair = {MANY_TICKETS}, or 1 with ready_pairs = {MANY_PAIRS}; "
    "requests_per_second_per_api = 0 and get_parameters_burst = 0: no limits"
)
"""Where the service's configuration is not that of `hsmkms new`."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A folder made by `hsmkms new`."""

    folder: Path
    port: int

    @classmethod
    async def make(
        cls,
        folder: Path,
        *,
        tickets_per_pair: int = MANY_TICKETS,
        ready_pairs: int | None = None,
        store: str | None = None,
    ) -> Instance:
        """Make one with a SoftHSM token of its own.

        Args:
            folder: where; it does not exist yet.
            tickets_per_pair: how many import tokens share a wrapping pair.
            ready_pairs: how many pairs are kept ready; None: as many as the service does by itself.
            store: the URL of its database; None: an SQLite file.

        Raises:
            NotStartedError: the command failed.
        """
        port = free_port()
        wish = ["--token", "softhsm", "--edition", "fips", "--port", str(port)]
        wish += [] if store is None else ["--store", store]
        async with running("hsmkms new", (*_HSMKMS, "new", str(folder), *wish), folder.with_suffix(".log")) as making:
            code = await making.process.wait()
        if code:
            raise NotStartedError(f"'hsmkms new' failed:\n{end_of(making.log)}")
        pairs = "" if ready_pairs is None else f"ready_pairs = {ready_pairs}\n"
        with (folder / CONFIGURATION_FILE).open("a", encoding="utf-8") as configuration:
            configuration.write(f"\n[import]\ntickets_per_pair = {tickets_per_pair}\n{pairs}{_NO_LIMITS}")
        return cls(folder, port)

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return config.load(self.folder / CONFIGURATION_FILE)

    @property
    def hosts(self) -> int:
        """The number of processes that will use the token for requests."""
        return self.settings.hsm.hosts

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
        command = (*_HSMKMS, "serve", "--config", str(self.folder / CONFIGURATION_FILE))
        begin = time.perf_counter()
        async with running("hsmkms serve", command, self.folder / "serve.log") as child:
            await child.until(self._is_ready)
            yield Service(child, self.port, time.perf_counter() - begin)

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


@dataclass(frozen=True, slots=True)
class Service:
    """`hsmkms serve` as our child."""

    child: Child
    port: int
    start_seconds: float
    """From its start to /readyz."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.child.running

    def part(self, entry: Path, parent: int) -> str | None:
        """Tell which part of the service a process is; None: none of them."""
        if parent != self.child.process.pid:
            return None
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            return HOSTS
        if b"web_process" in command:
            return WEB
        return PAIRS if b"pair-host" in command else HOSTS

    def web_memory_mib(self) -> float:
        """Return the resident memory of the web process, in MiB.

        Raises:
            NotStartedError: there is no web process.
        """
        for entry, fields in processes():
            if self.part(entry, int(fields[1])) == WEB:
                return resident_mib(entry)
        raise NotStartedError("the service has no web process whose memory could be measured")
