"""What somebody put into the database's file beside rows: it is refused by name before anything is read."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import InternalFault, StoreUnusable
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import event
from tests.store import older

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.store.database import SqlStore

SWALLOW: Final = "CREATE TRIGGER quiet BEFORE INSERT ON events WHEN new.actor = 'ak-1' BEGIN SELECT RAISE(IGNORE); END"


def redeclared(old: str, new: str) -> str:
    """Return what makes another declaration of the table of events."""
    return f"UPDATE sqlite_master SET sql = replace(sql, '{old}', '{new}') WHERE name = 'events'"  # noqa: S608 - our own words


CHANGES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "a trigger": ((SWALLOW,), "holds the trigger quiet"),
    "a view": (("CREATE VIEW shown AS SELECT * FROM keys",), "holds the view shown"),
    "a view in place of a table": (
        ("ALTER TABLE events RENAME TO kept", "CREATE VIEW events AS SELECT * FROM kept WHERE actor <> 'ak-1'"),
        "holds the view events",
    ),
    "another table": (("CREATE TABLE other (one INTEGER)",), "holds the table other"),
    "another index": (("CREATE UNIQUE INDEX once ON events (actor)",), "holds the index once"),
    "an index that is gone": (("DROP INDEX ix_keys_due",), "lacks the index ix_keys_due"),
    "an index over other rows": (
        ("DROP INDEX ix_keys_due", "CREATE INDEX ix_keys_due ON keys (deletion_due)"),
        "holds the index ix_keys_due otherwise",
    ),
    "a column more": (("ALTER TABLE events ADD COLUMN more TEXT",), "holds the table events otherwise"),
    "a constraint that swallows rows": (
        ("PRAGMA writable_schema = ON", redeclared("account TEXT", "account TEXT NOT NULL ON CONFLICT IGNORE")),
        "holds the table events otherwise",
    ),
}


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


async def opened(url: str) -> None:
    await (await open_store(url, link=link, busy_seconds=1)).close()


@pytest.mark.parametrize("change", CHANGES)
async def test_what_this_program_did_not_make_is_refused_by_name(url: str, path: Path, change: str) -> None:
    await upgrade(url)
    await opened(url)
    statements, said = CHANGES[change]
    edit(path, *statements)
    with pytest.raises(StoreUnusable, match=said):
        await opened(url)


async def test_what_sqlite_makes_itself_is_left_alone(url: str, path: Path) -> None:
    await upgrade(url)
    edit(path, "ANALYZE", "VACUUM")
    await opened(url)


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0005"])
async def test_a_database_of_any_older_version_is_as_it_should_be_afterwards(
    url: str, path: Path, revision: str
) -> None:
    await asyncio.to_thread(older.make, path, revision)
    await upgrade(url)
    await opened(url)


async def test_an_event_that_the_database_swallows_undoes_what_it_tells_of(store: SqlStore, path: Path) -> None:
    edit(path, SWALLOW.replace("'ak-1'", f"'{event().actor}'"))
    with pytest.raises(InternalFault):
        await store.write(lambda writing: writing.append(event()))
    assert await store.trail().events(0, 10) == []
