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
    stored,
    ticket,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        await put(store)
        async with store.writing() as writing:
            for alias, each in keys.items():
                await writing.add_key(each, tagged[alias])
            await writing.add_key(foreign, {"env": "prod", "team": "cards"})
        wanted = [TagFilter(name, values) for name, values in tags]
        await expect_listed(store, KeyFilter(ALICE, tags=wanted), [keys[alias] for alias in found])

    async def test_tags_narrow_what_other_filters_leave(self, store: WholeStore) -> None:
        on, off = key("on"), replace(key("off"), archived=True)
        gone = replace(key("gone"), deletion_due=NOW)
        await put(store)
        async with store.writing() as writing:
            for each in (on, off, gone):
                await writing.add_key(each, {"env": "prod"})
        tags = (TagFilter("env", ("prod",)),)
        await expect_listed(store, KeyFilter(ALICE, frozenset((KeyState.ARCHIVED,)), tags=tags), [off])
        await expect_listed(store, KeyFilter(ALICE, search="on", tags=tags), [on])


class UseContract:
    async def test_uses_are_counted_up_to_the_most_and_not_beyond(self, store: WholeStore) -> None:
        mine, other = key("mine"), key("other")
        await put(store, mine, other)
        for uses, counted, then in ((4, True, 4), (3, True, 7), (4, False, 7), (3, True, 10), (1, False, 10)):
            async with store.writing() as writing:
                assert await writing.lease_uses(mine.key_id, uses, 10) is counted
                assert await writing.uses_leased(mine.key_id) == then
            async with store.reading() as reading:
                assert await reading.uses_leased(mine.key_id) == then
                assert await reading.uses_leased(other.key_id) == 0

    async def test_a_key_that_there_is_not_has_no_uses(self, store: WholeStore) -> None:
        absent = KeyId("absent")
        async with store.writing() as writing:
            assert await writing.uses_leased(absent) is None
            assert await writing.lease_uses(absent, 1, 10) is False

    async def test_more_than_the_bound_can_be_counted(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        async with store.writing() as writing:
            assert await writing.lease_uses(mine.key_id, 2**32, 2**32)
            assert await writing.uses_leased(mine.key_id) == 2**32
            assert not await writing.lease_uses(mine.key_id, 1, 2**32)

    async def test_counting_uses_is_no_change_of_the_key(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        async with store.writing() as writing:
            await writing.lease_uses(mine.key_id, 5, 10)
        assert await stored(store, mine) == mine
        async with store.writing() as writing:
            await writing.replace_key(mine, mine.switched(on=False))
            assert await writing.uses_leased(mine.key_id) == 5

    async def test_uses_that_were_rolled_back_are_not_counted(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        with pytest.raises(Halt):  # noqa: PT012 - what is tested is leaving the inner block
            async with store.writing() as writing:
                await writing.lease_uses(mine.key_id, 5, 10)
                raise Halt
        async with store.reading() as reading:
            assert await reading.uses_leased(mine.key_id) == 0

    async def test_parallel_leases_never_count_more_than_the_most(self, store: WholeStore, other: WholeStore) -> None:
        mine = key()
        await put(store, mine)

        async def lease(each: WholeStore) -> bool:
            async with each.writing() as writing:
                return await writing.lease_uses(mine.key_id, 3, 20)

        leased = await asyncio.gather(*(lease(each) for each in (store, other) for _ in range(8)))
        assert sum(leased) == 6
        async with store.reading() as reading:
            assert await reading.uses_leased(mine.key_id) == 18


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
        async with store.reading() as reading:
            for now in (BEFORE, NOW, AFTER):
                assert await reading.count_keys(ALICE, now) == sum(not each.gone(now) for each in keys)
                assert await reading.count_keys(BOB, now) == 1

    async def test_of_a_deleted_key_only_a_tombstone_is_left(self, store: WholeStore) -> None:
        generated = replace(key("same", created_at=BEFORE), origin=Origin.GENERATED, material=material())
        kept = key("kept")
        spent = [
            replace(ticket(generated.key_id), state=each) for each in TicketState if each is not TicketState.ISSUED
        ]
        others = ticket(kept.key_id)
        await put(store, kept, pair(), others)
        async with store.writing() as writing:
            await writing.add_key(generated, {"env": "prod", "team": "cards"})
            await writing.lease_uses(generated.key_id, 5, 10)
            for each in spent:
                await writing.add_ticket(each)
        assert await store.find_tombstone(generated.key_id) is None
        async with store.writing() as writing:
            await writing.delete_key(generated, AFTER)
        expected = Tombstone(generated.key_id, ALICE, Origin.GENERATED, BEFORE, AFTER)
        assert await store.find_tombstone(generated.key_id) == expected
        assert await store.find_tombstone(kept.key_id) is None
        assert await store.find_key(generated.key_id) is None
        async with store.reading() as reading:
            assert await reading.key(ALICE, generated.key_id) is None
            assert await reading.count_keys(ALICE, NOW) == 1
            assert await reading.uses_leased(generated.key_id) is None
            assert [await reading.ticket(each.token_digest) for each in spent] == [None] * len(spent)
            assert await reading.ticket(others.token_digest) == others
            tagged = await reading.list_keys(KeyFilter(ALICE, tags=[TagFilter("env", ())]), NOW, offset=0, limit=9)
        assert tagged.total == 0

    async def test_the_alias_of_a_deleted_key_is_free_again(self, store: WholeStore) -> None:
        first, second = key("same"), key("same")
        await put(store, first)
        async with store.writing() as writing:
            await writing.delete_key(first, NOW)
            await writing.add_key(second)
        assert await stored(store, second) == second

    async def test_a_key_is_deleted_only_as_it_was_seen(self, store: WholeStore) -> None:
        seen = replace(key(), deletion_due=NOW, material=material())
        await put(store, seen)
        async with store.writing() as writing:
            written = await writing.replace_key(seen, seen.kept())
            with pytest.raises(ChangedMeanwhile):
                await writing.delete_key(seen, NOW)
        assert await stored(store, seen) == written
        assert await store.find_tombstone(seen.key_id) is None
        async with store.writing() as writing:
            await writing.delete_key(written, NOW)
            with pytest.raises(ChangedMeanwhile):
                await writing.delete_key(written, NOW)
        assert await store.find_key(seen.key_id) is None

    async def test_a_deletion_that_was_rolled_back_leaves_all_as_it_was(self, store: WholeStore) -> None:
        mine = replace(key(), material=material())
        spent = replace(ticket(mine.key_id), state=TicketState.SPENT, spending=Spending(b"digest", None))
        await put(store, mine, pair(), spent)
        with pytest.raises(Halt):  # noqa: PT012 - what is tested is leaving the inner block
            async with store.writing() as writing:
                await writing.delete_key(mine, NOW)
                raise Halt
        assert await stored(store, mine) == mine
        assert await store.find_tombstone(mine.key_id) is None
        async with store.reading() as reading:
            assert await reading.ticket(spent.token_digest) == spent


class LifeContract(TagContract, UseContract, DeletionContract):
    """The whole of it."""
