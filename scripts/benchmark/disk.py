"""How often a second the disk confirms a write: what bounds a service that commits before it answers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from scripts.benchmark.measurements import SYNC, Latency, Measurement

if TYPE_CHECKING:
    from pathlib import Path

_PAGE_BYTES: Final = 4096


def measure(folder: Path, seconds: float) -> Measurement:
    """Append pages to a file in `folder`, each followed by fdatasync(2), for so many `seconds`."""
    page, took = os.urandom(_PAGE_BYTES), []
    descriptor = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        begin = last = time.perf_counter()
        while last - begin < seconds:
            os.write(descriptor, page)
            os.fdatasync(descriptor)
            now = time.perf_counter()
            took.append(now - last)
            last = now
    finally:
        os.close(descriptor)
    return Measurement(SYNC, 1, len(took), last - begin, Latency.of(took))
