"""How the kernel comes from a path to a file (path_resolution(7)): through which folders, and which names in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINKS: Final = 40
"""After as many symbolic links the kernel gives up, too (ELOOP)."""


def ways(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each folder in which a name is looked up on the way to `path`, and the name's own path, in that order.

    Whoever may replace one of these names chooses what `path` leads to. What is not there is yielded as well.
    """
    names = _reversed_names(path.absolute())
    here = Path("/")
    links = 0
    while names:
        name = names.pop()
        if name == "..":
            here = here.parent
            continue
        entry = here / name
        yield here, entry
        try:
            target = entry.readlink()
        except OSError:
            here = entry
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        names += _reversed_names(target)
        here = Path("/") if target.is_absolute() else here


def _reversed_names(path: Path) -> list[str]:
    # Not `os.path.abspath`, nor anything that drops "..": behind a symbolic link that leads somewhere else.
    return [name for name in reversed(path.parts) if name != path.anchor]
