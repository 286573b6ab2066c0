"""`hsmkms key show` of a key that was deleted; the token is not asked, and here there is none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import config
from hsmkms.audit.chain import link
from hsmkms.core.ids import AccountName, Instant, KeyId
from hsmkms.core.keys import Key, KeyUsage, Origin
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.cli.commands import run
from tests.cli.test_configuration import GOOD

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.core.ports import Writing

WRONG_INPUT: Final = 65
DELETED: Final = KeyId("6d8b6a3e-0000-4000-8000-000000000001")
NEVER_WAS: Final = KeyId("6d8b6a3e-0000-4000-8000-000000000002")
CREATED, ENDED = Instant(1_700_000_000_500), Instant(1_700_604_800_500)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The configuration of a database from which a key was deleted."""
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD)
    asyncio.run(_delete_a_key(config.load(path).store.url))
    return path


async def _delete_a_key(url: str) -> None:
    await upgrade(url)
    key = Key(DELETED, AccountName("acme"), "payments", "", KeyUsage.ENCRYPT_DECRYPT, Origin.EXTERNAL, CREATED)
    store = await open_store(url, link=link, busy_seconds=5)

    def add_and_delete(writing: Writing) -> None:
        writing.ensure_account(key.account)
        writing.add_key(key)
        writing.delete_key(key, ENDED)

    await store.write(add_and_delete)
    await store.close()


def test_of_a_deleted_key_what_is_left_is_one_json_object(configuration: Path) -> None:
    done = run("key", "show", "--config", str(configuration), DELETED, "--json")
    assert (done.code, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert json.loads(done.stdout) == {
        "key_id": DELETED,
        "account": "acme",
        "origin": "external",
        "state": "Deleted",
        "created_at": 1_700_000_000,
        "deleted_at": 1_700_604_800,
    }


def test_in_words_it_is_the_same(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run("key", "show", "--config", str(configuration), DELETED)
    assert (done.code, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["key", "id", DELETED],
        ["account", "acme"],
        ["origin", "external"],
        ["state", "Deleted"],
        ["created", "at", "2023-11-14T22:13:20Z"],
        ["deleted", "at", "2023-11-21T22:13:20Z"],
    ]


def test_a_key_that_never_was_is_refused(configuration: Path) -> None:
    done = run("key", "show", "--config", str(configuration), NEVER_WAS)
    assert (done.code, done.stdout) == (WRONG_INPUT, "")
    assert done.stderr == "hsmkms: There is no key of this id.\n"
