"""What the README says is run, and what it points to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.dialects.huawei import refusals
from tests.e2e.running import HSMKMS, hsmkms

if TYPE_CHECKING:
    from tests.e2e.running import RunningService

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("softhsm/*.md")])


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [block for its_language, block in found if its_language == language]


@pytest.mark.parametrize(
    ("program", "state"), list(zip(blocks("python"), ("Enabled", "2"), strict=True)), ids=["tencent", "huawei"]
)
def test_each_program_imports_a_key(program: str, state: str, service: RunningService, tmp_path: Path) -> None:
    for said, here in (
        ("127.0.0.1:8765", service.endpoint),
        ("var/credential.json", str(service.instance.folder / "credential.json")),
    ):
        assert said in program
        program = program.replace(said, here)
    done = subprocess.run(
        [sys.executable, "-"], input=program, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, f"{state}\n"), done.stderr


def test_the_demo_shows_what_the_readme_says(service: RunningService) -> None:
    files = ("--config", str(service.instance.config), "--credential", str(service.instance.folder / "credential.json"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py"), *files, "--endpoint", service.endpoint],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert labels(done.stdout) == labels(blocks("")[0])
    assert "length 256 bits" in labels(done.stdout)


def labels(text: str) -> list[str]:
    """Return what stands in the first column of the demo's lines."""
    return [line[3:28].rstrip() for line in text.splitlines() if line.startswith("   ") and line[3] != " "]


def test_every_command_it_names_exists() -> None:
    commands = re.findall(r"^\| `hsmkms ([a-z ]+?)(?: [A-Z_]+)?` \|", README, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        assert "Usage:" in hsmkms(*command.split(), "--help").stdout
    assert HSMKMS[-1] == "hsmkms"


def test_the_first_commands_it_names_are_scripts_of_ours() -> None:
    scripts = re.findall(r"^(\./\S+)", blocks("sh")[0], re.MULTILINE)
    assert scripts == ["./scripts/run", "./scripts/test"]
    assert all((ROOT / script).stat().st_mode & 0o100 for script in scripts)


def test_the_page_of_the_huawei_api_names_every_code() -> None:
    page = (ROOT / "docs" / "huawei.md").read_text()
    tables = (refusals.CODES, refusals.FIELD_CODES, refusals.STATE_CODES)
    assert {code.text for table in tables for code in table.values()} == set(re.findall(r"\w+\.\d{4}", page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target
