"""Copies of a database that is written to, and copies that are put back."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import BackupUnusable, StoreUnusable
from hsmkms.store import backup
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade

if TYPE_CHECKING:
    from pathlib import Path

BUSY_SECONDS = 5.0
NUMBERED = "INSERT INTO accounts (name) VALUES (?)"


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    path = tmp_path / "hsmkms.db"
    await upgrade(f"sqlite:///{path}")
    return path


def accounts(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as reading:
        return [row[0] for row in reading.execute("SELECT name FROM accounts ORDER BY name")]


async def test_what_is_not_in_the_file_yet_is_in_the_copy(database: Path, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    with contextlib.closing(sqlite3.connect(database)) as writing:
        writing.execute("PRAGMA journal_mode=WAL")
        writing.execute(NUMBERED, ("committed",))
        writing.commit()
        assert database.with_name("hsmkms.db-wal").stat().st_size > 0
        writing.execute(NUMBERED, ("not-committed",))
        assert await backup.copy(f"sqlite:///{database}", tmp_path / "copies", BUSY_SECONDS) == "hsmkms.db"
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["hsmkms.db"], "one file, whole in itself"
    header = (tmp_path / "copies" / "hsmkms.db").read_bytes()[:20]
    assert header[18:20] == b"\x01\x01", "it can be read where nobody can write (sqlite.org/fileformat.html, 1.3.3)"
    assert accounts(tmp_path / "copies" / "hsmkms.db") == ["committed"]


async def test_a_copy_is_of_one_instant_however_much_is_written(database: Path, tmp_path: Path) -> None:
    """Two accounts are added in each transaction, so that a copy has an even number of them."""
    written, ended = 0, asyncio.Event()

    def write_two() -> None:
        with contextlib.closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as writing:
            writing.executemany(NUMBERED, [(f"a{written:05}",), (f"b{written:05}",)])
            writing.commit()

    async def write() -> None:
        nonlocal written
        while not ended.is_set():
            await asyncio.to_thread(write_two)
            written += 1

    working = asyncio.create_task(write())
    copies = []
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        copies.append(folder / await backup.copy(f"sqlite:///{database}", folder, BUSY_SECONDS))
    ended.set()
    await working
    found = [len(accounts(path)) for path in copies]
    assert found == sorted(found)
    assert found[-1] > 0
    assert not any(count % 2 for count in found)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-4096 * 2 : -4096] = b"\xff" * 4096
    path.write_bytes(content)


async def test_a_damaged_database_is_not_copied_in_silence(database: Path, tmp_path: Path) -> None:
    damage(database)
    (tmp_path / "copies").mkdir()
    with pytest.raises(BackupUnusable, match="is damaged"):
        await backup.copy(f"sqlite:///{database}", tmp_path / "copies", BUSY_SECONDS)


async def test_what_was_restored_is_what_was_copied(database: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as writing:
        writing.execute(NUMBERED, ("kept",))
        writing.commit()
    (tmp_path / "copies").mkdir()
    name = await backup.copy(f"sqlite:///{database}", tmp_path / "copies", BUSY_SECONDS)
    restored = tmp_path / "restored" / "other.db"
    with pytest.raises(StoreUnusable, match="cannot be written"):
        await backup.restore(f"sqlite:///{restored}", tmp_path / "copies" / name)
    restored.parent.mkdir()
    await backup.restore(f"sqlite:///{restored}", tmp_path / "copies" / name)
    assert [path.name for path in restored.parent.iterdir()] == ["other.db"]
    assert restored.stat().st_mode & 0o777 == 0o600
    opened = await open_store(f"sqlite:///{restored}", link=link, busy_seconds=BUSY_SECONDS)
    await opened.close()
    assert accounts(restored) == ["kept"]
    with pytest.raises(BackupUnusable, match="already"):
        await backup.restore(f"sqlite:///{restored}", tmp_path / "copies" / name)
