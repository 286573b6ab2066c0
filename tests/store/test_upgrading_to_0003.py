"""Keys that revision 0002 wrote are the same in 0003, and have the rest of their life before them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.keys import Origin
from hsmkms.core.material import Fingerprint
from hsmkms.core.ports import KeyFilter, TagFilter
from hsmkms.core.tickets import Spending, TicketState
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import AFTER, ALICE, NOW, event, expect_listed, key, material, pair, put, ticket
from tests.store import older

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hsmkms.store.database import SqlStore

DUE = replace(key("due"), switched_on=False, deletion_due=NOW, material=material(valid_to=AFTER))
LIVE = replace(
    key("live"), origin=Origin.GENERATED, fingerprint=Fingerprint("cmac", b"print"), generation=2, revision=7
)
SPENT = replace(ticket(DUE.key_id), state=TicketState.SPENT, spending=Spending(b"digest", None))
ISSUED = ticket(LIVE.key_id)


@pytest.fixture
async def of_0002(url: str, path: Path) -> None:
    """A database of revision 0002 with keys, material and tickets in it."""
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    await put(store, DUE, LIVE, pair(), SPENT, ISSUED)
    await store.write(lambda writing: writing.append(event()))
    await store.close()
    older.rewind(path, "0002")
    with pytest.raises(StoreUnusable, match="older schema"):
        await open_store(url, link=link, busy_seconds=1)


@pytest.fixture
async def upgraded(url: str, of_0002: None) -> AsyncIterator[SqlStore]:
    del of_0002
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    yield store
    await store.close()


async def test_its_rows_are_the_same_afterwards(upgraded: SqlStore) -> None:
    assert [await upgraded.find_key(each.key_id) for each in (DUE, LIVE)] == [DUE, LIVE]
    digests = [each.token_digest for each in (SPENT, ISSUED)]
    assert await upgraded.read(lambda reading: [reading.ticket(each) for each in digests]) == [SPENT, ISSUED]
    assert await upgraded.read(lambda reading: reading.live_tickets(LIVE.key_id)) == [ISSUED]
    assert [each.event for each in await upgraded.trail().events(0, 10)] == [event()]


async def test_its_keys_have_no_tags_and_all_their_uses(upgraded: SqlStore) -> None:
    assert await upgraded.read(lambda reading: reading.uses_leased(LIVE.key_id)) == 0
    assert await upgraded.write(lambda writing: writing.lease_uses(LIVE.key_id, 10, 10))
    await expect_listed(upgraded, KeyFilter(ALICE, tags=[TagFilter("env", ())]), [])


async def test_a_deletion_that_was_due_can_be_made(upgraded: SqlStore) -> None:
    assert await upgraded.due_deletions(NOW, 10) == [DUE]
    await upgraded.write(lambda writing: writing.delete_key(DUE, NOW))
    assert await upgraded.find_key(DUE.key_id) is None
    assert await upgraded.find_tombstone(DUE.key_id) is not None
    assert await upgraded.read(lambda reading: reading.ticket(SPENT.token_digest)) is None
