"""What CPU time the processes of a run use, by proc(5), and when a server is idle."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from scripts.benchmark.trouble import NotStartedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WEB: Final = "web"
HOSTS: Final = "hosts"
PAIRS: Final = "pairs"
CLIENT: Final = "client"
OTHERS: Final = "others"
_SERVERS: Final = (WEB, HOSTS, PAIRS)
_STAT: Final = Path("/proc/stat")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB: Final = 1024


class Server(Protocol):
    """What is under load."""

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    def part(self, entry: Path, parent: int) -> str | None:
        """Tell which of its parts a process is, by its folder in /proc and its parent's id; None: none of them."""


def processes() -> Iterator[tuple[Path, list[str]]]:
    """Return each process's folder, and the fields of proc_pid_stat(5) behind the name: state, parent, ..."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it ended meanwhile
            yield entry, stat.rpartition(")")[2].split()


def cpu_seconds(server: Server) -> Mapping[str, float]:
    """Return the CPU time so far, in seconds, of each part of a server, of this process, and of all others."""
    used = {**dict.fromkeys(_SERVERS, 0.0), CLIENT: time.process_time()}
    for entry, fields in processes():
        name = server.part(entry, int(fields[1]))
        if name is not None:
            used[name] += (int(fields[11]) + int(fields[12])) / _TICKS
    return {**used, OTHERS: busy_seconds(_STAT.read_text(encoding="utf-8")) - sum(used.values())}


def busy_seconds(stat: str) -> float:
    """Return the CPU time that the machine was not idle, from what /proc/stat says (proc_stat(5)).

    Time that the hypervisor gave to other machines counts: it was not ours.
    """
    user, nice, system, _idle, _iowait, *interrupts_and_steal = (
        int(ticks) for ticks in stat.split("\n", maxsplit=1)[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts_and_steal)) / _TICKS


def resident_mib(entry: Path) -> float:
    """Return the resident memory of the process of a folder of /proc, in MiB (VmRSS, proc_pid_status(5))."""
    for line in (entry / "status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) / _KIB_PER_MIB
    raise NotStartedError("the service ended before its memory was measured")


async def until_idle(
    server: Server, most_cores: float = 0.1, seconds: float = 0.3, patience_seconds: float = 180.0
) -> None:
    """Wait until the server leaves the cores alone: ours makes wrapping pairs in the background.

    Raises:
        NotStartedError: it does not, or ended.
    """
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline and server.running:
        before, waiting = cpu_seconds(server), _wants_cpu(server)
        await asyncio.sleep(seconds)
        after, waiting = cpu_seconds(server), waiting or _wants_cpu(server)
        if not waiting and sum(after[part] - before[part] for part in _SERVERS) <= most_cores * seconds:
            return
    raise NotStartedError("a server ended, or is busy with nothing to do")


def _wants_cpu(server: Server) -> bool:
    """Tell whether a process of the server is runnable: on a busy machine one may be so, and get nothing for long."""
    return any(fields[0] == "R" and server.part(entry, int(fields[1])) is not None for entry, fields in processes())
