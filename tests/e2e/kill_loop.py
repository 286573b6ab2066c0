"""Clients that import while processes are killed, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from hsmkms import config
from hsmkms.core import records
from hsmkms.core.ids import key_id as parse_key_id
from hsmkms.core.keys import KeyState
from hsmkms.wiring.adapters import SystemClock, opened_store
from hsmkms.wiring.commands import attached
from tests.e2e.running import until

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tests.e2e.running import Instance, RunningService
    from tests.e2e.tencent_client import TencentClient

ORPHAN_SECONDS: Final = 2.0
"""How long children may outlive their supervisor."""
_PASSING_CODES: Final = frozenset({"ClientNetworkError", "UnsupportedOperation.ServiceTemporaryUnavailable"})
"""All that a client may see of a crash: no connection, or a request to come back."""
_TRIES: Final = 4
_PROGRESS_SECONDS: Final = 60.0
_LONGEST_WAIT_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.05
_LOG_LINES: Final = 200


class _InTheWay(Exception):
    """A crash was in the way of a request."""


@dataclass
class Importers:
    """Client threads, each importing into one new key after the other."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    """Key id -> the material that the service said it imported."""
    created: set[str] = field(default_factory=set)
    unexpected: list[str] = field(default_factory=list)
    """Every answer that no crash excuses."""
    passing: Counter[str] = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    def work(self, client: TencentClient) -> None:
        """Import until it is over."""
        while not self.ended.is_set():
            with contextlib.suppress(_InTheWay):
                self._ceremony(client)

    def _ceremony(self, client: TencentClient) -> None:
        with self._excusing():
            key_id = client.external_key()
        self.created.add(key_id)
        with self._excusing():
            parameters = client.parameters(key_id)
        material = secrets.token_bytes(32)
        encrypted = client.wrapped(parameters, material)
        for _ in range(_TRIES):
            with contextlib.suppress(_InTheWay), self._excusing():
                client.import_(key_id, parameters, encrypted)
                self.acknowledged[key_id] = material
                return

    @contextlib.contextmanager
    def _excusing(self) -> Iterator[None]:
        try:
            yield
        except TencentCloudSDKException as error:
            self._note(str(error.get_code()), error)
        except OSError as error:  # the connection ended in the middle of an answer, which the SDK lets through
            self._note("ClientNetworkError", error)

    def _note(self, code: str, error: Exception) -> None:
        self.passing[code] += 1
        if code not in _PASSING_CODES:
            self.unexpected.append(str(error))
        self.ended.wait(_PAUSE_SECONDS)  # a refused connection takes no time at all
        raise _InTheWay from error


@contextlib.contextmanager
def importers(service: RunningService, threads: int = 3) -> Iterator[Importers]:
    """Run client threads beside the block."""
    importing = Importers()
    with ThreadPoolExecutor(threads) as pool:
        working = [pool.submit(importing.work, service.client()) for _ in range(threads)]
        try:
            yield importing
        finally:
            importing.ended.set()
        for each in working:
            each.result()


def processes_of(instance: Instance) -> dict[int, str]:
    """Return every process, of whatever parent, that was started for this instance."""
    marks = [str(instance.folder).encode() + end for end in (b"/", b"\0")]
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if any(mark in command + (entry / "environ").read_bytes() for mark in marks):
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode()
    return found


@dataclass
class Killer:
    """Kills processes of a service at random moments."""

    service: RunningService
    importing: Importers
    moments: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    def kill_one(self) -> None:
        """Wait for a random moment, and kill one process; bring the service back if that was its supervisor."""
        acknowledged = len(self.importing.acknowledged)
        if self.moments.random() < 0.6:  # otherwise the next kill meets a service that is still recovering
            self._until_more_than(acknowledged)
        self.importing.ended.wait(self.moments.random() * _LONGEST_WAIT_SECONDS)
        assert self.service.process.poll() is None, self.service.log.read_text()
        victim = self.moments.choice(["host", "host", "web", "supervisor"])
        if victim == "supervisor":
            self._kill_supervisor()
        elif not self._kill_child(victim):
            return
        self.kills[victim] += 1

    def _until_more_than(self, acknowledged: int) -> None:
        try:
            until(lambda: len(self.importing.acknowledged) > acknowledged, "an import goes through", _PROGRESS_SECONDS)
        except AssertionError as error:
            last = "\n".join(self.service.log.read_text().splitlines()[-_LOG_LINES:])
            message = f"{error}\n{self.kills} {self.importing.passing}\n{last}"
            raise AssertionError(message) from None

    def _kill_child(self, kind: str) -> bool:
        running = self.service.pids(kind)
        if running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.moments.choice(running), signal.SIGKILL)
                return True
        return False

    def _kill_supervisor(self) -> None:
        self.service.process.kill()
        self.service.process.wait()
        until(lambda: not processes_of(self.service.instance), "the children end with the supervisor", ORPHAN_SECONDS)
        self.service.start()


def broken_promises(instance: Instance, acknowledged: set[str]) -> list[str]:
    """Return what is wrong with the keys of a stopped service: one line for each, opened by a host of our own."""
    return asyncio.run(_broken_promises(instance, acknowledged))


async def _broken_promises(instance: Instance, acknowledged: set[str]) -> list[str]:
    settings = config.load(instance.config)
    now = SystemClock().now()
    with contextlib.closing(sqlite3.connect(instance.database)) as database:
        key_ids = [parse_key_id(row[0]) for row in database.execute("SELECT key_id FROM keys")]
    wrong = [f"{key_id} was acknowledged and is not there" for key_id in acknowledged - set(key_ids)]
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        for key_id in key_ids:
            key = await store.find_key(key_id)
            assert key is not None
            state = key.state(now)
            if state is KeyState.PENDING_IMPORT and key.material is None:
                if key_id in acknowledged:
                    wrong.append(f"{key_id} was acknowledged and holds nothing")
            elif state is KeyState.ENABLED and key.material is not None and key.fingerprint is not None:
                owner = records.of_material(key.account, key.key_id, settings.edition, key.generation)
                evidence = await hsm.inspect_material(owner, key.material.record)
                if not key.fingerprint.matches(evidence.fingerprint):
                    wrong.append(f"{key_id} has the fingerprint of other material")
            else:
                wrong.append(f"{key_id} is {state.value}")
    return wrong
