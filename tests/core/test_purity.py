"""The laws in hsmkms/core/__init__.py, read from the sources."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import hsmkms.core
from hsmkms.core.errors import HsmkmsError
from hsmkms.core.secrets import Secret

ROOM = Path(hsmkms.core.__file__).parent
SOURCES = sorted(ROOM.glob("*.py"))
MODULES = [path.stem for path in SOURCES if path.stem != "__init__"]

# Where a clock, randomness, input, output, threads or a log would come from.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "io", "logging", "mmap", "multiprocessing", "os", "pathlib",
    "queue", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALL = re.compile(
    r"datetime\.now|time\.time|monotonic|(?<!core\.)\bsecrets\.|logging|getLogger|\bprint\(|\bopen\("
)


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name is from"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_module_of_the_core_imports_the_standard_library_and_the_core_only(path: Path) -> None:
    foreign = {
        name
        for name in _imported(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("hsmkms.core.")
    }
    assert foreign == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_module_of_the_core_has_no_clock_no_randomness_no_log_and_no_io(path: Path) -> None:
    assert {name.split(".")[0] for name in _imported(path)} & IMPURE == set()
    assert IMPURE_CALL.findall(path.read_text()) == []


@pytest.mark.parametrize("name", [name for name in MODULES if name != "ports"])
def test_the_core_is_synchronous(name: str) -> None:
    tree = ast.parse((ROOM / f"{name}.py").read_text())
    assert [node for node in ast.walk(tree) if isinstance(node, (ast.AsyncFunctionDef, ast.Await))] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_value_of_the_core_is_frozen_and_slotted(name: str) -> None:
    module = importlib.import_module(f"hsmkms.core.{name}")
    for found in vars(module).values():
        if inspect.isclass(found) and found.__module__ == module.__name__ and dataclasses.is_dataclass(found):
            assert found.__dataclass_params__.frozen, found  # type: ignore[attr-defined]
            assert "__slots__" in vars(found), found


@pytest.mark.parametrize("name", MODULES)
def test_every_class_of_the_core_is_a_value_an_error_a_secret_an_enumeration_or_a_port(name: str) -> None:
    module = importlib.import_module(f"hsmkms.core.{name}")
    for found in vars(module).values():
        if inspect.isclass(found) and found.__module__ == module.__name__:
            kinds = (
                dataclasses.is_dataclass(found),
                issubclass(found, (HsmkmsError, Secret)),
                hasattr(found, "__members__"),
                getattr(found, "_is_protocol", False),
            )
            assert sum(map(bool, kinds)) == 1, found
