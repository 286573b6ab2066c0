"""Records that are committed while the sealing keys they are under go: what waits decides by what was committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import StoreUnavailable, StoreUnusable
from hsmkms.core.records import head_of
from tests.contract.store_contract import pair, put
from tests.contract.store_sealing_contract import (
    RETIRED,
    holding,
    ready,
    retire,
    rotate,
    sealing_keys,
)
from tests.postgres.test_locking import SECONDS, Meeting

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting
    from tests.postgres.server import PostgresServer

Change = Callable[["SqlWriting"], None]
LATE_KEY, LATE_PAIR = holding("late", 1), replace(pair("late"), record=head_of(1) + b"private")


@pytest.fixture
def meeting(postgres: PostgresServer, shared: str) -> Meeting:
    return Meeting(postgres, shared)


@pytest.fixture
async def rotated(store: SqlStore) -> Deployment:
    await put(store)
    return await rotate(store, await ready(store), *sealing_keys(2))


def add_key(writing: SqlWriting) -> None:
    writing.add_key(LATE_KEY)


def add_pair(writing: SqlWriting) -> None:
    writing.add_pair(LATE_PAIR)


@pytest.mark.parametrize("add", [add_key, add_pair])
async def test_what_is_not_committed_yet_is_waited_for_and_counted(
    store: SqlStore, other: SqlStore, meeting: Meeting, rotated: Deployment, add: Change
) -> None:
    def add_and_wait(writing: SqlWriting) -> None:
        add(writing)
        meeting.until_waited_for()

    adding = asyncio.create_task(store.write(add_and_wait))
    assert await asyncio.to_thread(meeting.entered.wait, SECONDS)
    with pytest.raises(StoreUnusable, match="Under version 1 there still are"):
        await retire(other, rotated, 1)
    await adding
    assert await store.deployment() == rotated


@pytest.mark.parametrize("add", [add_key, add_pair])
async def test_what_waits_for_the_end_of_its_version_is_not_committed(
    store: SqlStore, other: SqlStore, meeting: Meeting, rotated: Deployment, add: Change
) -> None:
    async with store.initialising(rotated) as initialising:
        await initialising.remove_sealing_keys(1, RETIRED)
        adding = asyncio.create_task(other.write(add))
        await asyncio.to_thread(meeting.until_waited_for)
    with pytest.raises(StoreUnavailable):
        await adding
    assert await other.sealed_counts() == {}


async def test_whoever_writes_under_another_version_is_not_held_up(store: SqlStore, rotated: Deployment) -> None:
    async with store.initialising(rotated) as initialising:
        await initialising.remove_sealing_keys(1, RETIRED)
        await store.write(lambda writing: writing.add_key(holding("new", 2)))
    assert set(await store.sealed_counts()) == {2}
