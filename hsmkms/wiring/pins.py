"""Where hosts find the PIN: in a file, in a credential of systemd's, or on a descriptor that a command inherited.

Hosts are started again and again, and a pipe can be read once. So what is on the descriptor is moved to a sealed file
in memory, which each host inherits and reads for itself.

Laws:

- no process but a host reads the PIN: the kernel moves it (splice(2), sendfile(2)), our memory does not see it;
- what holds it is closed on exec, so that only those inherit it to whom it is handed: hosts.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from hsmkms.config import HsmSection, Settings

_CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_MOST_BYTES: Final = 4096
"""A host reads no more; a PIN is far shorter."""
_PATIENCE_SECONDS: Final = 30.0
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def pin_path(hsm: HsmSection) -> Path | None:
    """Return the file that holds the PIN; None if a descriptor does.

    Raises:
        ConfigurationInvalid: it is a credential, and systemd gave us none.
    """
    if hsm.pin_credential is None:
        return hsm.pin_file
    folder = os.environ.get(_CREDENTIALS_VARIABLE)
    if not folder:
        loading = f"LoadCredential={hsm.pin_credential}:PATH"
        raise ConfigurationInvalid(
            f"hsm.pin_credential: systemd handed us no credential ({_CREDENTIALS_VARIABLE} is not set); add {loading} "
            f"to the unit, or start the command with 'systemd-run -p {loading}'."
        )
    return Path(folder) / hsm.pin_credential


def pin_key(hsm: HsmSection) -> str:
    """Return the key of the configuration that names the PIN."""
    given = ("pin_file", hsm.pin_file), ("pin_credential", hsm.pin_credential), ("pin_fd", hsm.pin_fd)
    return next(f"hsm.{name}" for name, value in given if value is not None)


def taken(settings: Settings) -> Settings:
    """Take the PIN off the descriptor that `hsm.pin_fd` names, if it does, and name in its place one for hosts.

    Call it once in a process.

    Raises:
        ConfigurationInvalid: there is no such descriptor, or not a PIN on it.
    """
    inherited = settings.hsm.pin_fd
    if inherited is None:
        return settings
    mode = _mode_of_inherited(inherited)
    kept = os.memfd_create("pin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if stat.S_ISFIFO(mode):
            _drain(inherited, kept)
        else:
            os.sendfile(kept, inherited, 0, _MOST_BYTES)
    except OSError as error:
        raise ConfigurationInvalid(
            f"hsm.pin_fd: descriptor {inherited} cannot be read ({error.strerror}); {_how(inherited)}"
        ) from error
    os.close(inherited)
    fcntl.fcntl(kept, fcntl.F_ADD_SEALS, _SEALS)
    return settings.model_copy(update={"hsm": settings.hsm.model_copy(update={"pin_fd": kept})})


def _mode_of_inherited(number: int) -> int:
    try:
        # What we opened ourselves since is closed on exec; what we inherited cannot be.
        mode = os.fstat(number).st_mode if os.get_inheritable(number) else None
    except OSError:
        mode = None
    if mode is None:
        raise ConfigurationInvalid(f"hsm.pin_fd: descriptor {number} was not inherited; {_how(number)}")
    if not stat.S_ISFIFO(mode) and not stat.S_ISREG(mode):
        raise ConfigurationInvalid(f"hsm.pin_fd: descriptor {number} is neither a pipe nor a file; {_how(number)}")
    return mode


def _how(number: int) -> str:
    return f"start the command with the PIN on it, as in 'hsmkms serve --config F {number}<PINFILE'."


def _drain(pipe: int, into: int) -> None:
    """Move what comes through a pipe, up to its end."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    moved = 0
    while moved < _MOST_BYTES:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ConfigurationInvalid(
                f"hsm.pin_fd: the pipe on descriptor {pipe} did not end within {_PATIENCE_SECONDS:.0f} seconds; "
                "close it after the PIN."
            )
        piece = os.splice(pipe, into, _MOST_BYTES - moved)
        if piece == 0:
            return
        moved += piece
