"""A connection that is lost while a transaction is committed: what was done is answered so, and never done twice."""

from __future__ import annotations

import asyncio
import functools
import select
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text

from hsmkms.audit.chain import link
from hsmkms.audit.verification import Walk
from hsmkms.core.errors import StoreUnavailable
from hsmkms.store.database import SqlStore, open_store
from tests.contract.store_contract import PAIR_ID, event, key, pair, put, stored
from tests.postgres.severing import SeveredWay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from hsmkms.store.writing import SqlWriting
    from tests.postgres.server import PostgresServer


@pytest.fixture
def way(postgres: PostgresServer) -> Iterator[SeveredWay]:
    with tempfile.TemporaryDirectory(prefix="hsmkms-way-") as folder:
        leading = SeveredWay(postgres, Path(folder))
        yield leading
        leading.close()


@pytest.fixture
async def severed(way: SeveredWay, store: SqlStore, shared: str) -> AsyncIterator[SqlStore]:
    """The database of `store`, by the way that is severed."""
    await put(store)
    opened = await open_store(way.url(shared), link=link, busy_seconds=5)
    yield opened
    await opened.close()


@pytest.mark.parametrize("after", [True, False])
async def test_what_appends_to_the_trail_is_answered_as_done_and_is_done_once(
    severed: SqlStore, store: SqlStore, way: SeveredWay, *, after: bool
) -> None:
    made, runs = key(), 0

    def add(writing: SqlWriting) -> int:
        nonlocal runs
        runs += 1
        writing.add_key(made)
        writing.append(event("before"), event("it"))
        return runs

    await severed.write(lambda writing: writing.append(event("first")))
    way.sever(after=after)
    assert await severed.write(add) == (1 if after else 2)
    assert way.severed == 1
    trail = await store.trail().events(0, 10)
    assert [each.event.request_id for each in trail] == ["first", "before", "it"]
    assert Walk().follow(trail) is None
    assert await stored(store, made) == made


async def test_the_chain_may_have_gone_on_meanwhile(severed: SqlStore, store: SqlStore, way: SeveredWay) -> None:
    loop, runs = asyncio.get_running_loop(), []

    def go_on() -> None:
        appending = store.write(lambda writing: writing.append(event("a neighbour's")))
        asyncio.run_coroutine_threadsafe(appending, loop).result()

    def change(writing: SqlWriting) -> None:
        runs.append("run")
        writing.append(event("it"))

    way.sever(after=True, meanwhile=go_on)
    await severed.write(change)
    assert runs == ["run"]
    trail = await store.trail().events(0, 10)
    assert [each.event.request_id for each in trail] == ["it", "a neighbour's"]


async def test_what_appends_nothing_is_unavailable_committed_or_not(
    severed: SqlStore, store: SqlStore, way: SeveredWay
) -> None:
    way.sever(after=True)
    with pytest.raises(StoreUnavailable):
        await severed.write(lambda writing: writing.add_pair(pair()))
    assert await store.read(lambda reading: reading.pair(PAIR_ID)) == pair()


async def test_a_connection_lost_since_the_last_change_is_made_anew_whatever_the_next_begins_with(
    severed: SqlStore, store: SqlStore, way: SeveredWay
) -> None:
    await severed.write(lambda writing: writing.append(event()))
    way.sever_all()
    made = key()
    await severed.write(lambda writing: writing.add_key(made))
    assert await stored(store, made) == made


async def test_a_change_that_froze_until_the_server_undid_it_may_be_tried_again(store: SqlStore) -> None:
    await put(store)
    made = key()

    def change(writing: SqlWriting, *, freeze: bool) -> None:
        writing.add_key(made)
        if freeze:
            writing.run(text("SET LOCAL idle_in_transaction_session_timeout = 1"))
            ended = select.poll()
            ended.register(driver_of(writing).fileno(), select.POLLRDHUP)
            assert ended.poll(10_000), "the server ended the session"

    with pytest.raises(StoreUnavailable):
        await store.write(functools.partial(change, freeze=True))
    await store.write(functools.partial(change, freeze=False))
    assert await stored(store, made) == made


def driver_of(writing: SqlWriting) -> psycopg.Connection:
    driver = writing.connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
