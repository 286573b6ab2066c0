"""Archives of the audit trail as files, for their owner only."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from hsmkms.audit import archive
from hsmkms.audit.archive import NodeBegins
from hsmkms.core.errors import ArchiveUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from hsmkms.audit.archive import Line

_MAKING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o600
_MOST_CHARACTERS: Final = 1 << 20
"""Of a line; more than any event has."""


def require_absent(path: Path) -> None:
    """Return if an archive can be written there.

    Raises:
        ArchiveUnusable: something is there, or the folder is not.
    """
    with _saying(path, "written"):
        if not path.parent.is_dir():
            raise ArchiveUnusable(f"there is no folder {path.parent} for it; make it, or name another with --to.")
        if path.is_dir():
            raise ArchiveUnusable("it is a folder; name a file in it with --to.")
        if os.path.lexists(path):
            raise ArchiveUnusable(
                "there is something already; name a new file with --to. If it is what an interrupted archiving left, "
                "'hsmkms audit verify --archive' tells whether it is needed."
            )


async def write(path: Path, lines: AsyncIterator[Line]) -> None:
    """Write a new archive; when this returns it is on the disk.

    Raises:
        ArchiveUnusable: it cannot be written; nothing is left of it.
    """
    with _saying(path, "written"):
        descriptor = os.open(path, _MAKING, _MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                async for line in lines:
                    file.write(archive.text_of(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # it is to be read from the disk
            _flush_folder(path.parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - in a coroutine ruff takes pathlib's for a wait
            raise


def read(paths: Sequence[Path], deployment_id: str) -> Iterator[Line]:
    """Yield the lines of archives, one after the other.

    Raises:
        ArchiveUnusable: one cannot be read, is none, is of another deployment, or was changed.
    """
    for path in paths:
        with _saying(path, "read"):
            if path.exists() and not path.is_file():
                raise ArchiveUnusable("it is no regular file; it is read more than once, so unpack it first.")
            with path.open(encoding="utf-8", newline="\n") as file:
                yield from archive.read(iter(partial(file.readline, _MOST_CHARACTERS), ""), deployment_id)


def of_nodes(paths: Sequence[Path], deployment_id: str) -> Mapping[str, Sequence[Path]]:
    """Return which archives hold a part of each node's trail, the oldest first, in whatever order they are named.

    Raises:
        ArchiveUnusable: as `read`, or two of them hold the same part.
    """
    found: dict[str, dict[int, Path]] = {}
    for path in paths:
        for line in read([path], deployment_id):
            if isinstance(line, NodeBegins):
                after = 0 if line.after is None else line.after.sequence
                of_node = found.setdefault(line.node, {})
                if (first := of_node.get(after)) is not None:
                    raise ArchiveUnusable(
                        f"{first} and {path} begin after the same event: name only one. If an archiving was "
                        "interrupted, one of them is what it left: try each."
                    )
                of_node[after] = path
    return {node: [each[after] for after in sorted(each)] for node, each in found.items()}


@contextmanager
def _saying(path: Path, what: str) -> Iterator[None]:
    """Name the archive in whatever is wrong with it."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ArchiveUnusable(f"The archive {path} cannot be {what}: {reason}.") from error
    except ArchiveUnusable as error:
        raise ArchiveUnusable(f"{path}: {error.message}") from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # or a power failure could forget the file's name
    finally:
        os.close(descriptor)
