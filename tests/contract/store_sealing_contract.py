"""What every implementation of the store's ports must do for several versions of the sealing keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from hsmkms.core.custody import SEALING_ROLES, CustodyObject, CustodyRole, Deployment
from hsmkms.core.errors import InternalFault, StoreUnavailable, StoreUnusable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import KeyId
from hsmkms.core.keys import Key
from hsmkms.core.ports import SealedCount
from hsmkms.core.records import head_of
from hsmkms.store.schema import MATERIALS, PAIR_SECRETS
from hsmkms.store.writing import SqlWriting
from tests.contract.store_contract import AFTER, ALICE, NOW, event, key, material, pair, plan, proved, put, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Table

    from hsmkms.core.ports import Writing
    from tests.contract.store_contract import WholeStore

MADE = replace(event(), tag=EventTag.SEALING_KEYS_MADE, at=AFTER)
RETIRED = replace(event(), tag=EventTag.SEALING_KEYS_RETIRED)


def sealing_keys(version: int, *, transferable: bool = False) -> tuple[CustodyObject, ...]:
    """Return the proved sealing keys of a version, as a host makes them."""
    return tuple(
        CustodyObject(role, f"{role.value} {version}".encode(), b"question", b"answer", version, transferable)
        for role in SEALING_ROLES
    )


def holding(alias: str, version: int) -> Key:
    return replace(key(alias), material=material(head_of(version) + alias.encode()))


async def ready(store: WholeStore) -> Deployment:
    async with store.initialising(plan()) as initialising:
        await initialising.mark_ready(proved(initialising.deployment), event())
        return initialising.deployment


async def rotate(store: WholeStore, deployment: Deployment, *made: CustodyObject) -> Deployment:
    async with store.initialising(deployment) as initialising:
        await initialising.add_sealing_keys(made, MADE)
        return initialising.deployment


async def retire(store: WholeStore, deployment: Deployment, version: int) -> Deployment:
    async with store.initialising(deployment) as initialising:
        await initialising.remove_sealing_keys(version, RETIRED)
        return initialising.deployment


def emptying(key: Key) -> Callable[[Writing], object]:
    return lambda writing: writing.replace_key(key, key.without_material())


def after_an_event(change: Callable[[Writing], object]) -> Callable[[Writing], object]:
    """Return a change that has done something before."""

    def do_both(writing: Writing) -> object:
        writing.append(event())
        return change(writing)

    return do_both


class VersionContract:
    async def test_sealing_keys_that_were_added_are_the_newest(self, store: WholeStore, other: WholeStore) -> None:
        first = await ready(store)
        second = await rotate(store, first, *sealing_keys(2, transferable=True))
        expected = {replace(each, made_at=AFTER) for each in sealing_keys(2, transferable=True)}
        assert set(second.objects) == {*first.objects, *expected}
        assert (first.sealing_version, second.sealing_version) == (1, 2)
        assert await other.deployment() == second
        assert [each.event for each in await store.trail().events(0, 10)] == [event(), MADE]
        third = await rotate(other, first, *sealing_keys(7))
        assert third.sealing_version == 7
        assert await store.deployment() == third

    async def test_a_plan_says_whether_it_is_transferable(self, store: WholeStore) -> None:
        planned = plan()
        objects = tuple(replace(each, transferable=each.role is CustodyRole.PAIR_SEALING) for each in planned.objects)
        async with store.initialising(replace(planned, objects=objects)) as initialising:
            assert initialising.deployment.objects == objects
            # What was made decides, which may be other than what was planned.
            await initialising.mark_ready(proved(planned), event())
        assert await store.deployment() == proved(planned)

    @pytest.mark.parametrize(
        "made",
        [
            sealing_keys(1),
            sealing_keys(2),
            sealing_keys(3)[:1],
            (sealing_keys(3)[0], sealing_keys(4)[1]),
            (sealing_keys(3)[0], replace(sealing_keys(3)[0], object_id=b"another")),
            (*sealing_keys(3), CustodyObject(CustodyRole.MAC, b"mac 3", b"question", b"answer", 3)),
            tuple(replace(each, answer=b"") for each in sealing_keys(3)),
            (),
        ],
    )
    async def test_other_keys_than_those_of_a_later_version_are_refused(
        self, store: WholeStore, made: tuple[CustodyObject, ...]
    ) -> None:
        second = await rotate(store, await ready(store), *sealing_keys(2))
        with pytest.raises(StoreUnusable):
            await rotate(store, second, *made)
        assert await store.deployment() == second
        assert len(await store.trail().events(0, 10)) == 2

    async def test_a_deployment_that_is_not_ready_is_not_rotated(self, store: WholeStore) -> None:
        planned = plan()
        with pytest.raises(StoreUnusable, match="not ready"):
            await rotate(store, planned, *sealing_keys(2))
        assert await store.deployment() == planned

    async def test_what_is_removed_is_forgotten_and_nothing_else(self, store: WholeStore) -> None:
        first = await ready(store)
        second = await rotate(store, first, *sealing_keys(2))
        third = await rotate(store, second, *sealing_keys(3))
        left = await retire(store, third, 2)
        assert set(third.objects) - set(left.objects) == {replace(each, made_at=AFTER) for each in sealing_keys(2)}
        assert await store.deployment() == left
        left = await retire(store, left, 1)
        assert {(each.role, each.version) for each in left.objects} == {
            *((role, 3) for role in SEALING_ROLES),
            *((role, 1) for role in CustodyRole if role not in SEALING_ROLES),
        }
        assert [each.event.tag for each in await store.trail().events(0, 10)][3:] == [RETIRED.tag] * 2

    @pytest.mark.parametrize(("version", "why"), [(2, "is the newest"), (3, "no sealing keys"), (0, "no sealing keys")])
    async def test_the_newest_and_what_there_is_not_are_not_removed(
        self, store: WholeStore, version: int, why: str
    ) -> None:
        second = await rotate(store, await ready(store), *sealing_keys(2))
        with pytest.raises(StoreUnusable, match=why):
            await retire(store, second, version)
        assert await store.deployment() == second

    async def test_a_version_that_something_is_under_is_not_removed(self, store: WholeStore) -> None:
        second = await rotate(store, await ready(store), *sealing_keys(2))
        old = holding("old", 1)
        kept = replace(pair("kept"), record=head_of(1) + b"private")
        await put(store, old, holding("new", 2), kept)
        with pytest.raises(StoreUnusable, match="material of 1 keys and 1 wrapping pairs"):
            await retire(store, second, 1)
        await store.write(lambda writing: writing.replace_key(old, old.without_material()))
        with pytest.raises(StoreUnusable, match="material of 0 keys and 1 wrapping pairs"):
            await retire(store, second, 1)
        await store.write(lambda writing: writing.replace_pair(kept, replace(kept, record=None)))
        assert await retire(store, second, 1) == await store.deployment()

    async def test_nothing_is_committed_under_a_version_that_was_retired_meanwhile(
        self, store: WholeStore, other: WholeStore
    ) -> None:
        """However long a process was suspended between what it sealed and its commit."""
        second = await rotate(store, await ready(store), *sealing_keys(2))
        empty, full = key("empty"), holding("full", 2)
        shared = replace(pair("shared"), record=head_of(2) + b"private")
        for each in (store, other):
            await put(each, probe := holding(f"probe of {id(each)}", 1))  # so that it knows of the version
            await each.write(emptying(probe))
        await put(store, empty, full, shared)
        before = await other.sealed_counts()
        await retire(store, second, 1)
        late, late_half = material(head_of(1) + b"late"), head_of(1) + b"late"

        changes: list[Callable[[Writing], object]] = [
            lambda writing: writing.add_key(replace(key("late"), material=late)),
            lambda writing: writing.replace_key(empty, replace(empty, material=late)),
            lambda writing: writing.replace_key(full, replace(full, material=late)),
            lambda writing: writing.add_pair(replace(pair("late"), record=late_half)),
            lambda writing: writing.replace_pair(shared, replace(shared, record=late_half)),
        ]
        for each in (store, other):
            for change in changes:
                with pytest.raises(StoreUnavailable):
                    await each.write(after_an_event(change))
        assert await store.sealed_counts() == before
        assert [await stored(store, each) for each in (empty, full)] == [empty, full]
        assert (await store.trail().events(0, 10))[-1].event == RETIRED
        await put(other, holding("new", 2), replace(pair("new"), record=head_of(2) + b"private"))

    @pytest.mark.parametrize(("table", "what"), [(MATERIALS, "material of key"), (PAIR_SECRETS, "wrapping pair")])
    async def test_no_version_goes_while_a_column_contradicts_its_record(
        self, store: WholeStore, table: Table, what: str
    ) -> None:
        second = await rotate(store, await ready(store), *sealing_keys(2))
        await put(store, holding("new", 2), replace(pair("new"), record=head_of(2) + b"private"))
        old = holding("old", 1) if table is MATERIALS else replace(pair("old"), record=head_of(1) + b"private")
        await put(store, old)

        def relabel(writing: Writing) -> None:
            assert isinstance(writing, SqlWriting)
            writing.run(update(table).values(sealing_version=2))

        await store.write(relabel)
        assert set(await store.sealed_counts()) == {2}
        name = old.key_id if isinstance(old, Key) else old.pair_id
        with pytest.raises(StoreUnusable, match=f"{what} {name} is not under version 2"):
            await retire(store, second, 1)
        assert await store.deployment() == second


class SealedContract:
    async def test_what_is_counted_under_each_version_is_what_the_records_say(self, store: WholeStore) -> None:
        assert await store.sealed_counts() == {}
        old, newer = holding("old", 1), holding("newer", 2)
        pairs = [replace(pair(f"p{at}"), record=head_of(at) + b"private") for at in (1, 2, 9)]
        await put(store, old, newer, key("empty"), *pairs)
        assert await store.sealed_counts() == {1: SealedCount(1, 1), 2: SealedCount(1, 1), 9: SealedCount(0, 1)}
        again = replace(old, material=material(head_of(9) + b"old"))
        await store.write(lambda writing: writing.replace_key(old, again))
        await store.write(lambda writing: writing.replace_key(newer, newer.without_material()))
        await store.write(lambda writing: writing.replace_pair(pairs[0], replace(pairs[0], record=pairs[1].record)))
        await store.write(lambda writing: writing.replace_pair(pairs[2], replace(pairs[2], record=None)))
        assert await store.sealed_counts() == {2: SealedCount(0, 2), 9: SealedCount(1, 0)}

    async def test_who_goes_on_after_the_last_one_sees_each_key_below_once(self, store: WholeStore) -> None:
        keys = [holding(f"key-{at}", 1 + at % 3) for at in range(9)]
        await put(store, *keys, key("empty"))
        below = sorted((each for each in keys if each.alias[-1] not in "258"), key=lambda each: each.key_id)
        found: list[Key] = []
        while page := await store.sealed_below(3, found[-1].key_id if found else None, 4):
            found += page
        assert found == below
        assert await store.sealed_below(1, None, 100) == []
        assert await store.sealed_below(4, KeyId(max(each.key_id for each in keys)), 100) == []

    async def test_a_record_that_begins_as_none_does_is_not_written(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        for record in (b"", b"a record", b"\x02\x00\x00\x00\x01", b"\x02\x00"):
            with pytest.raises(InternalFault):
                await put(store, replace(key("other"), material=material(record)))
            with pytest.raises(InternalFault):
                await put(store, replace(pair(), record=record))
        assert await stored(store, mine) == mine
        assert await store.read(lambda reading: reading.count_keys(ALICE, NOW)) == 1


class SealingContract(VersionContract, SealedContract):
    """The whole of it."""
