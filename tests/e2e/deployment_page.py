"""docs/deployment.md, to be run command by command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE: Final = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
_SECONDS: Final = 100


def blocks(title: str, language: str = "") -> list[str]:
    """Return the blocks of a section in a language; without one: what is shown, not what is to be run."""
    (section,) = re.findall(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [text for named, text in found if named == language]


def run(commands: str, places: Mapping[str, Path]) -> str:
    """Run a block of the page and return what it printed; `places` says where here is what it calls otherwise."""
    for said, here in places.items():
        commands = commands.replace(said, str(here))
    done = subprocess.run(
        ["sh", "-eu", "-c", commands],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, (commands, done.stdout, done.stderr)
    return done.stdout
