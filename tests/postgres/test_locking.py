"""Changes that run at the same time, on two nodes: each sees what the other has committed, or is run again."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from hsmkms.audit.chain import link
from hsmkms.audit.verification import Walk
from hsmkms.core.credentials import Credential
from hsmkms.core.errors import AliasTaken, ChangedMeanwhile, StoreUnavailable
from hsmkms.core.events import AuditCut, AuditHead
from hsmkms.core.ids import AccessId
from hsmkms.store.database import open_store
from hsmkms.store.postgresql import WRITERS
from tests.contract.archive_contract import NEIGHBOUR, all_events, appended, cut, have_cut, removed, seal
from tests.contract.store_contract import (
    ALICE,
    BEFORE,
    BOB,
    NOW,
    OAEP,
    PAIR_ID,
    RECORD,
    account_of,
    event,
    key,
    material,
    pair,
    put,
    stored,
    ticket,
)
from tests.contract.trail_contract import sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.ids import AccountName, KeyId
    from hsmkms.core.keys import Key
    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting
    from tests.postgres.server import PostgresServer

Result = TypeVar("Result")
SECONDS = 20.0
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


class Meeting:
    """Lets a change wait, before it is committed, until another one waits for it."""

    def __init__(self, postgres: PostgresServer, database: str) -> None:
        self._postgres = postgres
        self._database = database
        self.entered = threading.Event()

    def until_waited_for(self) -> None:
        self.entered.set()
        with self._postgres.administering() as connection:
            ended = threading.Event()
            for _ in range(int(SECONDS / 0.01)):
                if connection.execute(WAITING, [self._database]).fetchone() != (0,):
                    return
                ended.wait(0.01)
        raise AssertionError("nobody waited")


@pytest.fixture
def meeting(postgres: PostgresServer, shared: str) -> Meeting:
    return Meeting(postgres, shared)


async def one_after_the_other(
    first: SqlStore,
    change: Callable[[SqlWriting], object],
    meeting: Meeting,
    second: SqlStore,
    later: Callable[[SqlWriting], Result],
) -> Result:
    """Return what the `second` one's change returns, which begins while that of the `first` is not yet committed."""

    def waiting(writing: SqlWriting) -> None:
        change(writing)
        meeting.until_waited_for()

    running = asyncio.create_task(first.write(waiting))
    assert await asyncio.to_thread(meeting.entered.wait, SECONDS)
    found = await second.write(later)
    await running
    return found


