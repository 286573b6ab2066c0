"""What every implementation of `core.ports.Store` and `Inspection` must do for credentials, and what limits them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.credentials import EVERY_KEY, Credential, KeyScope, Role
from hsmkms.core.errors import ChangedMeanwhile
from hsmkms.core.ids import AccessId, KeyId
from hsmkms.core.keys import KeyState
from hsmkms.core.ports import KeyFilter, TagFilter
from tests.contract.store_contract import (
    AFTER,
    ALICE,
    BEFORE,
    BOB,
    DIGEST,
    NOW,
    RECORD,
    account_of,
    expect_listed,
    key,
    put,
    put_tagged,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import AccountName
    from hsmkms.core.ports import Reading, Writing
    from tests.contract.store_contract import WholeStore

TAGS = {
    "both": {"env": "prod", "team": "cards"},
    "team": {"team": "loans"},
    "bare": {"team": "", "\u4e16": "\U0001f511"},
}


class CredentialContract:
    async def test_a_credential_comes_back_with_its_limits_and_its_end(self, store: WholeStore) -> None:
        signer = Credential(AccessId("ak-1"), await account_of(store, ALICE), frozenset(Role), NOW, record=RECORD)
        ids, tags = frozenset(map(KeyId, "abc")), frozenset((("team", "cards"), ('"', "\N{SNOWMAN},=")))
        scopes = (KeyScope(ids), KeyScope(tags=tags), KeyScope(ids, tags), EVERY_KEY)
        made = [
            replace(signer, access_id=AccessId(f"ak-{number}"), scope=scope, valid_to=valid_to, replaced_by=successor)
            for number, (scope, valid_to, successor) in enumerate(
                itertools.product(scopes, (None, AFTER), (None, AccessId("ak-0")))
            )
        ]
        await put(store, *made)
        assert await store.read(lambda reading: [reading.credential(each.access_id) for each in made]) == made

    async def test_of_a_credential_only_switch_end_and_successor_are_replaced(self, store: WholeStore) -> None:
        alice, scope = await account_of(store, ALICE), KeyScope(frozenset((KeyId("k"),)))
        made = Credential(AccessId("ak-1"), alice, frozenset(Role), NOW, record=RECORD, scope=scope)
        other = replace(made, access_id=AccessId("ak-2"))
        await put(store, made, other)
        for wanted in (
            replace(made, switched_on=False),
            replace(made, valid_to=AFTER),
            replace(made, replaced_by=AccessId("ak-2")),
            replace(made, switched_on=False, valid_to=BEFORE, replaced_by=AccessId("ak-2")),
            made,
        ):
            elsewhere = replace(wanted, roles=frozenset(), record=b"other", scope=EVERY_KEY, created_at=AFTER)

            def replace_it(writing: Writing, new: Credential = elsewhere) -> None:
                writing.replace_credential(new)

            await store.write(replace_it)
            assert await store.read(lambda reading: reading.credential(made.access_id)) == wanted
            assert await store.read(lambda reading: reading.credential(other.access_id)) == other

    async def test_a_credential_that_is_not_there_is_not_replaced(self, store: WholeStore) -> None:
        absent = Credential(AccessId("ak-1"), await account_of(store, ALICE), frozenset(), NOW, record=RECORD)
        with pytest.raises(ChangedMeanwhile):
            await store.write(lambda writing: writing.replace_credential(absent))
        assert await store.credentials() == []

    async def test_credentials_are_listed_by_account_and_age(self, store: WholeStore) -> None:
        bob, alice = [await account_of(store, name) for name in (BOB, ALICE)]
        made = [
            Credential(AccessId(name), account, frozenset((Role.USER,)), created_at, record=name.encode())
            for name, account, created_at in (
                ("ak-3", alice, BEFORE),
                ("ak-1", alice, NOW),
                ("ak-2", alice, NOW),
                ("ak-0", bob, BEFORE),
            )
        ]
        shown = Credential(AccessId("ak-9"), bob, frozenset(), AFTER, token_digest=DIGEST, switched_on=False)
        await put(store, shown, *reversed(made))
        assert await store.credentials() == [*made, shown]


class ScopeContract(CredentialContract):
    async def test_a_key_has_the_tags_that_it_was_made_with_and_to_others_none(self, store: WholeStore) -> None:
        made = {alias: key(alias) for alias in (*TAGS, "none")}
        await put(store)

        def tags(reading: Reading, account: AccountName = ALICE) -> list[Mapping[str, str]]:
            return [reading.tags(account, each.key_id) for each in (*made.values(), key("nothing"))]

        def add(writing: Writing) -> list[Mapping[str, str]]:
            for alias, each in made.items():
                writing.add_key(each, TAGS.get(alias))
            return tags(writing)

        expected = [*TAGS.values(), {}, {}]
        assert await store.write(add) == expected, "in the transaction, too"
        assert await store.read(tags) == expected
        assert await store.read(lambda reading: tags(reading, BOB)) == [{}] * len(expected)

    @pytest.mark.parametrize(
        ("named", "tags", "found"),
        [
            ((), (), {"both", "env", "team", "bare"}),
            (("team",), (), {"team"}),
            (("team", "env", "foreign"), (), {"team", "env"}),
            (("foreign",), (), set()),
            ((), (("env", "prod"),), {"both", "env"}),
            ((), (("env", "prod"), ("team", "loans")), {"both", "env", "team"}),
            ((), (("env", "cards"), ("prod", "env"), ("ENV", "prod"), ("env", "pro_")), set()),
            ((), (("team", ""),), {"bare"}),
            (("team",), (("env", "prod"),), {"both", "env", "team"}),
            (("foreign",), (("nobody", "has"),), set()),
            ((), (("team", "\ud800"), ("\ud800", "cards")), set()),
            (("env",), (("team", "loans"), ("team", "\ud800")), {"env", "team"}),
        ],
    )
    async def test_a_list_holds_the_keys_of_the_scope_and_counts_no_others(
        self, store: WholeStore, named: tuple[str, ...], tags: tuple[tuple[str, str], ...], found: set[str]
    ) -> None:
        tagged = {**TAGS, "env": {"env": "prod"}}
        keys = {alias: key(alias, created_at=NOW - at) for at, alias in enumerate(tagged)}
        foreign = key("foreign", account=BOB)
        await put_tagged(store, *((each, tagged[alias]) for alias, each in keys.items()), (foreign, tagged["both"]))
        everyone = {**keys, "foreign": foreign}
        scope = KeyScope(frozenset(everyone[alias].key_id for alias in named), frozenset(tags))
        held = [each for alias, each in keys.items() if scope.holds(each.key_id, tagged[alias])]
        assert {each.alias for each in held} == found, "the core says the same"
        await expect_listed(store, KeyFilter(ALICE, scope=scope), held)

    async def test_a_scope_narrows_what_other_filters_leave(self, store: WholeStore) -> None:
        on, off, gone = key("on"), replace(key("off"), archived=True), replace(key("gone"), deletion_due=NOW)
        await put_tagged(store, *((each, {"env": "prod"}) for each in (on, off, gone)), (key("other"), {}))
        by_tag, by_id = KeyScope(tags=frozenset((("env", "prod"),))), KeyScope(frozenset((on.key_id, off.key_id)))
        for scope in (by_tag, by_id):
            await expect_listed(store, KeyFilter(ALICE, frozenset((KeyState.ARCHIVED,)), scope=scope), [off])
            await expect_listed(store, KeyFilter(ALICE, search="on", scope=scope), [on])
            await expect_listed(store, KeyFilter(ALICE, tags=[TagFilter("no", ())], scope=scope), [])
