"""How the children of the supervisor, the web process included, are started, and what each process of ours does first.

Law: whatever may hold a secret writes no core file, and no other process of its user may look into its memory.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import Final

ISOLATED_PYTHON: Final = (sys.executable, "-I", "-m")
"""To be followed by a module's name. Neither the current folder nor PYTHONPATH may bring code into a process that holds
the PIN or the database."""

_PR_SET_PDEATHSIG: Final = 1
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4


def die_with(parent: int) -> None:
    """End with the process `parent` (prctl(2), PR_SET_PDEATHSIG), also if it was killed before this call."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def keep_memory_private(*, dumpable: bool) -> None:
    """Write no core file, and let no process look into this one's memory but one with CAP_SYS_PTRACE.

    A limit of 0 stops a core file, not a program that `kernel.core_pattern` pipes to (core(5)); not being dumpable
    stops both, and ptrace(2) and /proc/PID/mem for processes of the same user as well. `execve` ends it: each process
    does this for itself.

    Args:
        dumpable: leave out the latter; for tests.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not dumpable:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_dumpable() -> bool:
    """Tell whether processes of the same user may look into this one's memory (prctl(2), PR_GET_DUMPABLE)."""
    return bool(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))
