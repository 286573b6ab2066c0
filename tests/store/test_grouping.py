"""Changes that wait together are committed together, and each is answered as if it were alone."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.verification import Walk
from hsmkms.core.errors import AliasTaken, InternalFault, StoreUnavailable
from hsmkms.core.ids import KeyId
from hsmkms.store import queries
from tests.contract.store_contract import ALICE, NOW, Halt, event, key, put, ticket
from tests.store.writer import aliases, counted, driver_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting

    Change = Callable[[SqlWriting], object]

REQUEST = contextvars.ContextVar("REQUEST", default="none")


class Stop(BaseException):
    """What is no `Exception`, and stops no event loop."""


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a group takes all that wait."""
    monkeypatch.setattr("hsmkms.store.grouping._BUSY_SECONDS", 60.0)


def adding(alias: str, fault: BaseException | None = None) -> Change:
    def add(writing: SqlWriting) -> str:
        writing.add_key(key(alias))
        writing.append(event(alias))
        if fault is not None:
            raise fault
        return alias

    return add


async def together(store: SqlStore, *changes: Change) -> list[object]:
    return await asyncio.gather(*(store.write(each) for each in changes), return_exceptions=True)


async def require(store: SqlStore, path: Path, *expected: str) -> None:
    """Require keys and events, in their order, of these aliases and no others."""
    trail = await store.trail().events(0, 1000)
    assert [each.event.request_id for each in trail] == list(expected)
    assert Walk().follow(trail) is None
    assert aliases(path) == set(expected)


async def test_changes_that_wait_together_share_one_commit(store: SqlStore, path: Path) -> None:
    await put(store)
    names = [f"key-{number}" for number in range(20)]
    seen = set()

    async def write(alias: str) -> None:
        await store.write(adding(alias))
        seen.add(frozenset(aliases(path)))

    with counted(await driver_of(store)) as statements:
        await asyncio.gather(*(write(name) for name in names))
    assert statements["COMMIT"] == statements["BEGIN IMMEDIATE"] == 1
    assert seen == {frozenset(names)}, "whoever is answered finds it on disk"
    await require(store, path, *names)


async def test_what_the_event_loop_gets_to_meanwhile_joins_the_group(store: SqlStore, path: Path) -> None:
    await put(store)

    async def come_late() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await store.write(adding("b"))

    with counted(await driver_of(store)) as statements:
        await asyncio.gather(store.write(adding("a")), come_late())
    assert statements["COMMIT"] == 1
    await require(store, path, "a", "b")


async def test_more_than_a_group_takes_are_committed_in_several(store: SqlStore, path: Path) -> None:
    await put(store)
    names = [f"key-{number}" for number in range(150)]
    with counted(await driver_of(store)) as statements:
        assert await together(store, *map(adding, names)) == names
    assert statements["COMMIT"] == 3
    await require(store, path, *names)


async def test_a_group_ends_when_it_has_held_up_the_event_loop_for_long(
    store: SqlStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store)
    monkeypatch.setattr("hsmkms.store.grouping._BUSY_SECONDS", -1.0)
    with counted(await driver_of(store)) as statements:
        assert await together(store, *map(adding, "abc")) == ["a", "b", "c"]
    assert statements["COMMIT"] == 3
    await require(store, path, "a", "b", "c")


@pytest.mark.parametrize("failing", [{0}, {2}, {4}, {1, 3}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}])
@pytest.mark.parametrize("fault", [Halt(), AliasTaken(), Stop()])
async def test_a_change_that_raises_undoes_itself_and_nothing_else(
    store: SqlStore, path: Path, failing: set[int], fault: BaseException
) -> None:
    await put(store)
    changes = [adding(str(number), fault if number in failing else None) for number in range(5)]
    with counted(await driver_of(store)) as statements:
        found = await together(store, *changes)
    assert found == [fault if number in failing else str(number) for number in range(5)]
    assert statements["COMMIT"] == (len(failing) < 5)
    await require(store, path, *(str(number) for number in range(5) if number not in failing))
    await store.write(adding("next"))
    assert "next" in aliases(path)


@pytest.mark.timeout(60)
async def test_the_end_of_an_iterator_is_an_error_like_others(store: SqlStore, path: Path) -> None:
    """No future takes it: whoever waits would wait for ever, and his neighbours with him."""
    await put(store)
    first, second, third = await together(store, adding("a"), adding("b", StopIteration()), adding("c"))
    assert (first, third) == ("a", "c")
    assert isinstance(second, RuntimeError)
    with pytest.raises(RuntimeError):
        await store.read(lambda _: next(iter(())))
    await require(store, path, "a", "c")


