"""A database that an older version wrote keeps all it holds, and its laws, when its schema is brought up to date."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.credentials import Credential, Role
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.ids import AccessId, Account, AccountName, Instant
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.store import older

if TYPE_CHECKING:
    from pathlib import Path

NOW = Instant(1_700_000_000_000)
RECORD = b"a sealed secret of revision 0001"
SIGNERS = [
    Credential(AccessId("ak-1"), Account(7, AccountName("alice")), frozenset(Role), NOW, record=RECORD),
    Credential(AccessId("ak-2"), Account(9, AccountName("bob")), frozenset(), NOW, record=b"other", switched_on=False),
]


@pytest.fixture
def of_0001(path: Path) -> Path:
    """A database of revision 0001 with a credential that is on, and one that is off."""
    older.make(path, "0001")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        for each in SIGNERS:
            database.execute("INSERT INTO accounts VALUES (?, ?)", (each.account.number, each.account.name))
            database.execute(
                "INSERT INTO credentials (access_id, account_number, roles, record, created_at, switched_on)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (each.access_id, each.account.number, " ".join(each.roles), each.record, NOW, each.switched_on),
            )
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_its_credentials_are_the_same_afterwards(url: str, of_0001: Path) -> None:
    assert await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    assert await store.read(lambda reading: [reading.credential(each.access_id) for each in SIGNERS]) == SIGNERS
    shown = Credential(AccessId("ak-3"), SIGNERS[0].account, frozenset(Role), NOW, token_digest=bytes(32))
    await store.write(lambda writing: writing.add_credential(shown))
    assert await store.read(lambda reading: reading.credential_of_token(bytes(32))) == shown
    await store.close()
    assert mode(of_0001) == 0o600


async def test_it_is_refused_until_then(url: str, of_0001: Path) -> None:
    before = content(of_0001)
    with pytest.raises(StoreUnusable, match=r"older schema than this program; run 'hsmkms init'\.$"):
        await open_store(url, link=link, busy_seconds=1)
    assert content(of_0001) == before


async def test_of_several_upgrades_at_once_one_does_it(url: str, of_0001: Path) -> None:
    assert sorted(await asyncio.gather(*(upgrade(url) for _ in range(4)))) == [False, False, False, True]
    with closing(sqlite3.connect(of_0001)) as database:
        assert database.execute("SELECT count(*) FROM credentials").fetchone() == (len(SIGNERS),)


async def test_a_reader_keeps_its_view_meanwhile(url: str, of_0001: Path) -> None:
    with closing(sqlite3.connect(of_0001, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT * FROM credentials").fetchall()
        await upgrade(url)
        assert reader.execute("SELECT * FROM credentials").fetchall() == before
        reader.execute("COMMIT")
        assert reader.execute("SELECT * FROM credentials").fetchall() == [
            (*row, None, None, None, None) for row in before
        ]


@pytest.mark.parametrize(
    ("account", "record", "digest", "constraint"),
    [
        (8, RECORD, None, "FOREIGN KEY"),
        (7, RECORD, bytes(32), "CHECK constraint failed: ck_credentials_one_proof"),
        (7, None, None, "CHECK constraint failed: ck_credentials_one_proof"),
        (7, None, b"used", "UNIQUE constraint failed: credentials.token_digest"),
    ],
)
async def test_its_constraints_hold_afterwards(
    url: str, of_0001: Path, account: int, record: bytes | None, digest: bytes | None, constraint: str
) -> None:
    await upgrade(url)
    columns = "access_id, account_number, roles, record, created_at, switched_on, token_digest"
    statement = f"INSERT INTO credentials ({columns}) VALUES (?, ?, '', ?, 0, 1, ?)"  # noqa: S608
    with closing(sqlite3.connect(of_0001)) as database:
        database.execute("PRAGMA foreign_keys=ON")
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        database.execute(statement, ("ak-3", 7, None, b"used"))
        with pytest.raises(sqlite3.IntegrityError, match=constraint):
            database.execute(statement, ("ak-4", account, record, digest))


async def test_the_table_made_anew_leaves_no_second_copy_of_a_record(url: str, of_0001: Path) -> None:
    assert content(of_0001).count(RECORD) == 1
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    await store.erase_deleted()
    await store.close()
    assert content(of_0001).count(RECORD) == 1
