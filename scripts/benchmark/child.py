"""A server as our child: started with a log, waited for, and ended whatever happens."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scripts.benchmark.trouble import NotStartedError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_LOG_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Child:
    """A running program."""

    title: str
    process: Process
    log: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it is ready.

        Raises:
            NotStartedError: it is not in time, or ended.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not await ready():
            if not self.running or time.monotonic() > deadline:
                raise NotStartedError(f"'{self.title}' does not get ready:\n{end_of(self.log)}")
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """End it and all that it started, by force if it takes too long."""
        if not self.running:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.process.wait()
        except BaseException:
            self.process.kill()  # its children end with it
            await self.process.wait()
            raise


@asynccontextmanager
async def running(title: str, command: Sequence[str], log: Path) -> AsyncIterator[Child]:
    """Run a program for the block; what it says goes to `log`."""
    with log.open("wb") as written:
        # A session of its own: the terminal's Ctrl-C is for the bench, which then stops the program in order.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True
        )
    child = Child(title, process, log)
    try:
        yield child
    finally:
        await child.stop()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def end_of(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
