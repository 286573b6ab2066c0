"""`hsmkms audit ...` where the token is not asked: what is refused before."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import config
from hsmkms.audit.chain import link
from hsmkms.audit.verification import BreakReason, Verification
from hsmkms.cli import audit
from hsmkms.core.events import AuditCut, AuditHead, ChainedEvent, Event, EventTag
from hsmkms.core.ids import Instant
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


def test_an_archive_needs_a_place(configuration: Path) -> None:
    done = run("audit", "archive", "--config", str(configuration))
    assert (done.code, done.stdout) == (WRONG_OPTION, "")
    assert "--to" in done.stderr


@pytest.mark.parametrize("days", ["-1", "100001", "ten"])
def test_days_that_nobody_can_mean_are_a_wrong_option(configuration: Path, tmp_path: Path, days: str) -> None:
    done = run("audit", "archive", "--config", str(configuration), "--to", str(tmp_path / "new"), "--keep-days", days)
    assert (done.code, done.stdout) == (WRONG_OPTION, "")
    assert "--keep-days" in done.stderr


def test_a_place_that_is_taken_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD)
    done = run("audit", "archive", "--config", str(path), "--to", str(path))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert done.stderr == (
        f"hsmkms: {path}: there is something already; name a new file with --to. If it is what an interrupted "
        "archiving left, 'hsmkms audit verify --archive' tells whether it is needed.\n"
    )
    assert not file_of(config.load(path).store.url).exists()


def test_a_database_that_was_never_initialised_has_no_trail_to_archive(configuration: Path, tmp_path: Path) -> None:
    done = run("audit", "archive", "--config", str(configuration), "--to", str(tmp_path / "new"))
    assert (done.code, done.stdout, done.stderr.count("\n")) == (UNUSABLE, "", 1)
    assert "hsmkms init" in done.stderr
    assert not (tmp_path / "new").exists()


HEAD: Final = AuditHead(2000, bytes(32))
CUT: Final = AuditCut(HEAD, bytes(32))


def test_what_was_archived_is_told_apart_from_what_there_is() -> None:
    found = Verification(None)
    found.begin_after(CUT, genuine=True)
    assert audit.sentences_of(found)[0] == f"Archived up to: {HEAD}"
    assert not any("There is no seal" in line for line in audit.sentences_of(found))
    assert audit.members_of_trail(found) == {
        "holds": True,
        "breaks": [],
        "events": 0,
        "head": None,
        "archived": str(HEAD),
        "sealed_head": str(HEAD),
        "not_yet_protected": 0,
    }


def test_an_archive_that_is_broken_does_not_make_the_database_one_without_seals() -> None:
    found = Verification(None)
    event = Event(EventTag.DEPLOYMENT_INITIALISED, Instant(0), None, "operator")
    found.follow([ChainedEvent(1, link(b"", event), event), ChainedEvent(2, bytes(32), event)])
    assert found.ended
    said = audit.sentences_of(found)
    assert [said[0], said[-1]] == [
        f"Event 2: {BreakReason.DIGEST.value}.",
        "The audit trail does NOT hold; 1 event could be followed.",
    ]
    assert not any("There is no seal" in line for line in said)


def test_without_archives_nothing_is_said_of_them() -> None:
    found = Verification(None)
    assert audit.members_of_trail(found)["archived"] is None
    assert not any("Archived" in line for line in audit.sentences_of(found))


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, "what was sealed last stays, and there is nothing sealed before it"),
        (1, "no sealed block of a thousand events is older than 1 day as a whole, or only the last one"),
        (90, "no sealed block of a thousand events is older than 90 days as a whole, or only the last one"),
    ],
)
def test_why_there_is_nothing_to_archive_is_said(days: int, words: str) -> None:
    assert audit.nothing_to_archive(days) == f"There is nothing to archive: {words}. No file was written."
