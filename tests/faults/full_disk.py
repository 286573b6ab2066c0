"""A disk that is full when the test says so; how it is done is in `full_disk.c`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.pkcs11_faults import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCE: Final = Path(__file__).with_name("full_disk.c")


@dataclass(frozen=True)
class Disk:
    """Where some files are."""

    folder: Path
    """For the library, and for the file that says that the disk is full."""
    prefix: Path
    """What the paths of the files begin with that find it full."""

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find the disk full."""
        library = self.folder / "full_disk.so"
        if not library.exists():
            compiled(_SOURCE, library, "-fvisibility=default")
        return {"LD_PRELOAD": str(library), "FULL_DISK_FLAG": str(self._flag), "FULL_DISK_PREFIX": str(self.prefix)}

    @property
    def _flag(self) -> Path:
        return self.folder / "disk-is-full"

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Let it be full for the block."""
        self._flag.touch()
        try:
            yield
        finally:
            self._flag.unlink()
