"""What the README says is run, and what it points to is there."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.dialects.huawei import refusals
from tests.cli.commands import run
from tests.e2e.running import HSMKMS, hsmkms

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.running import RunningService

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("softhsm/*.md")])


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [block for its_language, block in found if its_language == language]


TENCENT, TENCENT_GOES_ON, HUAWEI, HUAWEI_GOES_ON = blocks("python")


@pytest.mark.parametrize(
    ("imports", "goes_on", "state", "refusal"),
    [
        (TENCENT, TENCENT_GOES_ON, "Enabled", "UnsupportedOperation"),
        (HUAWEI, HUAWEI_GOES_ON, "2", "KMS.0308"),
    ],
    ids=["tencent", "huawei"],
)
def test_each_program_imports_a_key_and_uses_it(
    imports: str, goes_on: str, state: str, refusal: str, service: RunningService, tmp_path: Path
) -> None:
    program = imports + goes_on
    for said, here in (
        ("127.0.0.1:8765", service.endpoint),
        ("var/credential.json", str(service.instance.folder / "credential.json")),
    ):
        assert said in program
        program = program.replace(said, here)
    done = subprocess.run(
        [sys.executable, "-"], input=program, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    if service.instance.token == "nss":  # imports go on there, but it does not encrypt with GCM (docs/tokens.md)
        assert (done.returncode, done.stdout) == (1, f"{state}\n"), done.stderr
        assert refusal in done.stderr
        assert "AES_256_GCM" in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, f"{state}\na short secret\n32\n"), done.stderr


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


def test_import_key_shows_what_its_page_says(serving: Callable[[str, str], RunningService], tmp_path: Path) -> None:
    service = serving("softhsm", "fips")
    said, of_hex = re.findall(
        r"^```\n(.*?)^```$", (ROOT / "docs" / "importing.md").read_text(), re.DOTALL | re.MULTILINE
    )
    files = {"raw": secrets.token_bytes(32), "hex": f"{secrets.token_hex(32)}\n".encode()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    where = (
        "--endpoint",
        f"http://{service.endpoint}",
        "--credential",
        str(service.instance.folder / "credential.json"),
    )
    alias = ("--create", f"payments-{secrets.token_hex(4)}")
    done = hsmkms("import-key", *where, *alias, str(tmp_path / "raw"))
    assert first_words(done.stderr + done.stdout) == first_words(said)
    assert hsmkms("import-key", *where, *alias, str(tmp_path / "hex"), expect=2).stderr == of_hex


def first_words(text: str) -> list[str]:
    """Return what stands before the facts that `hsmkms import-key` shows, line by line."""
    return [re.split(r"  +| (?=RSAES)", line)[0] for line in text.splitlines()]


def test_every_command_it_names_exists() -> None:
    commands = re.findall(r"^\| `hsmkms ([a-z -]+?)(?: [A-Z_]+)?` \|", README, re.MULTILINE)
    assert len(commands) == 10
    for command in commands:
        assert "Usage:" in run(*command.split(), "--help").stdout
    assert HSMKMS[-1] == "hsmkms"


def test_the_first_commands_it_names_are_scripts_of_ours() -> None:
    scripts = re.findall(r"^(\./\S+)", blocks("sh")[0], re.MULTILINE)
    assert scripts == ["./scripts/run", "./scripts/test", "./scripts/bench"]
    assert all((ROOT / script).stat().st_mode & 0o100 for script in scripts)


def test_the_page_of_the_huawei_api_names_every_code() -> None:
    page = (ROOT / "docs" / "huawei.md").read_text()
    said = {*refusals.CODES.values(), *refusals.FIELD_CODES.values()}
    for by_two in (refusals.FIELD_CODES_OF, refusals.STATE_CODES):
        said.update(code for table in by_two.values() for code in table.values())
    assert {code.text for code in said} == set(re.findall(r"\w+\.\d{4}", page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target
