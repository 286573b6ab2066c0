"""Whoever asks a service all the time whether it lives."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import RunningService

PAUSE_SECONDS: Final = 0.1
OK: Final = (200, b'{"status": "ok"}')
LONGEST_SECONDS: Final = 5.0
"""How long an answer may take, of a machine whose two cores are busy."""


@dataclass
class Health:
    """What /healthz answered."""

    asked: int = 0
    missed: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    _excused: bool = False

    @contextlib.contextmanager
    def excused(self) -> Iterator[None]:
        """Excuse what is missed in the block, and by a question that began in it: its web process is killed."""
        self._excused = True
        try:
            yield
        finally:
            self._excused = False


@contextlib.contextmanager
def watched(service: RunningService) -> Iterator[Health]:
    """Ask /healthz beside the block; demand at its end that every answer came, and soon."""
    health, ended = Health(), threading.Event()

    def ask() -> None:
        while not ended.wait(PAUSE_SECONDS):
            excused = health._excused
            started = time.monotonic()
            status, body = service.get("/healthz")
            seconds = time.monotonic() - started
            health.asked += 1
            if not excused:
                health.slowest_seconds = max(health.slowest_seconds, seconds)
            if not (excused or health._excused) and (status, body) != OK:
                health.missed.append(f"{status} {body!r} after {seconds:.1f} s")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield health
    finally:
        ended.set()
        asking.join()
    assert health.missed == []
    assert health.slowest_seconds < LONGEST_SECONDS
    assert health.asked
