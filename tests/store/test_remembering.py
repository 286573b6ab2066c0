"""What the writer of an SQLite database remembers is what the database holds, whoever writes and whatever is undone."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import bindparam, update

from hsmkms.core.errors import StoreUnavailable
from hsmkms.core.events import AuditHead, AuditSeal
from hsmkms.core.ids import KeyId, PairId
from hsmkms.core.tickets import Spending
from hsmkms.store.remembering import RememberedRows
from hsmkms.store.schema import PAIRS
from hsmkms.store.sqlite_backend import SqliteBackend
from tests.contract.store_contract import ALICE, BOB, NOW, OAEP, Halt, event, key, material, pair, put, ticket
from tests.store.test_grouping_faults import files_that_do_not_grow
from tests.store.writer import counted, driver_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hsmkms.core.keys import Key
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting

KEY = replace(key(), material=material())
PAIR = pair()
TICKET = ticket(KEY.key_id)
CLOSE_PAIRS = update(PAIRS).where(PAIRS.c.pair_id == bindparam("this")).values(closed=True)


def look(reading: SqlWriting) -> tuple[Key | None, Ticket | None, Pair | None]:
    return (
        reading.key(ALICE, KEY.key_id),
        reading.ticket(TICKET.token_digest),
        reading.pair(PAIR.pair_id),
    )


async def selects(store: SqlStore, change: Callable[[SqlWriting], object] = look) -> list[str]:
    """Return which tables a change reads from the database."""
    with counted(await driver_of(store)) as statements:
        await store.write(change)
    return sorted(name for name in ("keys", "tickets", "pairs") if any(f"FROM {name} " in each for each in statements))


def by_another(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        assert intruder.execute(statement).rowcount == 1


@pytest.fixture
async def filled(store: SqlStore) -> SqlStore:
    """A database with a key, a pair and a ticket, of which the writer knows all."""
    await put(store, KEY, PAIR, TICKET)
    assert await store.write(look) == (KEY, TICKET, PAIR)
    return store


async def test_what_was_read_or_written_is_not_read_again(filled: SqlStore) -> None:
    assert await selects(filled) == []

    def change(writing: SqlWriting) -> None:
        found, seen, opened = look(writing)
        assert found is not None
        assert seen is not None
        assert opened is not None
        writing.replace_key(found, found.switched(on=False))
        writing.replace_ticket(seen, seen.attempted(NOW))
        writing.replace_pair(opened, opened.attempted())
        writing.lease_uses(KEY.key_id, 10, 1000)

    assert await selects(filled, change) == []
    assert await selects(filled) == []
    now = await filled.write(look)
    assert now == await filled.read(look)  # type: ignore[arg-type]
    assert now == (
        replace(KEY, switched_on=False, revision=1),
        replace(TICKET, attempts=1, revision=1),
        replace(PAIR, failures=1, revision=1),
    )


async def test_what_was_added_is_not_read_again_but_keys_that_most_often_nobody_asks_for_soon(store: SqlStore) -> None:
    await put(store)

    def add(writing: SqlWriting) -> None:
        writing.add_key(KEY)
        writing.add_pair(PAIR)
        writing.add_ticket(TICKET)

    await store.write(add)
    assert await selects(store) == ["keys"]
    await store.write(lambda writing: writing.append(event()))
    await store.write(lambda writing: writing.seal(AuditSeal(AuditHead(1, b"d" * 32), b"m" * 32)))
    assert await selects(store) == [], "neither an event nor a seal is one of the rows"


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("UPDATE keys SET archived = 1", (replace(KEY, archived=True), TICKET, PAIR)),
        ("UPDATE tickets SET attempts = 3", (KEY, replace(TICKET, attempts=3), PAIR)),
        ("UPDATE pairs SET failures = 7", (KEY, TICKET, replace(PAIR, failures=7))),
        ("DELETE FROM materials", (replace(KEY, material=None), TICKET, PAIR)),
        ("DELETE FROM pair_secrets", (KEY, TICKET, replace(PAIR, record=None))),
        ("DELETE FROM tickets", (KEY, None, PAIR)),
    ],
)
async def test_what_another_process_writes_is_seen_in_the_next_transaction(
    filled: SqlStore, path: Path, statement: str, seen: tuple[object, ...]
) -> None:
    by_another(path, statement)
    assert await filled.write(look) == seen


async def test_what_another_statement_writes_is_seen_at_once(filled: SqlStore) -> None:
    def close_pair(writing: SqlWriting) -> Pair | None:
        assert look(writing)[2] == PAIR
        writing.run(CLOSE_PAIRS, {"this": PAIR.pair_id})
        return writing.pair(PAIR.pair_id)

    closed = replace(PAIR, closed=True)
    assert await filled.write(close_pair) == closed
    assert (await filled.write(look))[2] == closed


async def test_a_row_that_replaced_another_than_was_remembered_is_read_anew(filled: SqlStore) -> None:
    """Its revision is right, and yet it was not the row: only what differs between the two was written."""

    def replace_others(writing: SqlWriting) -> None:
        look(writing)
        writing.replace_key(replace(KEY, alias="imagined"), replace(KEY, alias="imagined", switched_on=False))
        writing.replace_ticket(replace(TICKET, attempts=5), replace(TICKET, attempts=5, given_back=1))
        writing.replace_pair(replace(PAIR, failures=5), replace(PAIR, failures=5, live=1))

    await filled.write(replace_others)
    assert await filled.write(look) == (
        replace(KEY, switched_on=False, revision=1),
        replace(TICKET, given_back=1, revision=1),
        replace(PAIR, live=1, revision=1),
    )


def changing_all(writing: SqlWriting) -> None:
    found, seen, opened = look(writing)
    assert found is not None
    assert seen is not None
    assert opened is not None
    writing.replace_key(found, found.without_material())
    writing.replace_ticket(seen, seen.attempted(NOW))
    writing.replace_pair(opened, opened.attempted())
    look(writing)


async def test_what_a_change_wrote_that_failed_is_forgotten(filled: SqlStore) -> None:
    def fail(writing: SqlWriting) -> None:
        changing_all(writing)
        raise Halt

    faults = await asyncio.gather(filled.write(fail), filled.write(fail), return_exceptions=True)
    assert [type(each) for each in faults] == [Halt, Halt]
    seen, failed, between, after = await asyncio.gather(
        filled.write(look), filled.write(fail), filled.write(look), filled.write(look), return_exceptions=True
    )
    assert isinstance(failed, Halt)
    assert seen == between == after == (KEY, TICKET, PAIR)


async def test_what_a_commit_lost_is_forgotten(filled: SqlStore, path: Path) -> None:
    with files_that_do_not_grow(path), pytest.raises(StoreUnavailable):
        await filled.write(changing_all)
    assert await filled.write(look) == (KEY, TICKET, PAIR)


async def test_what_a_lost_connection_knew_is_forgotten(filled: SqlStore, path: Path) -> None:
    backend = filled._backend
    assert isinstance(backend, SqliteBackend)
    backend._writer._drop()
    by_another(path, "UPDATE tickets SET attempts = 3")
    assert await filled.write(look) == (KEY, replace(TICKET, attempts=3), PAIR)
    backend._writer._drop()
    assert await selects(filled) == ["keys", "pairs", "tickets"]


async def test_what_is_over_is_not_remembered(filled: SqlStore) -> None:
    def end(writing: SqlWriting) -> None:
        found, seen, opened = look(writing)
        assert found is not None
        assert seen is not None
        assert opened is not None
        writing.replace_key(found, found.without_material())
        writing.replace_ticket(seen, seen.spent(Spending(b"digest", None)))
        writing.replace_pair(opened, opened.shut())

    await filled.write(end)
    assert await selects(filled) == ["pairs", "tickets"]
    found, seen, opened = await filled.write(look)
    assert (found, seen, opened) == await filled.read(look)  # type: ignore[arg-type]
    assert found == replace(KEY, material=None, revision=1)
    assert opened is not None
    assert opened.record is None
    assert await selects(filled) == ["pairs", "tickets"], "nor when they were read"


async def test_a_deleted_key_is_gone_with_its_tickets(filled: SqlStore) -> None:
    def delete(writing: SqlWriting) -> tuple[object, ...]:
        writing.replace_ticket(TICKET, TICKET.voided())
        found = writing.key(ALICE, KEY.key_id)
        assert found is not None
        writing.delete_key(found, NOW)
        return look(writing)

    assert await filled.write(delete) == (None, None, PAIR)
    assert await filled.write(look) == (None, None, PAIR)


async def test_a_key_is_not_shown_to_another_account(filled: SqlStore) -> None:
    assert await filled.write(lambda writing: writing.key(BOB, KEY.key_id)) is None


async def test_a_shared_pair_that_was_found_is_remembered(filled: SqlStore, path: Path) -> None:
    by_another(path, "UPDATE pairs SET tickets = 2")

    def open_one(writing: SqlWriting) -> None:
        found = writing.open_pair(ALICE, OAEP, PAIR.opened_at)
        assert found is None
        found = writing.open_pair(ALICE, OAEP, type(PAIR.opened_at)(PAIR.opened_at - 1))
        assert found == replace(PAIR, tickets=2)
        writing.replace_pair(found, replace(found, tickets=3))

    await filled.write(open_one)
    assert "pairs" not in await selects(filled)
    assert (await filled.write(look))[2] == replace(PAIR, tickets=3, revision=1)


async def test_after_an_error_of_the_database_nothing_is_answered(filled: SqlStore) -> None:
    def go_on(writing: SqlWriting) -> None:
        with pytest.raises(Exception, match="internal error"):
            writing.add_ticket(replace(TICKET, key_id=KeyId("absent")))
        for ask in (
            lambda: writing.key(ALICE, KEY.key_id),
            lambda: writing.ticket(TICKET.token_digest),
            lambda: writing.pair(PAIR.pair_id),
        ):
            with pytest.raises(StoreUnavailable):
                ask()

    with pytest.raises(StoreUnavailable):
        await filled.write(go_on)
    assert await filled.write(look) == (KEY, TICKET, PAIR)


def test_the_row_that_was_kept_for_the_longest_makes_room() -> None:
    known = RememberedRows(most=2)
    one, two, three = (pair(name) for name in ("one", "two", "three"))
    for each in (one, two, two):
        known.keep(known.pairs, each.pair_id, each)
    assert known.pairs == {PairId("one"): one, PairId("two"): two}
    for each in (one, three):
        known.keep(known.pairs, each.pair_id, each)
    assert known.pairs == {PairId("one"): one, PairId("three"): three}


async def test_a_writer_that_nobody_asks_forgets_what_another_removed(filled: SqlStore, path: Path) -> None:
    """Or what a transfer sealed anew would stay in the memory of a quiet node in its old form."""
    known = filled._backend._writer._known  # type: ignore[attr-defined]
    by_another(path, "DELETE FROM materials")
    assert known.keys, "the control"
    await filled.erase_deleted()
    assert [known.keys, known.tickets, known.pairs] == [{}, {}, {}]


async def test_a_writer_that_has_ended_knows_nothing(filled: SqlStore) -> None:
    known = filled._backend._writer._known  # type: ignore[attr-defined]
    assert known.keys, "the control"
    await filled.close()
    assert [known.keys, known.tickets, known.pairs] == [{}, {}, {}]
