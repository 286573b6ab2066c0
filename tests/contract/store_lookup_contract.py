"""What every implementation of `core.ports.Store` must do when a key is looked up: it may remember, not for long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import HsmkmsError
from tests.contract.store_contract import ALICE, BOB, NOW, Halt, key, material, put, put_tagged

if TYPE_CHECKING:
    from hsmkms.core.keys import Key
    from hsmkms.core.ports import Writing
    from tests.contract.store_contract import WholeStore


async def looked_up(store: WholeStore, wanted: Key) -> Key | None:
    view = await store.look_up(wanted.account, wanted.key_id, tagged=False)
    return view.key(wanted.account, wanted.key_id)


class LookupContract:
    async def test_a_key_is_looked_up_with_its_tags(self, store: WholeStore) -> None:
        mine, absent, tags = key(), key("absent"), {"env": "prod"}
        await put_tagged(store, (mine, tags))
        for _ in range(2):
            found = await store.look_up(ALICE, mine.key_id, tagged=True)
            assert (found.key(ALICE, mine.key_id), found.tags(ALICE, mine.key_id)) == (mine, tags)
            foreign = await store.look_up(BOB, mine.key_id, tagged=True)
            assert (foreign.key(BOB, mine.key_id), foreign.tags(BOB, mine.key_id)) == (None, {})
            nothing = await store.look_up(ALICE, absent.key_id, tagged=True)
            assert (nothing.key(ALICE, absent.key_id), nothing.tags(ALICE, absent.key_id)) == (None, {})

    async def test_tags_may_be_asked_for_later(self, store: WholeStore) -> None:
        mine, tags = key(), {"env": "prod"}
        await put_tagged(store, (mine, tags))
        for tagged in (False, True, False, True):
            found = await store.look_up(ALICE, mine.key_id, tagged=tagged)
            assert found.key(ALICE, mine.key_id) == mine
            assert not tagged or found.tags(ALICE, mine.key_id) == tags

    async def test_a_view_tells_of_what_was_asked_for_and_of_nothing_else(self, store: WholeStore) -> None:
        mine, other = key("mine"), key("other")
        await put(store, mine, other)
        found = await store.look_up(ALICE, mine.key_id, tagged=False)
        for account, key_id in ((ALICE, other.key_id), (BOB, mine.key_id)):
            with pytest.raises(HsmkmsError):
                found.key(account, key_id)
        with pytest.raises(HsmkmsError):
            found.tags(ALICE, mine.key_id)

    async def test_what_this_handle_changed_is_seen_at_once(self, store: WholeStore) -> None:
        mine = replace(key(), material=material())
        assert await looked_up(store, mine) is None
        await put(store, mine)
        assert await looked_up(store, mine) == mine
        for change in (mine.switched(on=False), mine.without_material(), mine):

            def replace_it(writing: Writing, change: Key = change) -> Key:
                seen = writing.key(ALICE, mine.key_id)
                assert seen is not None
                return writing.replace_key(seen, replace(change, revision=seen.revision))

            written = await store.write(replace_it)
            assert await looked_up(store, mine) == written
        await store.write(lambda writing: writing.delete_key(written, NOW))
        assert await looked_up(store, mine) is None

    async def test_what_was_rolled_back_is_not_seen(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        assert await looked_up(store, mine) == mine

        def switch_in_vain(writing: Writing) -> None:
            writing.replace_key(mine, mine.switched(on=False))
            raise Halt

        with pytest.raises(Halt):
            await store.write(switch_in_vain)
        assert await looked_up(store, mine) == mine

    async def test_what_another_handle_changed_is_seen_within_a_second(
        self, store: WholeStore, other: WholeStore
    ) -> None:
        mine = key()
        await put(store, mine)
        assert await looked_up(store, mine) == mine
        written = await other.write(lambda writing: writing.replace_key(mine, mine.switched(on=False)))
        changed_at = asked_at = time.monotonic()
        while await looked_up(store, mine) != written:
            assert asked_at < changed_at + 1
            await asyncio.sleep(0.05)
            asked_at = time.monotonic()
