"""What a process loads before it does anything: a service is five of them, and a command is one for each word typed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "does_without"),
    [
        ("hsmkms.cli.main", {"sqlalchemy", "alembic", "pygments"}),
        ("hsmkms.supervisor", {"sqlalchemy", "alembic", "pydantic_core.core_schema", "aiohttp", "rich"}),
        ("hsmkms.store.versions", {"alembic", "mako", "pygments"}),
        ("hsmkms.hsm.host.__main__", {"sqlalchemy", "aiohttp", "pydantic", "rich"}),
    ],
)
def test_what_takes_long_to_load_is_loaded_only_where_it_is_used(module: str, does_without: set[str]) -> None:
    asked = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & does_without == set()
