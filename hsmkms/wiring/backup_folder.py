"""A backup on disk: a folder that is there whole or not at all, and a manifest that says what is in it.

Laws:

- under its name a backup is whole, and on the disk; what was interrupted has another name, and is never taken for one;
- the folder and everything in it is for its owner alone;
- the manifest holds no secret; its digests find damage, and the token's seals in the database find intent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hsmkms.core.errors import BackupUnusable
from hsmkms.core.material import Edition

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1
_MOST_NAMED: Final = 5


class Stock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file holds."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup is of, and what is in it."""

    format: int = _FORMAT
    made_at: str
    """The instant before which everything is in it, UTC."""
    hsmkms: str
    """The version of the program that made it."""
    schema: str
    """The revision of its database."""
    edition: Edition
    deployment: str
    token_serial: str
    audit_heads: tuple[str, ...]
    """The newest event of each node at `made_at`, for `hsmkms audit verify --expect-head`."""
    database: Literal["hsmkms.db", "hsmkms.dump"] | None
    """The name of its file; None: it is backed up by other means."""
    tokens: Literal["tokens"] | None
    """The name of the token's folder; None: it is backed up by other means."""
    files: dict[str, Stock] = {}


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Make a backup: what the block puts into the folder that it is given appears as `folder`, if the block ends well.

    Raises:
        BackupUnusable: there is something of that name, or the folder above does not take it.
    """
    folder = folder.absolute()
    with _writing(folder):
        if folder.is_symlink() or folder.exists():
            raise BackupUnusable(f"There is {folder} already; name a folder that does not exist.")
        unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.unfinished-", dir=folder.parent))
        try:
            yield unfinished
            unfinished.rename(folder)
            flush(folder.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Flush everything in `folder` to the disk, write what it is into `manifest` and that beside it."""
    whole = msgspec.structs.replace(manifest, files=_stock(folder))
    path = folder / MANIFEST
    path.touch(0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    flush_tree(folder)
    return whole


def verified(folder: Path) -> Manifest:
    """Return the manifest of a backup of which every byte is what was written.

    Raises:
        BackupUnusable: it is none, of another version, or something in it was lost, changed or added.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        found = _stock(folder)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupUnusable(f"{folder} is not a backup of this version, or cannot be read ({error}).") from error
    if manifest.format != _FORMAT:
        raise BackupUnusable(f"The backup {folder} was written by a newer version; install that.")
    names = sorted(manifest.files.keys() | found.keys())
    wrong = [name for name in names if manifest.files.get(name) != found.get(name)]
    if wrong:
        named = ", ".join(wrong[:_MOST_NAMED]) + (
            f" and {len(wrong) - _MOST_NAMED} more" if wrong[_MOST_NAMED:] else ""
        )
        raise BackupUnusable(f"The backup {folder} is not as it was written: {named}; take another one.")
    return manifest


def flush_tree(folder: Path) -> None:
    """Return when everything in `folder` is on the disk."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def flush(path: Path) -> None:
    """Return when one file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stock(folder: Path) -> dict[str, Stock]:
    """Return what every file in `folder` but the manifest holds, by its place there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path == folder / MANIFEST:
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = Stock(file.tell(), digest)
    return found


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupUnusable(
            f"The backup {folder} cannot be written ({error.strerror}); make room, or name another."
        ) from error
