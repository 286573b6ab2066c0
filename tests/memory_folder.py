"""Where the files of a test run are: in memory, if there is room.

The tests wait for a disk most of their time, and prove nothing by it: they end processes, not the machine, so what a
process has written is there for the next one on any file system.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

ROOM_BYTES: Final = 2 * 1024**3
"""Several times what a run needs (0.3 GB), as memory is also what its processes need."""
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - made in it is a folder of nobody else
_PREFIX: Final = "hsmkms-tests-of-"


def make(parent: Path = _SHARED_MEMORY) -> Path | None:
    """Return a new folder in memory, named after this process; None where a run would not fit or not work.

    What earlier runs left, which were killed or have failed, is removed first.
    """
    if not _is_fit(parent):
        return None
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
    folder.chmod(0o711)  # a PostgreSQL server has a user of its own, and a folder of its own in here
    return folder


def _is_fit(parent: Path) -> bool:
    try:
        about = os.statvfs(parent)
    except OSError:
        return False
    has_room = min(about.f_bavail * about.f_frsize, _available_bytes()) >= ROOM_BYTES
    # Tests build libraries, and containers mount this folder so that none can be loaded from it.
    return has_room and not about.f_flag & (os.ST_NOEXEC | os.ST_RDONLY) and os.access(parent, os.W_OK)


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if folder.stat().st_uid == os.geteuid() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
