"""Material is sealed anew while the service goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core import records
from hsmkms.core.errors import StoreUnavailable, StoreUnusable, TokenGaveNoAnswer
from hsmkms.core.events import EventTag
from hsmkms.core.keys import Material
from hsmkms.core.material import Edition, SealedMaterial
from hsmkms.service.transferring import Transfer, Transferring, settled
from hsmkms.store import queries
from tests.service.sealed import ACME, SealedHouse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Writing
    from hsmkms.core.records import RecordIdentity
    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting


@pytest.fixture
async def house(opened: Callable[[], Awaitable[SqlStore]]) -> SealedHouse:
    made = SealedHouse(await opened())
    await made.initialise()
    return made


async def transfer(house: SealedHouse, tell: Callable[[Transfer], None] = lambda _: None) -> Transfer:
    return await Transferring(house.store, house.hsm, house.clock, Edition.FIPS).run(tell)


def after(house: SealedHouse, calls: int, step: Callable[[], Awaitable[None]]) -> None:
    """Take a step of a test's when the token is to reseal for the time after `calls`, and not again."""
    left = calls

    async def count() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            await step()

    house.hsm.before_judging = count


async def fingerprint_matches(house: SealedHouse, key: Key) -> bool:
    now = await house.key(key)
    assert now is not None
    assert now.material is not None
    owner = records.of_material(ACME, key.key_id, Edition.FIPS, key.generation)
    evidence = await house.hsm.inspect_material(owner, now.material.record)
    assert key.fingerprint is not None
    return key.fingerprint.matches(evidence.fingerprint)


async def test_all_material_is_under_the_newest_version_afterwards_and_is_what_it_was(house: SealedHouse) -> None:
    keys = [await house.add_key() for _ in range(20)]
    await house.rotate()
    keys += [await house.add_key() for _ in range(3)]
    await house.rotate()
    newest = await house.add_key()
    assert await house.counts() == {1: 20, 2: 3, 3: 1}
    told: list[int] = []
    done = await transfer(house, lambda each: told.append(each.looked_at))
    assert (done.version, done.found, done.resealed, done.overtaken) == (3, 23, 23, 0)
    assert (done.complete, done.erased, told) == (True, True, [16, 23])
    assert await house.counts() == {3: 24}
    assert [await fingerprint_matches(house, each) for each in (*keys, newest)] == [True] * 24
    assert await house.key(newest) == newest
    first = await house.key(keys[0])
    assert first is not None
    assert first.material is not None
    assert keys[0].material is not None
    assert replace(first, revision=0, material=keys[0].material) == keys[0]
    assert replace(first.material, record=keys[0].material.record) == keys[0].material


async def test_the_trail_says_what_was_done_to_each_key(house: SealedHouse) -> None:
    key = await house.add_key()
    await house.rotate()
    await transfer(house)
    events = [each.event for each in await house.store.trail().events(0, 100)][2:]
    assert [(each.tag, each.key_id, dict(each.detail)) for each in events] == [
        (EventTag.TRANSFER_BEGUN, None, {"to_version": 2, "found": 1}),
        (EventTag.MATERIAL_RESEALED, key.key_id, {"from_version": 1, "to_version": 2}),
        (
            EventTag.TRANSFER_ENDED,
            None,
            {"to_version": 2, "resealed": 1, "not_transferable": 0, "broken": 0},
        ),
    ]


async def test_run_again_it_changes_nothing(house: SealedHouse) -> None:
    key = await house.add_key()
    await house.rotate()
    await transfer(house)
    before = await house.key(key)
    again = await transfer(house)
    assert (again.found, again.resealed, again.complete) == (0, 0, True)
    assert await house.key(key) == before


async def test_a_token_that_fails_ends_it_at_once_and_the_next_has_the_rest_to_do(house: SealedHouse) -> None:
    for _ in range(40):
        await house.add_key()
    await house.rotate()

    async def fail() -> None:
        house.hsm.sick = True

    after(house, 20, fail)
    with pytest.raises(TokenGaveNoAnswer):
        await transfer(house)
    done = (await house.counts())[2]
    assert 16 <= done <= 20
    tags = [each.event.tag for each in await house.store.trail().events(0, 100)]
    assert (tags.count(EventTag.MATERIAL_RESEALED), tags[-1]) == (done, EventTag.TRANSFER_ENDED)
    house.hsm.sick = False
    rest = await transfer(house)
    assert (rest.found, rest.resealed) == (40 - done, 40 - done)
    assert await house.counts() == {2: 40}


