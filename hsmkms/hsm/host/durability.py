"""Flushing a SoftHSM token to the disk, which SoftHSM itself never does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hsmkms.core.errors import TokenUnusable

_CONFIGURATION_VARIABLE: Final = "SOFTHSM2_CONF"
_DEFAULT_CONFIGURATION: Final = "/etc/softhsm/softhsm2.conf"
_TOKEN_DIRECTORY_KEY: Final = "directories.tokendir"  # noqa: S105 - a key of softhsm2.conf


def token_directory() -> Path:
    """Return SoftHSM's token directory, as softhsm2.conf(5) names it.

    Raises:
        TokenUnusable: the configuration does not name one.
    """
    configuration = Path(os.environ.get(_CONFIGURATION_VARIABLE, _DEFAULT_CONFIGURATION))
    try:
        lines = configuration.read_text().splitlines()
    except OSError as error:
        raise TokenUnusable(
            f"SoftHSM's configuration '{configuration}' cannot be read ({error.strerror}): "
            "correct SOFTHSM2_CONF in [hsm.env]."
        ) from error
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == _TOKEN_DIRECTORY_KEY:
            return Path(value.strip())
    raise TokenUnusable(f"SoftHSM's configuration '{configuration}' has no '{_TOKEN_DIRECTORY_KEY}': add it.")


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
