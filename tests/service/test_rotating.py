"""Sealing keys of a next version, and the end of an older one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.custody import SEALING_ROLES, CustodyRole
from hsmkms.core.errors import StoreUnavailable, StoreUnusable, TokenUnusable
from hsmkms.core.events import EventTag
from hsmkms.core.material import Edition
from hsmkms.core.ports import SealedCount
from hsmkms.service import rotating
from hsmkms.service.rotating import GRACE_SECONDS, Retired
from hsmkms.store import queries
from tests.contract.store_contract import pair, put
from tests.service.sealed import SealedHouse, label

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting


@pytest.fixture
async def house(opened: Callable[[], Awaitable[SqlStore]]) -> SealedHouse:
    return SealedHouse(await opened())


async def tags(house: SealedHouse) -> list[EventTag]:
    return [each.event.tag for each in await house.store.trail().events(0, 100)]


@pytest.mark.parametrize("transferable", [True, False])
async def test_what_init_was_asked_for_is_kept_by_the_versions_after_it(house: SealedHouse, transferable: bool) -> None:
    await house.initialise(transferable=transferable)
    for asked, expected in ((None, transferable), (not transferable, not transferable), (None, not transferable)):
        deployment = await house.rotate(transferable=asked)
        newest = [each for each in deployment.objects if each.version == deployment.sealing_version]
        assert {each.role: each.transferable for each in newest} == {
            CustodyRole.MATERIAL_SEALING: expected,
            CustodyRole.PAIR_SEALING: False,
        }
    assert [each.transferable for each in rotating.versions(deployment, {})] == [
        transferable,
        transferable,
        not transferable,
        not transferable,
    ]


async def test_both_keys_of_the_next_version_are_made_and_told_of(house: SealedHouse) -> None:
    await house.initialise()
    made_at = house.clock.advance(5)
    deployment = await house.rotate()
    assert deployment == await house.store.deployment()
    assert deployment.sealing_versions == (1, 2)
    assert {(each.role, each.made_at) for each in deployment.objects if each.version == 2} == {
        (role, made_at) for role in SEALING_ROLES
    }
    assert all(each.label(deployment.deployment_id) in house.custodian.labels for each in deployment.objects)
    first, second = rotating.versions(deployment, {1: SealedCount(7, 2)})
    assert (first.newest, first.made_at, first.sealed) == (False, deployment.created_at, SealedCount(7, 2))
    assert (second.newest, second.made_at, second.sealed) == (True, made_at, SealedCount())
    assert (first.superseded_at, second.superseded_at) == (made_at, None)
    assert await tags(house) == [EventTag.DEPLOYMENT_INITIALISED, EventTag.SEALING_KEYS_MADE]


async def test_of_two_at_once_the_second_makes_the_version_after(house: SealedHouse) -> None:
    await house.initialise()
    made = await asyncio.gather(house.rotate(), house.rotate())
    assert sorted(each.sealing_version for each in made) == [2, 3]


async def test_keys_that_the_token_does_not_make_are_not_recorded(house: SealedHouse) -> None:
    await house.initialise()
    before = await house.store.deployment()
    house.custodian.failing = True
    with pytest.raises(TokenUnusable):
        await house.rotate()
    assert await house.store.deployment() == before
    assert await tags(house) == [EventTag.DEPLOYMENT_INITIALISED]


async def test_nothing_is_rotated_before_init_or_for_another_token_or_edition(house: SealedHouse) -> None:
    with pytest.raises(StoreUnusable, match="run 'hsmkms init'"):
        await house.rotate()
    await house.initialise()
    with pytest.raises(TokenUnusable, match="set edition to fips"):
        await rotating.rotate(house.store, house.custodian, house.clock, Edition.SM, transferable=None)
    house.custodian.token_serial = "s-2"
    for refused in (house.rotate(), house.retire(1)):
        with pytest.raises(TokenUnusable, match="serial number s-1"):
            await refused


async def test_a_version_is_retired_once_it_was_superseded_for_long_enough(house: SealedHouse) -> None:
    await house.initialise()
    deployment = await house.rotate()
    for passed in (0, GRACE_SECONDS - 1):
        with pytest.raises(StoreUnusable, match=rf"can be retired in {GRACE_SECONDS - passed} seconds"):
            await house.retire(1)
        house.clock.advance(GRACE_SECONDS - 1 - passed)
    assert await house.store.deployment() == deployment
    house.clock.advance(1)
    assert await house.retire(1) == Retired(known=True, destroyed=2)
    left = await house.store.deployment()
    assert left is not None
    assert left.sealing_versions == (2,)
    assert label(deployment, 1) not in house.custodian.labels
    assert {each.label(left.deployment_id) for each in left.objects} == house.custodian.labels
    assert (await tags(house))[-1] is EventTag.SEALING_KEYS_RETIRED


async def test_it_is_the_next_version_that_superseded_it_and_not_the_newest(house: SealedHouse) -> None:
    await house.initialise()
    await house.rotate()
    house.clock.advance(GRACE_SECONDS)
    await house.rotate()
    assert (await house.retire(1)).known
    with pytest.raises(StoreUnusable, match=f"in {GRACE_SECONDS} seconds"):
        await house.retire(2)


async def test_a_clock_that_went_back_retires_nothing(house: SealedHouse) -> None:
    await house.initialise()
    await house.rotate()
    house.clock.advance(-5000)
    with pytest.raises(StoreUnusable, match=f"can be retired in {GRACE_SECONDS} seconds"):
        await house.retire(1)


async def test_a_version_that_holds_something_the_newest_and_none_are_not_retired(house: SealedHouse) -> None:
    await house.initialise()
    key = await house.add_key()
    await house.rotate()
    house.clock.advance(GRACE_SECONDS)
    for version, why in ((1, "material of 1 keys and 0 wrapping pairs"), (2, "is the newest"), (3, "no version 3")):
        with pytest.raises(StoreUnusable, match=why):
            await house.retire(version)
    assert house.hsm.retired == set()
    await house.replace(key, key.without_material())
    assert (await house.retire(1)).known
    with pytest.raises(StoreUnusable, match="no version 0"):
        await house.retire(0)


async def test_keys_that_were_forgotten_and_not_destroyed_are_destroyed_by_doing_it_again(house: SealedHouse) -> None:
    await house.initialise()
    deployment = await house.rotate()
    house.clock.advance(GRACE_SECONDS)
    house.custodian.failing = True
    with pytest.raises(TokenUnusable):
        await house.retire(1)
    left = await house.store.deployment()
    assert left is not None
    assert left.sealing_versions == (2,)
    assert label(deployment, 1) in house.custodian.labels
    house.custodian.failing = False
    assert await house.retire(1) == Retired(known=False, destroyed=2)
    assert await house.retire(1) == Retired(known=False, destroyed=0)
    assert label(deployment, 1) not in house.custodian.labels
    assert label(deployment, 2) in house.custodian.labels
    assert await tags(house) == [
        EventTag.DEPLOYMENT_INITIALISED,
        EventTag.SEALING_KEYS_MADE,
        EventTag.SEALING_KEYS_RETIRED,
    ]


async def forget_keys(house: SealedHouse, version: int) -> None:
    """Remove a version's keys from the database, as another program can, and as an older copy does not have them."""

    def remove(writing: SqlWriting) -> None:
        writing.run(queries.REMOVE_SEALING_KEYS, {"this": version})

    await house.store.write(remove)


