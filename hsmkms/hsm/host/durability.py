"""Flushing a SoftHSM token to the disk, which SoftHSM itself never does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def flush(directory: Path) -> None:
    """Return when every file and directory below `directory` is on the disk."""
    for path in [*directory.rglob("*"), directory]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        flush_one(path)


def flush_one(path: Path) -> None:
    """Return when one file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
