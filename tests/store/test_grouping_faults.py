"""What goes wrong with a group of changes as a whole, and with those that wait for it."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import AliasTaken, InternalFault, StoreUnavailable
from tests.contract.store_contract import event, key, material, put
from tests.store.test_files import limit_pages
from tests.store.test_grouping import adding, require, together
from tests.store.writer import aliases, counted, driver_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting

ENDING = "CREATE TRIGGER ends BEFORE INSERT ON keys WHEN new.alias = 'ends' BEGIN SELECT RAISE(ROLLBACK, 'no'); END"
SWALLOWING = "CREATE TRIGGER quiet BEFORE INSERT ON events WHEN new.actor = 'x' BEGIN SELECT RAISE(IGNORE); END"


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsmkms.store.grouping._BUSY_SECONDS", 60.0)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)


@contextmanager
def files_that_do_not_grow(path: Path) -> Iterator[None]:
    """Let the WAL not take what a commit writes; SQLite says that the disk failed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(f"{path.name}-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_change_that_ends_the_transaction_of_all_fails_all(store: SqlStore, path: Path) -> None:
    await put(store)
    execute(path, ENDING)

    def go_on(writing: SqlWriting) -> None:
        with pytest.raises(InternalFault):
            adding("ends")(writing)
        with pytest.raises(StoreUnavailable):  # or it would be committed at once, and alone
            adding("after")(writing)

    for ending in (adding("ends"), go_on):
        found = await together(store, adding("a"), ending)
        assert [type(each) for each in found] == [StoreUnavailable] * 2
        await require(store, path)
    assert await together(store, adding("a"), adding("b")) == ["a", "b"]
    await require(store, path, "a", "b")


async def test_those_behind_it_are_committed(store: SqlStore, path: Path) -> None:
    await put(store)
    execute(path, ENDING)
    first, second, third = await together(store, adding("a"), adding("ends"), adding("c"))
    assert isinstance(first, StoreUnavailable)
    assert isinstance(second, StoreUnavailable)
    assert third == "c"
    await require(store, path, "c")


async def test_a_full_disk_hurts_only_while_it_is_full(store: SqlStore, path: Path) -> None:
    await put(store)
    await limit_pages(store, 100)

    def add_much(writing: SqlWriting) -> None:
        writing.add_key(replace(key("much"), material=material(b"\x01x" * 1_000_000)))

    first, second, third = await together(store, adding("a"), add_much, adding("c"))
    assert isinstance(second, StoreUnavailable)
    kept = [name for name, found in (("a", first), ("c", third)) if found == name]
    await require(store, path, *kept)
    await limit_pages(store, 10_000)
    assert await together(store, adding("d"), add_much) == ["d", None]
    assert aliases(path) == {*kept, "d", "much"}


async def test_a_commit_that_fails_fails_all(store: SqlStore, path: Path) -> None:
    await put(store)
    driver = await driver_of(store)
    with files_that_do_not_grow(path), counted(driver) as statements:
        found = await together(store, adding("a"), adding("b", ValueError()), adding("a"), adding("c"))
    assert statements["COMMIT"] == 1
    assert [type(each) for each in found] == [StoreUnavailable] * 4
    assert AliasTaken not in map(type, found), "nobody has it"
    await require(store, path)
    assert await together(store, adding("a"), adding("b")) == ["a", "b"]
    await require(store, path, "a", "b")


async def test_a_commit_that_is_refused_for_one_of_them_is_tried_for_each(store: SqlStore, path: Path) -> None:
    await put(store)

    def refer_to_nothing(writing: SqlWriting) -> None:
        adding("orphan")(writing)
        writing.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        writing.connection.exec_driver_sql("INSERT INTO key_tags (key_id, name, value) VALUES ('none', 'a', 'b')")

    with counted(await driver_of(store)) as statements:
        first, second, third = await together(store, adding("a"), refer_to_nothing, adding("c"))
    assert (first, third) == ("a", "c")
    assert isinstance(second, InternalFault)
    assert statements["COMMIT"] == 4
    await require(store, path, "a", "c")


async def test_an_event_that_is_swallowed_undoes_only_the_change_that_it_tells_of(store: SqlStore, path: Path) -> None:
    await put(store)
    execute(path, SWALLOWING)
    runs = []

    def swallowed(writing: SqlWriting) -> None:
        runs.append(True)
        writing.add_key(key("b"))
        writing.append(replace(event("b"), actor="x"))

    changes = (adding("a"), swallowed, adding("c"), adding("a"), adding("b"))
    first, second, third, fourth, fifth = await together(store, *changes)
    assert (first, third, fifth) == ("a", "c", "b"), "an alias that nobody got is free"
    assert isinstance(second, InternalFault)
    assert isinstance(fourth, AliasTaken)
    assert len(runs) == 2
    await require(store, path, "a", "c", "b")
    with counted(await driver_of(store)) as statements:
        assert await together(store, adding("d"), adding("e")) == ["d", "e"]
    assert statements["COMMIT"] == 1, "those that come later are together again"