async def test_a_key_that_was_imported_anew_meanwhile_is_left_as_it_is(house: SealedHouse) -> None:
    key = await house.add_key()
    await house.rotate()
    owner = records.of_material(ACME, key.key_id, Edition.FIPS, key.generation)
    assert key.material is not None
    imported = await house.hsm.reseal_material(owner, key.material.record)
    new = key.with_material(imported, Material(imported.record, house.clock.advance(1)))
    after(house, 0, lambda: house.replace(key, new))
    done = await transfer(house)
    assert (done.resealed, done.overtaken, done.complete) == (0, 1, True)
    assert await house.key(key) == replace(new, revision=1)


async def test_a_key_that_got_another_old_record_meanwhile_is_sealed_anew_from_that(house: SealedHouse) -> None:
    """An import that was under way when the keys were rotated."""
    key = await house.add_key()
    owner = records.of_material(ACME, key.key_id, Edition.FIPS, key.generation)
    assert key.material is not None
    imported = await house.hsm.reseal_material(owner, key.material.record)
    await house.rotate()
    late = key.with_material(imported, Material(imported.record, house.clock.advance(1)))
    after(house, 0, lambda: house.replace(key, late))
    done = await transfer(house)
    assert (done.resealed, done.overtaken) == (1, 0)
    now = await house.key(key)
    assert now is not None
    assert now.material is not None
    assert (records.split_head(now.material.record)[0], now.material.brought_at) == (2, house.clock.now())
    assert await fingerprint_matches(house, key)


async def test_what_was_deleted_meanwhile_stays_deleted(house: SealedHouse) -> None:
    gone, bare = sorted([await house.add_key(), await house.add_key()], key=lambda each: each.key_id)
    await house.rotate()

    def delete(writing: Writing) -> None:
        writing.delete_key(gone, house.clock.now())
        writing.replace_key(bare, bare.without_material())

    after(house, 0, lambda: house.store.write(delete))
    done = await transfer(house)
    assert (done.resealed, done.overtaken, done.complete) == (0, 2, True)
    assert await house.key(gone) is None
    assert await house.counts() == {}


async def test_a_change_of_something_else_of_the_key_does_not_matter(house: SealedHouse) -> None:
    key = await house.add_key()
    await house.rotate()
    after(house, 0, lambda: house.replace(key, replace(key, alias="another", switched_on=False)))
    assert (await transfer(house)).resealed == 1
    now = await house.key(key)
    assert now is not None
    assert (now.alias, now.switched_on, now.revision) == ("another", False, 2)


async def test_what_is_not_transferable_is_named_and_stays_without_the_token_being_asked(
    opened: Callable[[], Awaitable[SqlStore]],
) -> None:
    house = SealedHouse(await opened())
    await house.initialise(transferable=False)
    fixed = [await house.add_key() for _ in range(2)]
    await house.rotate(transferable=True)
    free = await house.add_key()
    await house.rotate()
    asked = 0

    async def count() -> None:
        nonlocal asked
        asked += 1

    house.hsm.before_judging = count
    done = await transfer(house)
    assert (done.resealed, done.complete, asked) == (1, False, 1)
    assert sorted(done.not_transferable) == sorted(each.key_id for each in fixed)
    assert await house.counts() == {1: 2, 3: 1}
    assert await fingerprint_matches(house, free)


async def test_a_token_that_does_not_let_go_what_it_should_is_believed(house: SealedHouse) -> None:
    key = await house.add_key()
    await house.rotate()
    house.hsm.transferable = False
    done = await transfer(house)
    assert (done.not_transferable, done.complete) == ([key.key_id], False)
    assert await house.key(key) == key


async def test_a_record_that_does_not_open_is_named_and_ends_nothing(house: SealedHouse) -> None:
    keys = [await house.add_key() for _ in range(3)]
    spoilt = keys[1]
    await house.replace(spoilt, replace(spoilt, material=Material(records.head_of(1) + bytes(80), house.clock.now())))
    await house.rotate()
    done = await transfer(house)
    assert (done.resealed, done.broken, done.complete) == (2, [spoilt.key_id], False)
    assert await house.counts() == {1: 1, 2: 2}