@pytest.mark.parametrize("held", ["material", "pair"])
async def test_keys_that_something_is_under_are_not_destroyed_for_want_of_a_row(house: SealedHouse, held: str) -> None:
    await house.initialise()
    if held == "material":
        await house.add_key()
    else:
        await put(house.store, pair())
    deployment = await house.rotate()
    house.clock.advance(GRACE_SECONDS)
    await forget_keys(house, 1)
    with pytest.raises(StoreUnusable, match="Under version 1 there still are"):
        await house.retire(1)
    assert label(deployment, 1) in house.custodian.labels


async def test_what_comes_after_the_end_of_its_version_is_not_committed(house: SealedHouse) -> None:
    """A host that was suspended for longer than the grace, with what it has sealed."""
    await house.initialise()
    deployment = await rotating.rotate(house.store, house.custodian, house.clock, Edition.FIPS, transferable=None)
    house.clock.advance(GRACE_SECONDS)
    await house.retire(1)
    assert house.hsm.sealing_version == 1
    with pytest.raises(StoreUnavailable):
        await house.add_key()
    assert await house.counts() == {}
    await house.hsm.adopt(deployment)
    await house.add_key()
    assert await house.counts() == {2: 1}


async def test_what_is_under_a_version_without_keys_is_shown_as_lost(house: SealedHouse) -> None:
    await house.initialise()
    await house.add_key()
    await house.rotate()
    await forget_keys(house, 1)
    deployment = await house.store.deployment()
    assert deployment is not None
    first, second = rotating.versions(deployment, await house.store.sealed_counts())
    assert (first.version, first.lost, first.newest, first.made_at, first.sealed) == (
        1,
        True,
        False,
        None,
        SealedCount(1),
    )
    assert (second.version, second.lost, second.newest) == (2, False, True)


async def test_who_finds_the_lock_taken_gives_up_soon(
    house: SealedHouse, opened: Callable[[], Awaitable[SqlStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.initialise()
    monkeypatch.setattr(rotating, "LOCK_SECONDS", 0.1)
    other = SealedHouse(await opened())
    deployment = await house.store.deployment()
    assert deployment is not None
    async with house.store.initialising(deployment):
        for refused in (other.rotate(), other.retire(1)):
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(refused, 10)
