"""Reading a PIN: the one place where its bytes come into a process of ours.

Laws:

- a descriptor is read from its beginning without moving its position, which other hosts share, and closed;
- a file is a file: from a pipe a host would wait for ever, and the next one find nothing in it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import TokenUnusable
from hsmkms.core.secrets import Pin

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.hsm.settings import HostSettings

_MOST_BYTES: Final = 4096
"""A PIN is far shorter."""


def read_pin(settings: HostSettings) -> Pin:
    """Return the user's PIN, without the newline that editors add.

    Raises:
        TokenUnusable: it cannot be read, is empty, or is not UTF-8.
    """
    where = "PIN" if settings.pin_file is None else f"PIN file '{settings.pin_file}'"
    return _judged(lambda: _content(settings), where, "user", settings.pin_key)


def read_so_pin(settings: HostSettings) -> Pin:
    """Return the security officer's PIN, without the newline that editors add.

    Raises:
        TokenUnusable: it is not named, cannot be read, is empty, or is not UTF-8.
    """
    path = settings.so_pin_file
    if path is None:
        raise TokenUnusable("The security officer's PIN is needed for this: name the file that it is in.")
    return _judged(lambda: _content_of(path), f"SO PIN file '{path}'", "SO", "its name")


def _judged(read: Callable[[], bytes], where: str, whose: str, key: str) -> Pin:
    try:
        text = read().rstrip(b"\r\n")
        text.decode()
    except OSError as error:
        raise TokenUnusable(f"The {where} cannot be read ({error.strerror}): correct {key}.") from error
    except UnicodeDecodeError as error:
        raise TokenUnusable(f"The {where} is not UTF-8 text: correct {key}.") from error
    if not text:
        raise TokenUnusable(f"The {where} is empty: write the token's {whose} PIN into it, or correct {key}.")
    return Pin(text)


def _content(settings: HostSettings) -> bytes:
    if settings.pin_file is not None:
        return _content_of(settings.pin_file)
    assert settings.pin_fd is not None  # noqa: S101 - one of the two is there
    try:
        return os.pread(settings.pin_fd, _MOST_BYTES, 0)
    finally:
        os.close(settings.pin_fd)


def _content_of(path: str) -> bytes:
    # Without O_NONBLOCK, to open a pipe is to wait for who writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TokenUnusable(f"'{path}' is to hold a PIN, and is no regular file: write the PIN into one.")
        return os.pread(descriptor, _MOST_BYTES, 0)
    finally:
        os.close(descriptor)
