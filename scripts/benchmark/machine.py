"""The machine that was measured, in words."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_CPU: Final = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)
_TOOL_SECONDS: Final = 10


def facts(folder: Path) -> Mapping[str, str]:
    """Return what names the machine; `folder` is where the databases of the bench are."""
    return {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "token": f"SoftHSM {_softhsm()}",
        "file system": filesystem(folder, Path("/proc/mounts").read_text(encoding="utf-8")),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _cpu() -> str:
    found = _CPU.search(Path("/proc/cpuinfo").read_text(encoding="utf-8"))  # not every architecture names its model
    return f"{found[1]} ({platform.machine()})" if found else platform.machine()


def _softhsm() -> str:
    tool = ["softhsm2-util", "--version"]
    try:
        said = subprocess.run(tool, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)  # noqa: S603 - a fixed command
    except (OSError, subprocess.TimeoutExpired):
        return "of unknown version"
    return said.stdout.strip() or "of unknown version"


def filesystem(folder: Path, mounts: str) -> str:
    """Return the type of the file system that `folder` is on, by what /proc/mounts says (proc(5))."""
    best, kind = Path("/"), "unknown"
    for line in mounts.splitlines():
        _device, place, found, *_ = line.split(" ")
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place))
        if folder.resolve().is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, found
    return kind