async def test_a_change_that_swallows_an_error_of_the_database_is_undone_all_the_same(
    store: SqlStore, path: Path
) -> None:
    await put(store)

    def go_on(writing: SqlWriting) -> None:
        writing.add_key(key("before"))
        writing.append(event("before"))
        with pytest.raises(InternalFault):
            writing.add_ticket(ticket(KeyId("absent")))
        with pytest.raises(StoreUnavailable):
            writing.add_key(key("after"))

    first, second, third = await together(store, adding("a"), go_on, adding("c"))
    assert (first, third) == ("a", "c")
    assert isinstance(second, StoreUnavailable)
    await require(store, path, "a", "c")


async def test_of_two_that_want_one_alias_the_first_has_it(store: SqlStore, path: Path) -> None:
    await put(store)

    def make_do(writing: SqlWriting) -> None:
        with pytest.raises(AliasTaken):
            writing.add_key(key("wanted"))
        adding("another")(writing)

    first, second, third = await together(store, adding("wanted"), adding("wanted"), make_do)
    assert (first, third) == ("wanted", None)
    assert isinstance(second, AliasTaken)
    await require(store, path, "wanted", "another")


async def test_changes_see_each_other_in_their_order_and_nobody_else_sees_them(store: SqlStore, path: Path) -> None:
    await put(store)

    def look(writing: SqlWriting) -> tuple[int, set[str]]:
        return writing.count_keys(ALICE, NOW), aliases(path)

    found = await together(store, look, adding("a"), look, adding("b", Halt()), look, adding("c"), look)
    assert [each for each in found if isinstance(each, tuple)] == [(number, set()) for number in (0, 1, 1, 2)]
    assert aliases(path) == {"a", "c"}


async def test_changes_that_left_nothing_have_nothing_to_commit(store: SqlStore) -> None:
    await put(store)

    def refuse(_: SqlWriting) -> None:
        raise Halt

    driver = await driver_of(store)
    for changes, rollbacks in (((refuse, refuse), 1), ((adding("a", Halt()), adding("b", Halt())), 2)):
        with counted(driver) as statements:
            found = await together(store, *changes)
        assert all(isinstance(each, Halt) for each in found)
        assert (statements["COMMIT"], statements["ROLLBACK"]) == (0, rollbacks)


async def test_savepoints_are_for_those_among_whom_one_failed_in_the_middle(store: SqlStore, path: Path) -> None:
    await put(store)
    runs: list[str] = []

    def noted(alias: str, fault: BaseException | None = None, *, early: bool = False) -> Change:
        def add(writing: SqlWriting) -> str:
            runs.append(alias)
            if early:
                raise Halt
            return str(adding(alias, fault)(writing))

        return add

    with counted(await driver_of(store)) as statements:
        await together(store, noted("a"), noted("none", early=True), noted("b"))
        assert (statements["COMMIT"], statements["SAVEPOINT change"], "".join(runs)) == (1, 0, "anoneb")
        await together(store, noted("c"), noted("d", Halt()), noted("e"), noted("f", Halt()), noted("g"))
        assert (statements["COMMIT"], statements["SAVEPOINT change"], "".join(runs[3:])) == (2, 5, "cdcdefg")
        await together(store, noted("h"), noted("i"))
        assert (statements["COMMIT"], statements["SAVEPOINT change"]) == (3, 5)
        await together(store, noted("j", Halt()))
    assert (statements["COMMIT"], statements["SAVEPOINT change"], runs.count("j")) == (3, 5, 1), "it had no neighbours"
    await require(store, path, *"abceghi")


async def test_a_change_runs_in_the_context_of_its_caller(store: SqlStore) -> None:
    async def ask(name: str) -> str:
        REQUEST.set(name)
        return await store.write(lambda _: REQUEST.get()) + await store.read(lambda _: REQUEST.get())

    assert list(await asyncio.gather(ask("one"), ask("two"))) == ["oneone", "twotwo"]
    assert REQUEST.get() == "none"


async def test_what_a_group_removed_is_erased(store: SqlStore) -> None:
    """Of several changes, each says whether it removed something."""
    mine = key("mine")
    await put(store, mine)
    await store.erase_deleted()

    def remove(writing: SqlWriting) -> None:
        writing.removed = True
        writing.run(queries.REMOVE_TAGS, {"this": mine.key_id})

    driver = await driver_of(store)
    for changes, cut in (((adding("a"), adding("b")), 0), ((adding("c"), remove, adding("d")), 1)):
        await together(store, *changes)
        with counted(driver) as statements:
            await store.erase_deleted()
        assert statements["PRAGMA wal_checkpoint(TRUNCATE)"] == cut