async def test_a_record_that_begins_as_none_does_is_named_and_ends_nothing(house: SealedHouse) -> None:
    keys = [await house.add_key() for _ in range(3)]
    await house.rotate()

    def spoil(writing: SqlWriting) -> None:
        writing.run(queries.REPLACE_MATERIAL, {"this": keys[1].key_id, "record": b"another program's"})

    await house.store.write(spoil)
    done = await transfer(house)
    assert (done.resealed, done.broken, done.complete) == (2, [keys[1].key_id], False)
    nothing = await settled(house.store)
    assert nothing is None, "only the token can tell"


async def test_other_material_than_there_was_is_not_written(
    house: SealedHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await house.add_key()
    await house.rotate()

    async def exchange(owner: RecordIdentity, record: bytes) -> SealedMaterial:
        del record
        return await house.hsm.generate_material(owner)

    monkeypatch.setattr(house.hsm, "reseal_material", exchange)
    done = await transfer(house)
    assert done.broken == [key.key_id]
    assert await house.key(key) == key


async def test_keys_rotated_meanwhile_end_it(house: SealedHouse) -> None:
    for _ in range(20):
        await house.add_key()
    await house.rotate()
    before = house.hsm.sealing_version

    async def rotate() -> None:
        await house.rotate()
        house.hsm.sealing_version = before  # of the host that transfers

    after(house, 3, rotate)
    with pytest.raises(StoreUnusable, match=r"rotated meanwhile; run 'hsmkms sealing transfer' again"):
        await transfer(house)
    assert await house.counts() == {1: 4, 2: 16}


async def test_a_reader_in_the_way_of_the_erasure_is_told(house: SealedHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.add_key()
    await house.rotate()

    async def fail() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(house.store, "erase_deleted", fail)
    done = await transfer(house)
    assert (done.resealed, done.complete, done.erased) == (1, True, False)


async def test_erasure_that_is_up_to_the_server_is_not_claimed(
    house: SealedHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave_it() -> bool:
        return False

    monkeypatch.setattr(house.store, "erase_deleted", leave_it)
    assert (await transfer(house)).erased is None
    nothing = await settled(house.store)
    assert nothing is not None
    assert nothing.erased is None


async def lose(house: SealedHouse, version: int) -> None:
    """Remove a version's keys from the database, as another program can."""

    def remove(writing: SqlWriting) -> None:
        writing.run(queries.REMOVE_SEALING_KEYS, {"this": version})

    await house.store.write(remove)


async def test_what_is_under_keys_that_are_gone_is_named_with_the_version_that_lacks(house: SealedHouse) -> None:
    lost = await house.add_key()
    await house.rotate()
    free = await house.add_key()
    await house.rotate()
    await lose(house, 1)
    done = await transfer(house)
    assert (done.resealed, done.broken, done.lost, done.complete) == (1, [], {1: [lost.key_id]}, False)
    assert done.looked_at == done.found == 2
    assert await house.counts() == {1: 1, 3: 1}
    assert await fingerprint_matches(house, free)
    details = [dict(each.event.detail) for each in await house.store.trail().events(0, 100)]
    assert details[-1] == {"to_version": 3, "resealed": 1, "not_transferable": 0, "broken": 1}


async def test_the_token_is_needed_only_for_what_it_could_let_go(opened: Callable[[], Awaitable[SqlStore]]) -> None:
    house = SealedHouse(await opened())
    await house.initialise(transferable=False)
    assert await settled(house.store) == Transfer(1, 0, erased=True)
    fixed = sorted([(await house.add_key()).key_id for _ in range(2)])
    assert await settled(house.store) == Transfer(1, 0, erased=True)
    await house.rotate(transferable=True)
    assert await settled(house.store) == Transfer(2, 2, not_transferable=fixed, erased=True)
    await house.add_key()
    await house.rotate()
    assert await settled(house.store) is None
    await transfer(house)
    await lose(house, 1)
    assert await settled(house.store) == Transfer(3, 2, lost={1: fixed}, erased=True)


async def test_nothing_is_settled_before_init(opened: Callable[[], Awaitable[SqlStore]]) -> None:
    with pytest.raises(StoreUnusable, match="run 'hsmkms init'"):
        await settled(await opened())
