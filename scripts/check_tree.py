"""Check what no linter does: module sizes, empty names, locks that disagree, paths of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent

LONGEST: Final = {"hsmkms": 450, "scripts": 450, "tests": 800}
"""Lines of a module, by its top folder."""

LONGER: Final[dict[str, tuple[int, str]]] = {}
"""Modules that may be longer: path -> (lines, the reason)."""

EMPTY_WORDS: Final = frozenset({"common", "helper", "helpers", "manager", "misc", "util", "utils"})
"""A name with one of these words says nothing about what is inside."""

LOCKS: Final = ("runtime", "build", "demo", "dev")
INSIDE: Final = (("runtime", "demo"), ("build", "demo"), ("demo", "dev"))
"""The second lock holds the first, at the same versions."""

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_NAME: Final = re.compile(r"^[A-Za-z0-9._-]+")
_CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_MACHINE_PATH: Final = re.compile(r"(?<![\w.~-])/(?:root|home)/")


def main() -> int:
    """Return 1 if there is anything to complain about."""
    complaints = [*_of_modules(), *_of_locks(), *_of_paths()]
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


def _of_modules() -> Iterator[str]:
    for top, most in LONGEST.items():
        for path in sorted((ROOT / top).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            lines = text.count("\n")
            allowed, _reason = LONGER.get(name, (most, ""))
            if lines > allowed:
                yield f"{name}: {lines} lines, at most {allowed}: split it by subject"
            for part in (path.parent.name, path.stem):
                if EMPTY_WORDS & set(part.split("_")):
                    yield f"{name}: the name {part!r} says nothing; name it after what it holds"
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef):
                    words = {word.lower() for word in _CAMEL.findall(node.name)}
                    if EMPTY_WORDS & words:
                        yield f"{name}:{node.lineno}: the class name {node.name} says nothing"


def _of_locks() -> Iterator[str]:
    locked: dict[str, dict[str, str]] = {}
    for kind in LOCKS:
        text = (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8")
        locked[kind] = dict(_PIN.findall(text))
        if "://" in text or "\n-" in text or " @ " in text:
            yield f"requirements/{kind}.txt: pins and hashes only, no address and no option"
    for inner, outer in INSIDE:
        for package, version in locked[inner].items():
            if locked[outer].get(package) != version:
                yield f"requirements/{outer}.txt: {package} differs from {inner}.txt; run scripts/lock"

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {"runtime": project["dependencies"], **project["optional-dependencies"]}
    for kind, requirements in asked.items():
        for requirement in requirements:
            found = _NAME.match(requirement)
            package = found.group().lower().replace("_", "-") if found else requirement
            if package not in locked[kind]:
                yield f"requirements/{kind}.txt: {package} of pyproject.toml is missing; run scripts/lock"


def _of_paths() -> Iterator[str]:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        files = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 - a fixed command
    except (OSError, subprocess.CalledProcessError):
        return  # an unpacked archive, not a clone
    for name in sorted(set(files.split("\0")) - {"", "scripts/check_tree.py"}):
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # deleted, or not text
        for number, line in enumerate(text.splitlines(), 1):
            if _MACHINE_PATH.search(line):
                yield f"{name}:{number}: a path of one machine"


if __name__ == "__main__":
    sys.exit(main())
