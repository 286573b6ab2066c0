"""What every implementation of `core.ports.Store` must do for a key's tags, its use and its end."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import ChangedMeanwhile
from hsmkms.core.ids import KeyId
from hsmkms.core.keys import KeyState, Origin
from hsmkms.core.ports import KeyFilter, TagFilter, Tombstone
from hsmkms.core.tickets import Spending, TicketState
from tests.contract.store_contract import (
    AFTER,
    ALICE,
    BEFORE,
    BOB,
    NOW,
    Halt,
    expect_listed,
    key,
    material,
    pair,
    put,
    put_tagged,
    stored,
    ticket,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Reading, Writing
    from tests.contract.store_contract import WholeStore


class TagContract:
    @pytest.mark.parametrize(
        ("tags", "found"),
        [
            ((), ["both", "env", "team", "bare"]),
            ((("env", ("prod",)),), ["both", "env"]),
            ((("env", ("prod",)), ("team", ("cards",))), ["both"]),
            ((("env", ("test", "prod")),), ["both", "env"]),
            ((("env", ("test",)),), []),
            ((("env", ()),), ["both", "env"]),
            ((("env", ()), ("team", ("cards", "loans"))), ["both"]),
            ((("team", ("cards", "loans")),), ["both", "team"]),
            ((("env", ("prod",)), ("env", ("test",))), []),
            ((("ENV", ("prod",)),), []),
            ((("env", ("Prod",)),), []),
            ((("en%", ("pro_",)),), []),
            ((("team", ("",)),), ["bare"]),
            ((("cards", ("team",)),), []),
            ((("\ud800", ()),), []),
            ((("env", ("\ud800",)),), []),
            ((("env", ("\ud800", "prod")),), ["both", "env"]),
        ],
    )
    async def test_a_listed_key_has_every_tag_asked_for_with_one_of_its_values(
        self, store: WholeStore, tags: Sequence[tuple[str, Sequence[str]]], found: list[str]
    ) -> None:
        tagged = {
            "both": {"env": "prod", "team": "cards"},
            "env": {"env": "prod"},
            "team": {"team": "loans"},
            "bare": {"team": "", "世界": "\U0001f511"},
        }
        keys = {alias: key(alias, created_at=NOW - at) for at, alias in enumerate(tagged)}
        foreign = key("foreign", account=BOB)
        await put_tagged(store, *((each, tagged[alias]) for alias, each in keys.items()), (foreign, tagged["both"]))
        wanted = [TagFilter(name, values) for name, values in tags]
        await expect_listed(store, KeyFilter(ALICE, tags=wanted), [keys[alias] for alias in found])

    async def test_tags_narrow_what_other_filters_leave(self, store: WholeStore) -> None:
        on, off = key("on"), replace(key("off"), archived=True)
        gone = replace(key("gone"), deletion_due=NOW)
        await put_tagged(store, *((each, {"env": "prod"}) for each in (on, off, gone)))
        tags = (TagFilter("env", ("prod",)),)
        await expect_listed(store, KeyFilter(ALICE, frozenset((KeyState.ARCHIVED,)), tags=tags), [off])
        await expect_listed(store, KeyFilter(ALICE, search="on", tags=tags), [on])


class UseContract:
    async def test_uses_are_counted_up_to_the_most_and_not_beyond(self, store: WholeStore) -> None:
        mine, other = key("mine"), key("other")
        await put(store, mine, other)
        for uses, counted, then in ((4, True, 4), (3, True, 7), (4, False, 7), (3, True, 10), (1, False, 10)):

            def lease(writing: Writing, uses: int = uses) -> tuple[bool, int | None]:
                return writing.lease_uses(mine.key_id, uses, 10), writing.uses_leased(mine.key_id)

            assert await store.write(lease) == (counted, then)
            assert await store.read(lambda reading: reading.uses_leased(mine.key_id)) == then
            assert await store.read(lambda reading: reading.uses_leased(other.key_id)) == 0

    async def test_a_key_that_there_is_not_has_no_uses(self, store: WholeStore) -> None:
        absent = KeyId("absent")
        assert await store.read(lambda reading: reading.uses_leased(absent)) is None
        assert await store.write(lambda writing: writing.lease_uses(absent, 1, 10)) is False

    async def test_more_than_the_bound_can_be_counted(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        assert await store.write(lambda writing: writing.lease_uses(mine.key_id, 2**32, 2**32))
        assert await store.read(lambda reading: reading.uses_leased(mine.key_id)) == 2**32
        assert not await store.write(lambda writing: writing.lease_uses(mine.key_id, 1, 2**32))

    async def test_counting_uses_is_no_change_of_the_key(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        await store.write(lambda writing: writing.lease_uses(mine.key_id, 5, 10))
        assert await stored(store, mine) == mine
        await store.write(lambda writing: writing.replace_key(mine, mine.switched(on=False)))
        assert await store.read(lambda reading: reading.uses_leased(mine.key_id)) == 5

    async def test_uses_that_were_rolled_back_are_not_counted(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)

        def lease_in_vain(writing: Writing) -> None:
            writing.lease_uses(mine.key_id, 5, 10)
            raise Halt

        with pytest.raises(Halt):
            await store.write(lease_in_vain)
        assert await store.read(lambda reading: reading.uses_leased(mine.key_id)) == 0

    async def test_parallel_leases_never_count_more_than_the_most(self, store: WholeStore, other: WholeStore) -> None:
        mine = key()
        await put(store, mine)

        def lease(writing: Writing) -> bool:
            return writing.lease_uses(mine.key_id, 3, 20)

        leased = await asyncio.gather(*(each.write(lease) for each in (store, other) for _ in range(8)))
        assert sum(leased) == 6
        assert await store.read(lambda reading: reading.uses_leased(mine.key_id)) == 18


class DeletionContract:
    async def test_due_deletions_are_those_that_the_core_calls_gone(self, store: WholeStore) -> None:
        keys = [
            replace(key(f"key-{number}", account=account), deletion_due=due, archived=archived, material=held)
            for number, (account, due, archived, held) in enumerate(
                itertools.product((ALICE, BOB), (None, BEFORE, NOW, AFTER), (True, False), (None, material()))
            )
        ]
        await put(store, *keys)
        expected = [each for each in keys if each.gone(NOW)]
        found = await store.due_deletions(NOW, 1000)
        assert len(expected) == len(found) == len(keys) // 2
        assert all(each in expected for each in found)
        assert len(await store.due_deletions(NOW, 1)) == 1

    async def test_a_key_whose_deletion_is_due_does_not_count(self, store: WholeStore) -> None:
        dues = (None, BEFORE, NOW, AFTER)
        keys = [replace(key(f"key-{number}"), deletion_due=due) for number, due in enumerate(dues)]
        await put(store, *keys, key("other", account=BOB))
        times = (BEFORE, NOW, AFTER)
        counted = await store.read(lambda reading: [reading.count_keys(ALICE, now) for now in times])
        assert counted == [sum(not each.gone(now) for each in keys) for now in times]
        assert await store.read(lambda reading: [reading.count_keys(BOB, now) for now in times]) == [1, 1, 1]

    async def test_of_a_deleted_key_only_a_tombstone_is_left(self, store: WholeStore) -> None:
        generated = replace(key("same", created_at=BEFORE), origin=Origin.GENERATED, material=material())
        kept = key("kept")
        spent = [
            replace(ticket(generated.key_id), state=each) for each in TicketState if each is not TicketState.ISSUED
        ]
        others = ticket(kept.key_id)
        await put(store, kept, pair(), others)
        await put_tagged(store, (generated, {"env": "prod", "team": "cards"}))
        await put(store, *spent)
        await store.write(lambda writing: writing.lease_uses(generated.key_id, 5, 10))
        assert await store.find_tombstone(generated.key_id) is None
        await store.write(lambda writing: writing.delete_key(generated, AFTER))
        expected = Tombstone(generated.key_id, ALICE, Origin.GENERATED, BEFORE, AFTER)
        assert await store.find_tombstone(generated.key_id) == expected
        assert await store.find_tombstone(kept.key_id) is None
        assert await store.find_key(generated.key_id) is None

        def require_nothing_left(reading: Reading) -> None:
            assert reading.key(ALICE, generated.key_id) is None
            assert reading.count_keys(ALICE, NOW) == 1
            assert reading.uses_leased(generated.key_id) is None
            assert [reading.ticket(each.token_digest) for each in spent] == [None] * len(spent)
            assert reading.ticket(others.token_digest) == others

        await store.read(require_nothing_left)
        await expect_listed(store, KeyFilter(ALICE, tags=[TagFilter("env", ())]), [])

    async def test_tickets_of_one_key_are_removed_some_at_a_time(self, store: WholeStore) -> None:
        mine, kept = key("mine"), key("kept")
        over = [replace(ticket(mine.key_id), state=TicketState.VOID) for _ in range(5)]
        others = ticket(kept.key_id)
        await put(store, mine, kept, pair(), others, *over)
        removed = [await store.write(lambda writing: writing.remove_tickets(mine.key_id, 2)) for _ in range(4)]
        assert removed == [2, 2, 1, 0]
        left = await store.read(lambda reading: [reading.ticket(each.token_digest) for each in (*over, others)])
        assert left == [None] * len(over) + [others]

    async def test_the_alias_of_a_deleted_key_is_free_again(self, store: WholeStore) -> None:
        first, second = key("same"), key("same")
        await put(store, first)

        def succeed(writing: Writing) -> None:
            writing.delete_key(first, NOW)
            writing.add_key(second)

        await store.write(succeed)
        assert await stored(store, second) == second

    async def test_a_key_is_deleted_only_as_it_was_seen(self, store: WholeStore) -> None:
        seen = replace(key(), deletion_due=NOW, material=material())
        await put(store, seen)

        def keep_and_be_late(writing: Writing) -> Key:
            written = writing.replace_key(seen, seen.kept())
            with pytest.raises(ChangedMeanwhile):
                writing.delete_key(seen, NOW)
            return written

        written = await store.write(keep_and_be_late)
        assert await stored(store, seen) == written
        assert await store.find_tombstone(seen.key_id) is None

        def delete_twice(writing: Writing) -> None:
            writing.delete_key(written, NOW)
            with pytest.raises(ChangedMeanwhile):
                writing.delete_key(written, NOW)

        await store.write(delete_twice)
        assert await store.find_key(seen.key_id) is None

    async def test_a_deletion_that_was_rolled_back_leaves_all_as_it_was(self, store: WholeStore) -> None:
        mine = replace(key(), material=material())
        spent = replace(ticket(mine.key_id), state=TicketState.SPENT, spending=Spending(b"digest", None))
        await put(store, mine, pair(), spent)

        def delete_in_vain(writing: Writing) -> None:
            writing.delete_key(mine, NOW)
            raise Halt

        with pytest.raises(Halt):
            await store.write(delete_in_vain)
        assert await stored(store, mine) == mine
        assert await store.find_tombstone(mine.key_id) is None
        assert await store.read(lambda reading: reading.ticket(spent.token_digest)) == spent


class LifeContract(TagContract, UseContract, DeletionContract):
    """The whole of it."""
