"""The token's own rates: several processes at once, each with the module to itself and one operation to repeat."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hsmkms import config, instance
from hsmkms.core.material import Edition
from hsmkms.hsm.settings import HostPurpose
from hsmkms.instance import TokenKind, Wish
from hsmkms.wiring.adapters import host_settings
from scripts.benchmark.bare_token import READY, Done, Order
from scripts.benchmark.measurements import Measurement
from scripts.benchmark.trouble import NotStartedError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from hsmkms.hsm.settings import HostSettings

_ROOT: Final = Path(__file__).resolve().parents[2]
_ANY_PORT: Final = 1
"""Nothing listens for a token alone."""
_GRACE_SECONDS: Final = 30.0


def make_token(folder: Path) -> HostSettings:
    """Make a SoftHSM token in `folder`, and return what a process must know to use it."""
    path = instance.create(folder, Wish(TokenKind.SOFTHSM, Edition.FIPS, _ANY_PORT, None))
    return host_settings(config.load(path), HostPurpose.SERVE)


@dataclass(frozen=True, slots=True)
class BareToken:
    """A token, and how many processes use it at once."""

    settings: HostSettings
    processes: int

    async def measure(self, operation: str, warm_up_seconds: float, seconds: float) -> Measurement:
        """Return how often all processes together did `operation`.

        Raises:
            NotStartedError: one of them ended without an answer; what it said is on standard error.
        """
        order = Order(host=self.settings, operation=operation, warm_up_seconds=warm_up_seconds, seconds=seconds)
        async with AsyncExitStack() as stack:
            bare = [await stack.enter_async_context(_started(order)) for _ in range(self.processes)]
            for process in bare:
                if await _line(process) != READY.encode():
                    raise NotStartedError("a process that uses the bare token said something unexpected")
            for process in bare:
                _tell(process, b"")
            done = [msgspec.json.decode(await _line(process), type=Done) for process in bare]
        mean_seconds = sum(each.seconds for each in done) / len(done)
        return Measurement(operation, self.processes, sum(each.count for each in done), mean_seconds)


@asynccontextmanager
async def _started(order: Order) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scripts.benchmark.bare_token",
        "--parent",
        str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, **order.host.env},
    )
    try:
        _tell(process, msgspec.json.encode(order))
        yield process
    finally:
        if process.returncode is None:
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await process.wait()
            except BaseException:
                process.kill()
                raise


def _tell(process: Process, line: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(line + b"\n")


async def _line(process: Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - asked for above
    line = await process.stdout.readline()
    if not line:
        raise NotStartedError("a process that uses the bare token ended before it was asked to")
    return line.rstrip()
