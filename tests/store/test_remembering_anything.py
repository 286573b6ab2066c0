"""Whatever changes do, in whatever order and groups, fail or not: what is remembered is what a plain reading finds."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsmkms.audit.chain import link
from hsmkms.core.tickets import Spending
from hsmkms.store.database import SqlStore, open_store
from hsmkms.store.versions import upgrade
from hsmkms.store.writing import SqlWriting
from tests.contract.store_contract import ALICE, NOW, Halt, key, material, pair, put, ticket
from tests.store.conftest import BUSY_SECONDS
from tests.store.test_remembering import CLOSE_PAIRS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Reading
    from hsmkms.core.tickets import Pair, Ticket


class Rows(NamedTuple):
    """A key with a ticket and a pair of its own."""

    key: Key
    ticket: Ticket
    pair: Pair


def rows_of_their_own() -> Rows:
    mine = key()
    mine = replace(mine, alias=mine.key_id)
    opened = pair(f"of {mine.key_id}")
    return Rows(mine, ticket(mine.key_id, pair_id=opened.pair_id), opened)


def seen_by(reading: Reading, rows: Rows) -> tuple[Key | None, Ticket | None, Pair | None]:
    return (
        reading.key(ALICE, rows.key.key_id),
        reading.ticket(rows.ticket.token_digest),
        reading.pair(rows.pair.pair_id),
    )


def compare(writing: SqlWriting, rows: Rows) -> None:
    assert seen_by(writing, rows) == seen_by(SqlWriting(writing.connection), rows)


def on_key(change: Callable[[SqlWriting, Key], object]) -> Callable[[SqlWriting, Rows], None]:
    def step(writing: SqlWriting, rows: Rows) -> None:
        found = writing.key(ALICE, rows.key.key_id)
        if found is not None:
            change(writing, found)

    return step


def on_ticket(change: Callable[[SqlWriting, Ticket], object]) -> Callable[[SqlWriting, Rows], None]:
    def step(writing: SqlWriting, rows: Rows) -> None:
        found = writing.ticket(rows.ticket.token_digest)
        if found is not None:
            change(writing, found)

    return step


def on_pair(change: Callable[[SqlWriting, Pair], object]) -> Callable[[SqlWriting, Rows], None]:
    def step(writing: SqlWriting, rows: Rows) -> None:
        found = writing.pair(rows.pair.pair_id)
        if found is not None:
            change(writing, found)

    return step


STEPS = {
    "compare": compare,
    "fill": on_key(lambda writing, found: writing.replace_key(found, replace(found, material=material()))),
    "fill again": on_key(
        lambda writing, found: writing.replace_key(found, replace(found, material=material(b"\x01another record")))
    ),
    "empty": on_key(lambda writing, found: writing.replace_key(found, found.without_material())),
    "lease": on_key(lambda writing, found: writing.lease_uses(found.key_id, 1, 1000)),
    "delete": on_key(lambda writing, found: writing.delete_key(found, NOW)),
    "remove tickets": on_key(lambda writing, found: writing.remove_tickets(found.key_id, 5)),
    "attempt": on_ticket(lambda writing, found: writing.replace_ticket(found, replace(found, attempts=1))),
    "spend": on_ticket(
        lambda writing, found: writing.replace_ticket(found, replace(found, spending=Spending(b"it", None)).voided())
    ),
    "fail": on_pair(lambda writing, found: writing.replace_pair(found, replace(found, failures=found.failures + 1))),
    "end": on_pair(lambda writing, found: writing.replace_pair(found, replace(found, record=None))),
    "close": on_pair(lambda writing, found: writing.run(CLOSE_PAIRS, {"this": found.pair_id})),
}
"""What a change may do with the rows."""

BY_ANOTHER = (
    "UPDATE keys SET archived = NOT archived WHERE key_id = :key",
    "UPDATE tickets SET given_back = given_back + 1 WHERE key_id = :key",
    "UPDATE pairs SET failures = failures + 1 WHERE pair_id = 'of ' || :key",
    "DELETE FROM pair_secrets WHERE pair_id = 'of ' || :key",
)

Step = tuple[str, int]


@dataclass(frozen=True)
class Group:
    """Changes that are committed together, and what another process has written before."""

    before: list[tuple[str, int]]
    changes: list[tuple[list[Step], bool]]
    """What each does, and whether it fails then."""


WHICH = st.integers(0, 1)
CHANGES = st.tuples(st.lists(st.tuples(st.sampled_from(list(STEPS)), WHICH), max_size=5), st.booleans())
GROUPS = st.builds(
    Group,
    st.lists(st.tuples(st.sampled_from(BY_ANOTHER), WHICH), max_size=1),
    st.lists(CHANGES, min_size=1, max_size=3),
)


class Writer:
    """A database that all examples share; each has rows of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._url = f"sqlite:///{path}"

    async def open(self) -> None:
        await upgrade(self._url)
        self.store: SqlStore = await open_store(self._url, link=link, busy_seconds=BUSY_SECONDS)

    async def follow(self, groups: list[Group]) -> None:
        both = rows_of_their_own(), rows_of_their_own()
        for rows in both:
            await put(self.store, rows.key, rows.pair, rows.ticket)
        for group in groups:
            for statement, which in group.before:
                with closing(sqlite3.connect(self._path, isolation_level=None)) as another:
                    another.execute(statement, {"key": both[which].key.key_id})
            await asyncio.gather(*(self._change(both, steps, fails) for steps, fails in group.changes))
        for rows in both:
            await self.store.write(functools.partial(compare, rows=rows))

    async def _change(self, both: tuple[Rows, Rows], steps: list[Step], fails: bool) -> None:
        def change(writing: SqlWriting) -> None:
            for name, which in steps:
                STEPS[name](writing, both[which])
            if fails:
                raise Halt

        try:
            await self.store.write(change)
        except Halt:
            assert fails


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[list[Group]], None]]:
    with asyncio.Runner() as runner:
        opened = Writer(tmp_path_factory.mktemp("anything") / "hsmkms.db")
        runner.run(opened.open())
        yield lambda groups: runner.run(opened.follow(groups))
        runner.run(opened.store.close())


@settings(max_examples=60)
@given(groups=st.lists(GROUPS, min_size=1, max_size=4))
def test_what_is_remembered_is_what_is_there(writer: Callable[[list[Group]], None], groups: list[Group]) -> None:
    writer(groups)
