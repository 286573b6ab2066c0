"""The machine's own time, and the file beside the database that remembers how the wall clock stood to it."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hsmkms.core.clocks import ClockWitness
from hsmkms.core.ids import MILLISECONDS_PER_SECOND
from hsmkms.store.urls import file_of

if TYPE_CHECKING:
    from typing import Self

    from hsmkms.config import Settings

_logger = logging.getLogger(__name__)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_SUFFIX: Final = "-clock"
_MOST_BYTES: Final = 4096
"""Twenty times what we write."""
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SystemBootClock:
    """CLOCK_BOOTTIME (clock_gettime(2)), which counts suspension, as CLOCK_MONOTONIC does not."""

    def __init__(self) -> None:
        self.boot = _BOOT_ID.read_text(encoding="ascii").strip()

    def elapsed(self) -> int:
        """Return milliseconds since the machine started."""
        nanoseconds = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return nanoseconds // (1_000_000_000 // MILLISECONDS_PER_SECOND)


class ClockFile:
    """`core.clocks.ClockMemory` in a file; removing that costs an hour in which nothing is destroyed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def beside(cls, settings: Settings) -> Self:
        """Return the one that belongs to the database, on this machine."""
        store = settings.store
        if store.node_folder is not None:
            return cls(store.node_folder / f"{store.node}{_SUFFIX}")
        # Beside the file itself, as what SQLite adds: that folder is known to be ours (`file_access`).
        database = Path(os.path.realpath(file_of(store.url)))
        return cls(database.with_name(database.name + _SUFFIX))

    def recall(self) -> ClockWitness | None:
        """Return what was kept last; whatever else is in its place is as good as nothing."""
        try:
            return msgspec.json.decode(_content(self._path), type=ClockWitness)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            facts = {"path": str(self._path), "reason": type(error).__name__}
            _logger.warning("what was known of the clock cannot be read and is forgotten", extra=facts)
            return None

    def keep(self, witness: ClockWitness) -> None:
        """Replace the file; not flushed, since it is of no use after the machine was started anew."""
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, _MAKING, 0o600), "wb") as file:
                file.write(msgspec.json.encode(witness))
            new.replace(self._path)
        except OSError as error:
            _logger.warning("how the clock stands could not be written down", extra={"reason": error.strerror})
            with contextlib.suppress(OSError):
                new.unlink()


def _content(path: Path) -> bytes:
    """Return what is in a small file; a pipe does not hold us up.

    Raises:
        OSError: it is not there, a symbolic link, or cannot be read.
        ValueError: it is no regular file, or too large.
    """
    with os.fdopen(os.open(path, _READING), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(path)
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(path)
    return content
