"""How the children of the supervisor, the web process included, are started, and what each does first."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

ISOLATED_PYTHON: Final = (sys.executable, "-I", "-m")
"""To be followed by a module's name. Neither the current folder nor PYTHONPATH may bring code into a process that holds
the PIN or the database."""

_PR_SET_PDEATHSIG: Final = 1


def die_with(parent: int) -> None:
    """End with the process `parent` (prctl(2), PR_SET_PDEATHSIG), also if it was killed before this call."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
