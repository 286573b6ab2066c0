from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnavailable, StoreUnusable
from hsmkms.store.database import open_store
from hsmkms.store.migrating import config_of
from hsmkms.store.schema import METADATA
from hsmkms.store.versions import VERSION_TABLE, known_revisions, upgrade

if TYPE_CHECKING:
    from pathlib import Path


def contents(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


async def opened(url: str) -> None:
    await (await open_store(url, link=link, busy_seconds=1)).close()


def declared(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the parts of each table's and index's declaration, in no order, and without the quotation marks.

    SQLite puts them around the name of a table that was renamed, as a batch of Alembic does.
    """
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    wanted = {name: sql for name, sql in rows if name not in {VERSION_TABLE, "sqlite_sequence"}}
    return {
        name: sorted(part.strip(" \n\t)") for part in sql.replace('"', "").split(",")) for name, sql in wanted.items()
    }


async def test_the_migrations_make_exactly_the_schema(url: str, path: Path) -> None:
    await upgrade(url)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


async def test_the_migrations_make_its_constraints_and_partial_indices_too(
    url: str, path: Path, tmp_path: Path
) -> None:
    """`compare_metadata` looks at neither."""
    await upgrade(url)
    direct = tmp_path / "direct.db"
    engine = create_engine(f"sqlite:///{direct}")
    METADATA.create_all(engine)
    engine.dispose()
    migrated, created = sqlite3.connect(path), sqlite3.connect(direct)
    assert declared(migrated) == declared(created)
    assert "ix_tickets_live_by_key" in declared(migrated)
    migrated.close()
    created.close()


def test_the_names_of_the_migrations_tell_alembic_s_order() -> None:
    scripts = ScriptDirectory.from_config(config_of())
    assert [each.revision for each in scripts.walk_revisions()] == known_revisions()[::-1]
    assert scripts.get_heads() == known_revisions()[-1:]


async def test_upgrading_again_changes_nothing(url: str, path: Path) -> None:
    await upgrade(url)
    before = contents(path)
    await upgrade(url)
    assert contents(path) == before is not None
    await opened(url)


async def test_several_upgrades_at_once_make_one_schema_where_there_was_none(url: str) -> None:
    assert await asyncio.gather(*(upgrade(url) for _ in range(4))) == [False] * 4
    await opened(url)


async def test_without_a_database_the_cure_is_init(url: str, path: Path) -> None:
    with pytest.raises(StoreUnusable, match="run 'hsmkms init'"):
        await opened(url)
    assert contents(path) is None


async def test_an_empty_database_is_older(url: str, path: Path) -> None:
    sqlite3.connect(path).close()
    assert contents(path) == b""
    with pytest.raises(StoreUnusable, match="older schema than this program; run 'hsmkms init'"):
        await opened(url)
    await upgrade(url)
    await opened(url)


async def test_a_newer_schema_is_refused_and_left_alone(url: str, path: Path) -> None:
    await upgrade(url)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE hsmkms_schema SET version_num = '9999'")
    connection.close()
    before = contents(path)
    for attempt in (opened, upgrade):
        with pytest.raises(StoreUnusable, match="newer schema than this program; install the version that wrote it"):
            await attempt(url)
    assert contents(path) == before


async def test_another_programs_database_is_refused_and_left_alone(url: str, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
    connection.close()
    before = contents(path)
    for attempt in (opened, upgrade):
        with pytest.raises(StoreUnusable, match="belongs to another program"):
            await attempt(url)
    assert contents(path) == before


@pytest.mark.parametrize("name", ["audit_cuts", "audit_seals", "keys"])
async def test_without_one_of_its_tables_it_is_unusable_and_that_is_said(url: str, path: Path, name: str) -> None:
    await upgrade(url)
    with sqlite3.connect(path) as connection:
        connection.execute(f"DROP TABLE {name}")
    connection.close()
    before = contents(path)
    for attempt in (opened, upgrade):
        with pytest.raises(StoreUnusable, match=f"lacks the table {name}: .* restore a backup"):
            await attempt(url)
    assert contents(path) == before


@pytest.fixture
def letter(path: Path) -> bytes:
    text = b"This is a letter, not a database.\n" * 100
    path.write_bytes(text)
    return text


async def test_a_file_that_is_no_database_is_refused_and_left_alone(url: str, path: Path, letter: bytes) -> None:
    for attempt in (opened, upgrade):
        with pytest.raises(StoreUnusable, match="is not a database"):
            await attempt(url)
    assert contents(path) == letter


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}"
    for attempt in (opened, upgrade):
        with pytest.raises(StoreUnusable, match="is not a file that this user can read and write"):
            await attempt(url)


async def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot be created: No such file or directory"):
        await upgrade(f"sqlite:///{tmp_path}/absent/hsmkms.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hsmkms.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////tmp/x.db?mode=ro",
        "mysql://u:hidden@h/d",
        "nonsense://x",
    ],
)
async def test_a_url_that_names_no_file_is_refused_in_one_sentence(url: str) -> None:
    for attempt in (opened, upgrade):
        with pytest.raises(StoreUnusable, match=r"^store\.url: write sqlite:///FILE[^.]*\.(\.\.\.)?$") as caught:
            await attempt(url)
        assert "hidden" not in str(caught.value)


async def test_a_database_can_be_opened_while_another_process_writes(url: str, path: Path) -> None:
    await upgrade(url)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    await opened(url)
    writer.close()


async def test_a_database_locked_against_readers_is_unavailable_not_unusable(url: str, path: Path) -> None:
    await upgrade(url)
    owner = sqlite3.connect(path, isolation_level=None)
    owner.execute("PRAGMA locking_mode=EXCLUSIVE")
    owner.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable):
        await opened(url)
    owner.close()
    await opened(url)


async def test_a_path_with_odd_characters_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "100%s #1"
    folder.mkdir()
    url = f"sqlite:///{folder}/hsm kms.db"
    await upgrade(url)
    await opened(url)
    assert (folder / "hsm kms.db").exists()
