"""One process at a time serves as a node, for as long as its session with the server lasts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import StoreUnavailable, StoreUnusable
from hsmkms.store.node_claim import NodeClaim
from tests.e2e.running import until
from tests.postgres.conftest import BUSY_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from tests.postgres.server import PostgresServer

HOLDERS = (
    "FROM pg_locks JOIN pg_database ON oid = database WHERE locktype = 'advisory' AND datname = current_database()"
)
ENDING = f"SELECT pg_terminate_backend(pid) {HOLDERS}"
HELD_BY = f"SELECT pid {HOLDERS}"
SECONDS = 20.0


async def end_the_holder(connection: Connection[TupleRow]) -> None:
    """Return when the server has ended the one session that holds a claim: it answers when it has only been told to."""
    (pid,) = connection.execute(HELD_BY).fetchone() or ()
    assert len(connection.execute(ENDING).fetchall()) == 1
    await asyncio.to_thread(until, lambda: (pid,) not in connection.execute(HELD_BY).fetchall(), "ended", SECONDS)


@contextlib.asynccontextmanager
async def claimed(url: str, node: str = "node-1", patience_seconds: float = 0.0) -> AsyncIterator[NodeClaim]:
    claim = NodeClaim(url, node, BUSY_SECONDS, patience_seconds)
    try:
        await claim.take()
        yield claim
    finally:
        await claim.give_up()


async def test_a_second_process_is_refused_by_name(url: str) -> None:
    async with claimed(url):
        with pytest.raises(StoreUnusable, match=r"node 'node-1'.*store\.node"):
            async with claimed(url):
                pass
        async with claimed(url, "node-2"):
            pass


async def test_databases_do_not_share_their_nodes(postgres: PostgresServer, url: str, own: str) -> None:
    async with claimed(url), claimed(postgres.url(own)):
        pass


async def test_who_waits_has_it_when_the_process_before_ends(url: str) -> None:
    async with claimed(url) as before:
        after = NodeClaim(url, "node-1", BUSY_SECONDS, SECONDS)
        waiting = asyncio.create_task(after.take())
        assert not (await asyncio.wait([waiting], timeout=0.5))[0]
        await before.give_up()
        await waiting
        await after.give_up()


async def test_a_lost_session_is_taken_again(postgres: PostgresServer, own: str) -> None:
    url = postgres.url(own)
    async with claimed(url) as claim:
        keeping = asyncio.create_task(claim.keep())
        with postgres.connect(own) as connection:
            await end_the_holder(connection)
            await asyncio.to_thread(until, lambda: connection.execute(HELD_BY).fetchone(), "taken again", SECONDS)
        keeping.cancel()
        with pytest.raises(StoreUnusable):
            async with claimed(url):
                pass


async def test_a_node_whose_name_was_taken_meanwhile_ends(postgres: PostgresServer, own: str) -> None:
    url = postgres.url(own)
    async with claimed(url) as claim:
        with postgres.connect(own) as connection:
            await end_the_holder(connection)
        async with claimed(url):
            async with asyncio.timeout(SECONDS):
                with pytest.raises(StoreUnusable):
                    await claim.keep()


async def test_a_server_that_is_away_takes_nothing_from_a_node(postgres: PostgresServer, own: str) -> None:
    async with claimed(postgres.url(own)) as claim:
        postgres.stop()
        try:
            with pytest.raises(StoreUnavailable):
                await claim.take()
        finally:
            postgres.start()
        await claim.take()


async def test_an_sqlite_file_has_one_node(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hsmkms.db"
    async with claimed(url, ""), claimed(url, "") as claim:
        keeping = asyncio.create_task(claim.keep())
        await asyncio.sleep(0)
        assert not keeping.done()
        keeping.cancel()
