"""Key material in the client's hands: read once, of exactly the right length, overwritten afterwards.

What is read is raw bytes. Text that spells a key (hex, base64) is named as what it is and never decoded: a key that
was guessed from its spelling is a key that nobody can find again.
"""

from __future__ import annotations

import io
import os
import stat
import string
import sys
from typing import TYPE_CHECKING, Final, NoReturn, Self

from hsmkms.core.errors import InputUnusable
from hsmkms.core.material import Edition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.client.telling import Teller

STANDARD_INPUT: Final = "-"
ALL_BITS: Final = tuple(sorted(edition.material_bits for edition in Edition))
"""Every length that some edition of the service imports, in bits."""

_MOST_BYTES: Final = 4096
"""How much is looked at to say what a file of a wrong length may be."""
_READABLE_BY_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH
_HEX: Final = frozenset(string.hexdigits.encode())
_BASE64: Final = frozenset((string.ascii_letters + string.digits + "+/").encode())
_PRINTABLE: Final = range(0x20, 0x7F)


class KeyMaterial:
    """Bytes that are shown by `reveal` alone, and overwritten when the block they are used in ends."""

    __slots__ = ("_value",)

    def __init__(self, value: bytearray) -> None:
        """Take `value`, not a copy of it."""
        self._value = value

    def reveal(self) -> bytearray:
        """Return the bytes themselves."""
        return self._value

    def wipe(self) -> None:
        """Overwrite the bytes with zeros."""
        self._value[:] = bytes(len(self._value))

    def __len__(self) -> int:
        """Return the length in bytes."""
        return len(self._value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __repr__(self) -> str:
        """Show the length only."""
        return f"<KeyMaterial of {len(self._value)} bytes>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied by reduction.

        Raises:
            TypeError: always.
        """
        message = "KeyMaterial cannot be pickled"
        raise TypeError(message)


def read(source: str, tell: Teller) -> KeyMaterial:
    """Read a file, or standard input if `source` is '-', once and without a buffer of Python's own.

    Raises:
        InputUnusable: it cannot be read, or is no key material by its size.
    """
    try:
        with _opened(source) as file:
            _look_at(file, tell)
            return _read(file)
    except OSError as error:
        raise InputUnusable(f"The key material cannot be read ({error.strerror or error}).") from error


def require_length(material: KeyMaterial, *bits: int) -> None:
    """Return if the material is of one of these lengths.

    Raises:
        InputUnusable: it is not; the message says what it may be instead.
    """
    sizes = [each // 8 for each in bits]
    if len(material) in sizes:
        return
    wanted = " or ".join(f"exactly {size} bytes ({8 * size} bits)" for size in sizes)
    raise InputUnusable(
        f"The key material is {len(material)} bytes; it must be {wanted}, raw. "
        f"{_what_it_may_be(material.reveal(), sizes)}It was not used."
    )


def warn_of_text(material: KeyMaterial, tell: Teller) -> None:
    """Say so if the material, though of the right length, cannot have come from a random generator."""
    if all(byte in _PRINTABLE for byte in material.reveal()):
        tell.warning(
            "Every byte of the key material is printable text. If it spells a key (hex, base64) or is a password, it "
            "is not the key that you mean: the bytes are imported as they are."
        )


def readable_by_others(descriptor: int) -> bool:
    """Tell whether an open regular file may be read by its group or by everybody."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISREG(mode) and bool(mode & _READABLE_BY_OTHERS)


def _opened(source: str) -> io.FileIO:
    if source != STANDARD_INPUT:
        return io.FileIO(source)
    file = io.FileIO(sys.__stdin__.fileno() if sys.__stdin__ is not None else 0, closefd=False)
    if file.isatty():
        raise InputUnusable("Standard input is a terminal; name a file, or pipe the key material into the command.")
    return file


def _look_at(file: io.FileIO, tell: Teller) -> None:
    if readable_by_others(file.fileno()):
        tell.warning("The file with the key material can be read by others; use: chmod 600 FILE")


def _read(file: io.FileIO) -> KeyMaterial:
    with KeyMaterial(bytearray(_MOST_BYTES + 1)) as whole, memoryview(whole.reveal()) as view:
        size = 0
        while got := file.readinto(view[size:]):
            size += got
        if size > _MOST_BYTES:
            raise InputUnusable(
                f"There are more than {_MOST_BYTES} bytes: that is no key material, "
                f"which is {' or '.join(str(bits // 8) for bits in ALL_BITS)} bytes. It was not used."
            )
        material = bytearray(size)
        material[:] = view[:size]
    return KeyMaterial(material)


def _what_it_may_be(value: bytearray, sizes: Sequence[int]) -> str:
    """Return a sentence with the cure and a space behind it, or nothing."""
    end = 2 if value.endswith(b"\r\n") else 1 if value.endswith(b"\n") else 0
    text = len(value) - end
    for size in sizes:
        if text == 2 * size and _spelled(value, 0, text, _HEX):
            return f"It looks like {size} bytes in hex; convert it with 'xxd -r -p FILE > key.bin'. "
        padding = -size % 3
        letters = (size + padding) // 3 * 4 - padding
        if text == letters + padding and _spelled(value, 0, letters, _BASE64):
            return f"It looks like {size} bytes in base64; convert it with 'base64 -d FILE > key.bin'. "
        if end and text == size:
            return (
                f"It ends in a line break, which an editor or 'echo' may have added; "
                f"if the key is what is before it, cut it out with 'head -c {size} FILE > key.bin'. "
            )
    if 8 * len(value) in ALL_BITS:
        return "That is the length of the service's other edition: ask its operator which one it is. "
    return ""


def _spelled(value: bytearray, start: int, end: int, alphabet: frozenset[int]) -> bool:
    return all(value[position] in alphabet for position in range(start, end))
