"""A process of the service's own user without privileges, as a bystander that would look into the service's memory.

Root may look into everything while it has capabilities. Without any, the kernel asks of root what it asks of every
user: whether the process looked at is dumpable, and has no capability that the bystander lacks. So both the service
and the bystander are started without; where there are none to give up, this changes nothing.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Final

_PR_CAPBSET_DROP: Final = 24
_CAPABILITIES: Final = 64

UNPRIVILEGED: Final = (sys.executable, __file__)
"""To be followed by a command."""


def may_look_into(pid: int) -> bool:
    """Tell whether a bystander may open the memory of a process (proc_pid_mem(5))."""
    command = [*UNPRIVILEGED, "sh", "-c", f"exec 3</proc/{pid}/mem"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


if __name__ == "__main__":
    for capability in range(_CAPABILITIES):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - what the test named
