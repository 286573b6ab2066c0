"""Copies of a SoftHSM token directory, which a running service may be using.

Laws:

- what is copied is what SoftHSM and the hosts write there, by name: a PIN that somebody left beside it is not;
- nobody logs in meanwhile, because SoftHSM rewrites `token.object` at every login (`host.logging_in`); nothing else
  changes there after `hsmkms init`;
- a copy is never put over a token.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import BackupUnusable, TokenUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION_FILE: Final = "softhsm2.conf"
_OBJECTS: Final = ("*/*.object", "*/*.lock", "*/generation", "*/*.kept-by-hsmkms")
"""SoftHSM 2's objectstore.backend "file": one folder for each token."""


def copy(tokens: Path, target: Path) -> None:
    """Copy the tokens in `tokens` to `target`, which is made for its owner only.

    Raises:
        TokenUnusable: there is no token.
    """
    if not tokens.is_dir():
        raise TokenUnusable(
            f"There is no token folder {tokens}: correct directories.tokendir of SoftHSM's configuration."
        )
    with _nobody_logs_in(tokens):
        files = [file for pattern in _OBJECTS for file in tokens.glob(pattern)]
        if not files:
            raise TokenUnusable(
                f"There is no token in {tokens}: correct directories.tokendir of SoftHSM's configuration."
            )
        for file in files:
            there = target / file.relative_to(tokens)
            there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(file, there)
            there.chmod(0o600)


def restore(source: Path, tokens: Path) -> None:
    """Copy the tokens in `source` to the directory `tokens`, in which there is none; flushing them is the caller's.

    Raises:
        BackupUnusable: there is something.
        TokenUnusable: they cannot be written there.
    """
    require_vacant(tokens)
    try:
        copy(source, tokens)
    except OSError as error:
        raise TokenUnusable(
            f"The token folder {tokens} cannot be written ({error.strerror}): correct directories.tokendir of "
            "SoftHSM's configuration, and remove what is in it."
        ) from error


def require_vacant(tokens: Path) -> None:
    """Return if there is nothing in the directory `tokens`.

    Raises:
        BackupUnusable: there is something.
    """
    if tokens.exists() and any(tokens.iterdir()):
        raise BackupUnusable(
            f"The token folder {tokens} is not empty; a backup is restored where no token is: move it away."
        )


def configuration_for(tokens: Path) -> str:
    """Return a configuration of SoftHSM with which it uses the directory `tokens`."""
    return f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"


@contextmanager
def _nobody_logs_in(tokens: Path) -> Iterator[None]:
    descriptor = os.open(tokens, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
