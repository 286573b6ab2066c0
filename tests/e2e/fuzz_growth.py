"""How much a running service has taken: memory, descriptors, threads, rows."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.e2e.running import until

if TYPE_CHECKING:
    from tests.e2e.running import Instance, RunningService

_ANONYMOUS: Final = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)
QUIET_SECONDS: Final = 2.0
"""The trail is written up to a second after what it tells of, and sealed up to a second after that."""
_THREADS: Final = re.compile(r"^Threads:\s+(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    """What one process has taken."""

    kind: str
    """`web` or `host`."""
    anonymous_kib: int
    """Resident memory that is no file's: heap and stacks (proc_pid_status(5))."""
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Footprint:
    """What all of a service has taken."""

    processes: dict[int, Process]
    """By process id."""
    rows: dict[str, int]
    """By table."""

    @classmethod
    def of(cls, service: RunningService) -> Footprint:
        """Measure."""
        processes = {pid: _process(pid, kind) for pid, kind in service.children().items()}
        return cls(processes, rows(service.instance))

    @classmethod
    def at_rest(cls, service: RunningService) -> Footprint:
        """Measure, once no row was added or went for `QUIET_SECONDS`."""
        last, since = rows(service.instance), time.monotonic()

        def quiet() -> bool:
            nonlocal last, since
            now = rows(service.instance)
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS

        until(quiet, "a database that stands still")
        return cls.of(service)

    @property
    def descriptors(self) -> int:
        """Open descriptors of all processes."""
        return sum(each.descriptors for each in self.processes.values())

    @property
    def threads(self) -> int:
        """Threads of all processes."""
        return sum(each.threads for each in self.processes.values())

    def growth_kib(self, before: Footprint, kind: str) -> int:
        """Return by how much memory that process of a kind grew which grew most."""
        return max(
            now.anonymous_kib - before.processes[pid].anonymous_kib
            for pid, now in self.processes.items()
            if now.kind == kind
        )


def _process(pid: int, kind: str) -> Process:
    folder = Path(f"/proc/{pid}")
    status = (folder / "status").read_text()
    anonymous, threads = _ANONYMOUS.search(status), _THREADS.search(status)
    assert anonymous is not None
    assert threads is not None
    return Process(kind, int(anonymous[1]), len(list((folder / "fd").iterdir())), int(threads[1]))


def rows(instance: Instance) -> dict[str, int]:
    """Return how many rows each table has."""
    with contextlib.closing(sqlite3.connect(instance.database, timeout=10)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables}  # noqa: S608 - our own words
