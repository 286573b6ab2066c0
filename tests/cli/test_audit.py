"""`hsmkms audit ...` where the token is not asked: what is refused before."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import config
from hsmkms.store.urls import file_of
from hsmkms.store.versions import upgrade
from tests.cli.commands import run
from tests.cli.test_configuration import GOOD

if TYPE_CHECKING:
    from pathlib import Path

WRONG_OPTION: Final = 2
UNUSABLE: Final = 78
LAST: Final = 2**63 - 1


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The configuration of a database with nothing in it."""
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD)
    asyncio.run(upgrade(config.load(path).store.url))
    return path


@pytest.mark.parametrize("after", [-1, LAST + 1, 99999999999999999999])
def test_a_sequence_that_no_event_can_have_is_a_wrong_option(configuration: Path, after: int) -> None:
    done = run("audit", "export", "--config", str(configuration), "--after", str(after))
    assert (done.code, done.stdout) == (WRONG_OPTION, "")
    assert "--after" in done.stderr


def test_after_the_last_sequence_there_is_nothing(configuration: Path) -> None:
    done = run("audit", "export", "--config", str(configuration), "--after", str(LAST))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("words", [("audit", "verify"), ("audit", "export"), ("credential", "list")])
def test_a_database_without_one_of_its_tables_is_said_to_be_damaged(
    configuration: Path, words: tuple[str, ...]
) -> None:
    with contextlib.closing(sqlite3.connect(file_of(config.load(configuration).store.url))) as database:
        database.execute("DROP TABLE audit_seals")
    done = run(*words, "--config", str(configuration))
    assert (done.code, done.stdout, done.stderr.count("\n")) == (UNUSABLE, "", 1)
    assert done.stderr.startswith("hsmkms: ")
    assert "lacks the table audit_seals" in done.stderr
