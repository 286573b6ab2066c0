"""Credentials that revision 0003 wrote may do in 0004 what they may, without a limit, an end or a successor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.credentials import EVERY_KEY, Credential, KeyScope, Role
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.ids import AccessId
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import AFTER, ALICE, DIGEST, NOW, RECORD, account_of, event, put
from tests.store import older

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.core.ports import Writing


async def test_its_credentials_are_the_same_afterwards_and_can_be_limited_from_then_on(url: str, path: Path) -> None:
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    alice = await account_of(store, ALICE)
    signer = Credential(AccessId("ak-1"), alice, frozenset(Role), NOW, record=RECORD)
    shown = Credential(AccessId("ak-2"), alice, frozenset(), NOW, token_digest=DIGEST, switched_on=False)
    await put(store, signer, shown)
    await store.write(lambda writing: writing.append(event()))
    await store.close()
    older.rewind(path, "0003")
    with pytest.raises(StoreUnusable, match="older schema"):
        await open_store(url, link=link, busy_seconds=1)
    assert await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=1)
    assert await store.credentials() == [signer, shown]
    assert (signer.scope, signer.valid_to, signer.replaced_by) == (EVERY_KEY, None, None)
    limited = replace(signer, access_id=AccessId("ak-3"), scope=KeyScope(tags=frozenset((("a", "b"),))), valid_to=AFTER)
    replaced = replace(signer, replaced_by=limited.access_id)

    def succeed(writing: Writing) -> None:
        writing.add_credential(limited)
        writing.replace_credential(replaced)

    await store.write(succeed)
    assert await store.credentials() == [replaced, shown, limited]
    assert [each.event for each in await store.trail().events(0, 10)] == [event()]
    await store.close()
