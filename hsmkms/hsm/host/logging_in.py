"""Logging in without harm to others, nor to the token.

Why this is needed: SoftHSM 2.6.1 rewrites `token.object` at every C_Login, in place, and gives up its lock before its
buffer is written. For some 50 us the file is empty. Another process that starts then finds no token (8 of 120 starts,
three at a time), and one that is killed then leaves no token: all keys would be lost.

Laws:

- the processes that share a token load the module and log in one after the other: those that share SoftHSM's token
  directory, or with another token the PIN file;
- before SoftHSM logs in, a copy of `token.object` is kept beside it, durably; an empty one is put right from its copy.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hsmkms.hsm import softhsm
from hsmkms.hsm.host import durability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hsmkms.hsm.settings import HostSettings

_TOKEN_OBJECT: Final = "token.object"  # noqa: S105 - a file's name
_COPY: Final = "token.object.kept-by-hsmkms"
"""SoftHSM reads no file that does not end in `.object`."""


@contextmanager
def one_at_a_time(settings: HostSettings) -> Iterator[None]:
    """Hold the lock of those who share the token, waiting for it; without its file there is nothing to share.

    Raises:
        TokenUnusable: SoftHSM's configuration cannot be read.
    """
    shared = softhsm.token_directory(os.environ) if softhsm.is_softhsm(settings.module) else settings.pin_file
    if shared is None:
        yield
        return
    try:
        descriptor = os.open(shared, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # no waiting, where it is a pipe
    except OSError:
        yield  # finding the token, or reading the PIN, will say what is wrong with it
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def keep_token_objects(module: str) -> None:
    """Keep or put right the `token.object` of every token, if `module` is SoftHSM; call it under `one_at_a_time`.

    Raises:
        TokenUnusable: SoftHSM's configuration cannot be read.
    """
    if not softhsm.is_softhsm(module):
        return
    for original in softhsm.token_directory(os.environ).glob(f"*/{_TOKEN_OBJECT}"):
        copy = original.with_name(_COPY)
        content = original.read_bytes()
        if not content and copy.exists():
            _write_durably(original, copy.read_bytes())
        elif content and (not copy.exists() or copy.read_bytes() != content):
            _write_durably(copy, content)


def _write_durably(path: Path, content: bytes) -> None:
    """Replace `path` as a whole: whoever is killed in between leaves the old file or the new one."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
    durability.flush_one(path.parent)
