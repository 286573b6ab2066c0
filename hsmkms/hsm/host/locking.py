"""Keeping a host's memory out of the swap, where the system lets it.

Why not always: MCL_FUTURE under a finite RLIMIT_MEMLOCK makes the allocation that passes the limit fail, which ends the
process in the middle of its work. And a host reserves four times what it uses (206 MB, 49 MB resident), all of which
counts. So memory is locked where no limit applies, or not at all; MCL_ONFAULT takes what is used, and only that.
"""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path
from typing import Final

_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4


_CAP_IPC_LOCK: Final = 14
"""The number of the capability that no limit on locked memory applies to (capabilities(7))."""


def lock_memory() -> str:
    """Lock this process's memory, now and in the future (mlockall(2)); return why it is not, or an empty text."""
    _, limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
    elif not _may_lock_any():
        return f"RLIMIT_MEMLOCK is {limit} bytes, not unlimited"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return f"mlockall failed ({os.strerror(ctypes.get_errno())})"
    return ""


def _may_lock_any() -> bool:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (effective,) = (line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_IPC_LOCK & 1)