async def test_a_key_is_seen_with_the_material_that_was_waited_for(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    seen = key()
    await put(store, seen)
    holding = replace(seen, material=material())
    found = await one_after_the_other(
        store,
        lambda writing: writing.replace_key(seen, holding),
        meeting,
        other,
        lambda writing: writing.key(ALICE, seen.key_id),
    )
    assert found == replace(holding, revision=seen.revision + 1)


async def test_a_key_of_another_account_is_not_locked(store: SqlStore, postgres: PostgresServer, shared: str) -> None:
    alices = key()
    await put(store, alices)

    def lock_as(account: AccountName) -> Callable[[SqlWriting], object]:
        def ask(writing: SqlWriting) -> object:
            writing.key(account, alices.key_id)
            with postgres.connect(shared) as connection:
                return connection.execute("SELECT key_id FROM keys FOR UPDATE SKIP LOCKED").fetchall()

        return ask

    assert await store.write(lock_as(ALICE)) == []
    assert await store.write(lock_as(BOB)) == [(alices.key_id,)]


async def test_a_pair_is_seen_without_the_private_half_that_is_gone(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    seen = pair()
    await put(store, seen)
    found = await one_after_the_other(
        store,
        lambda writing: writing.replace_pair(seen, seen.shut()),
        meeting,
        other,
        lambda writing: writing.pair(PAIR_ID),
    )
    assert found == replace(seen.shut(), revision=seen.revision + 1)


async def test_a_ticket_is_locked_whatever_was_locked_before(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    owner, first, second = key("owner"), key("first"), key("second")
    one = ticket(owner.key_id)
    await put(store, owner, first, second, pair(), one)

    def counting(before: Key) -> Callable[[SqlWriting], int]:
        def count(writing: SqlWriting) -> int:
            writing.key(ALICE, before.key_id)
            found = writing.ticket(one.token_digest)
            assert found is not None
            return writing.replace_ticket(found, replace(found, attempts=found.attempts + 1)).attempts

        return count

    assert await one_after_the_other(store, counting(first), meeting, other, counting(second)) == 2


async def test_a_tickets_key_is_locked_before_it(store: SqlStore, other: SqlStore, meeting: Meeting) -> None:
    owner = key()
    one = ticket(owner.key_id)
    await put(store, owner, pair(), one)
    found = await one_after_the_other(
        store,
        lambda writing: writing.ticket(one.token_digest),
        meeting,
        other,
        lambda writing: writing.key(ALICE, owner.key_id),
    )
    assert found == owner


async def test_in_the_place_of_a_pair_that_was_closed_meanwhile_another_open_one_is_found(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    oldest, next_one = pair(), pair("pair-2", opened_at=NOW + 1)
    await put(store, oldest, next_one)
    found = await one_after_the_other(
        store,
        lambda writing: writing.replace_pair(oldest, oldest.shut()),
        meeting,
        other,
        lambda writing: writing.open_pair(ALICE, OAEP, BEFORE),
    )
    assert found == next_one


async def test_two_nodes_count_an_accounts_keys_one_after_the_other(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    await put(store)

    def add(writing: SqlWriting) -> int:
        count = writing.count_keys(ALICE, NOW)
        writing.add_key(key(f"number {count}"))
        return count

    assert await one_after_the_other(store, add, meeting, other, add) == 1


async def test_two_nodes_make_an_account_once(store: SqlStore, other: SqlStore, meeting: Meeting) -> None:
    made: list[object] = []

    def ensure(writing: SqlWriting) -> object:
        made.append(writing.ensure_account(ALICE))
        return made[-1]

    assert await one_after_the_other(store, ensure, meeting, other, ensure) == made[0]


async def test_a_credential_that_is_replaced_stays_withdrawn(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    seen = Credential(AccessId("ak-1"), await account_of(store, ALICE), frozenset(), NOW, record=RECORD)
    await put(store, seen)

    def replaced(writing: SqlWriting) -> None:
        found = writing.credential(seen.access_id)
        assert found is not None
        writing.replace_credential(replace(found, replaced_by=AccessId("ak-2")))

    def withdrawn(writing: SqlWriting) -> None:
        found = writing.credential(seen.access_id)
        assert found is not None
        writing.replace_credential(replace(found, switched_on=False))

    await one_after_the_other(store, withdrawn, meeting, other, replaced)
    found = await store.read(lambda reading: reading.credential(seen.access_id))
    assert found == replace(seen, switched_on=False, replaced_by=AccessId("ak-2"))


async def test_of_two_nodes_one_takes_an_alias_and_the_other_goes_on(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    await put(store)
    kept = key("kept")

    def late(writing: SqlWriting) -> None:
        with pytest.raises(AliasTaken):
            writing.add_key(key("wanted"))
        writing.add_key(kept)

    await one_after_the_other(store, lambda writing: writing.add_key(key("wanted")), meeting, other, late)
    assert await stored(store, kept) == kept


@pytest.mark.parametrize("old", [None, cut(3)], ids=["first", "later"])
async def test_of_two_nodes_that_cut_one_trail_the_second_waits_and_is_refused(
    store: SqlStore, other: SqlStore, meeting: Meeting, old: AuditCut | None
) -> None:
    if old is not None:
        await have_cut(store, None, old)

    def late(writing: SqlWriting) -> None:
        writing.append(event("late"))
        writing.cut(old, cut(5, 16))

    with pytest.raises(ChangedMeanwhile):
        await one_after_the_other(store, lambda writing: writing.cut(old, cut(4, 8)), meeting, other, late)
    assert await store.trail().cut() == cut(4, 8)
    assert await all_events(store) == []


async def test_a_trail_that_is_cut_holds_up_no_other_and_no_event(
    store: SqlStore, other: SqlStore, neighbour: SqlStore
) -> None:
    await appended(store, "r-1", "r-2", "r-3")
    await sealed(store, seal(1), seal(2))
    trail = await all_events(store)
    up_to = AuditCut(AuditHead(trail[1].sequence, trail[1].digest), bytes(32))
    entered, leave = threading.Event(), threading.Event()

    def archive(writing: SqlWriting) -> int:
        writing.cut(None, up_to)
        count = writing.remove_archived(up_to, 10)
        entered.set()
        assert leave.wait(SECONDS)
        return count

    archiving = asyncio.create_task(store.write(archive))
    assert await asyncio.to_thread(entered.wait, SECONDS)
    async with asyncio.timeout(SECONDS):
        await appended(other, "meanwhile")
        await sealed(other, seal(3))
        await appended(neighbour, "theirs")
        await have_cut(neighbour, None, cut(1, node=NEIGHBOUR))
    assert await all_events(other) == [*trail, *(await all_events(other))[3:]], "nothing is gone yet"
    assert not archiving.done()
    leave.set()
    assert await archiving == 2
    left = await all_events(store)
    assert [each.event.request_id for each in left] == ["r-3", "meanwhile"]
    assert Walk(up_to.head.digest, up_to.head.sequence).follow(left) is None


async def test_two_that_remove_the_same_pieces_remove_them_once(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    await appended(store, *(f"r-{number}" for number in range(6)))
    trail = await all_events(store)
    up_to = AuditCut(AuditHead(trail[4].sequence, trail[4].digest), bytes(32))
    counts: list[int] = []

    def remove(writing: SqlWriting) -> None:
        counts.append(writing.remove_archived(up_to, 3))

    await one_after_the_other(store, remove, meeting, other, remove)
    assert counts[0] == 3
    assert sum(counts) + sum(await removed(store, up_to, 3)) == 5
    assert await all_events(store) == trail[5:]


async def test_a_row_that_was_read_before_it_was_locked_is_refused_by_its_revision(
    store: SqlStore, other: SqlStore, meeting: Meeting
) -> None:
    seen = key()
    await put(store, seen)
    with pytest.raises(ChangedMeanwhile):
        await one_after_the_other(
            store,
            lambda writing: writing.replace_key(seen, seen.switched(on=False)),
            meeting,
            other,
            lambda writing: writing.replace_key(seen, replace(seen, description="late")),
        )


async def test_of_two_that_wait_for_each_other_one_is_run_again(store: SqlStore, other: SqlStore) -> None:
    mine, yours = key("mine"), key("yours")
    await put(store, mine, yours)
    both = threading.Barrier(2)
    runs: list[str] = []

    def crossing(name: str, *key_ids: KeyId) -> Callable[[SqlWriting], None]:
        begun = False

        def change(writing: SqlWriting) -> None:
            nonlocal begun
            runs.append(name)
            for each in key_ids:
                found = writing.key(ALICE, each)
                assert found is not None
                writing.replace_key(found, replace(found, description=f"{found.description} {name}"))
                if not begun:
                    begun = True
                    both.wait(SECONDS)

        return change

    await asyncio.gather(
        store.write(crossing("one", mine.key_id, yours.key_id)),
        other.write(crossing("two", yours.key_id, mine.key_id)),
    )
    # Who is run again can be faster than the one that waited for it, and then they wait for each other once more.
    assert len(runs) > len(set(runs)) == 2
    for each in (mine, yours):
        assert sorted((await stored(store, each)).description.split()[-2:]) == ["one", "two"]


async def test_more_changes_than_connections_all_happen(store: SqlStore, other: SqlStore) -> None:
    shared = pair()
    await put(store, shared)

    def count(writing: SqlWriting) -> None:
        found = writing.pair(PAIR_ID)
        assert found is not None
        writing.replace_pair(found, replace(found, tickets=found.tickets + 1))

    await asyncio.gather(*(each.write(count) for _ in range(2 * WRITERS) for each in (store, other)))
    assert await store.read(lambda reading: reading.pair(PAIR_ID)) == replace(
        shared, tickets=4 * WRITERS, revision=shared.revision + 4 * WRITERS
    )


async def test_a_key_that_is_used_is_not_held_up_by_a_new_ticket_of_it(store: SqlStore, other: SqlStore) -> None:
    owner = key()
    await put(store, owner, pair())
    entered, leave = threading.Event(), threading.Event()

    def add(writing: SqlWriting) -> None:
        writing.add_ticket(ticket(owner.key_id))
        entered.set()
        assert leave.wait(SECONDS)

    adding = asyncio.create_task(store.write(add))
    assert await asyncio.to_thread(entered.wait, SECONDS)
    assert await other.write(lambda writing: writing.key(ALICE, owner.key_id)) == owner
    leave.set()
    await adding


async def test_whoever_waits_too_long_gives_up_and_changes_nothing(store: SqlStore, url: str) -> None:
    mine = key()
    await put(store, mine)
    entered, leave = threading.Event(), threading.Event()

    def hold(writing: SqlWriting) -> None:
        writing.key(ALICE, mine.key_id)
        entered.set()
        assert leave.wait(SECONDS)

    hurried = await open_store(url, link=link, busy_seconds=0.5)
    holding = asyncio.create_task(store.write(hold))
    assert await asyncio.to_thread(entered.wait, SECONDS)
    with pytest.raises(StoreUnavailable):
        await hurried.write(lambda writing: writing.key(ALICE, mine.key_id))
    leave.set()
    await holding
    assert await hurried.write(lambda writing: writing.key(ALICE, mine.key_id)) == mine
    await hurried.close()
