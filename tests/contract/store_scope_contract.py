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
    expect_listed,
    key,
    put,
)

if TYPE_CHECKING:
    from tests.contract.store_contract import WholeStore

TAGS = {
    "both": {"env": "prod", "team": "cards"},
    "team": {"team": "loans"},
    "bare": {"team": "", "\u4e16": "\U0001f511"},
}


class CredentialContract:
    async def test_a_credential_comes_back_with_its_limits_and_its_end(self, store: WholeStore) -> None:
        async with store.writing() as writing:
            alice = await writing.ensure_account(ALICE)
            signer = Credential(AccessId("ak-1"), alice, frozenset(Role), NOW, record=RECORD)
            ids, tags = frozenset(map(KeyId, "abc")), frozenset((("team", "cards"), ('"', "\N{SNOWMAN},=")))
            scopes = (KeyScope(ids), KeyScope(tags=tags), KeyScope(ids, tags), EVERY_KEY)
            made = [
                replace(
                    signer, access_id=AccessId(f"ak-{number}"), scope=scope, valid_to=valid_to, replaced_by=successor
                )
                for number, (scope, valid_to, successor) in enumerate(
                    itertools.product(scopes, (None, AFTER), (None, AccessId("ak-0")))
                )
            ]
            for each in made:
                await writing.add_credential(each)
        async with store.reading() as reading:
            assert [await reading.credential(each.access_id) for each in made] == made

    async def test_of_a_credential_only_switch_end_and_successor_are_replaced(self, store: WholeStore) -> None:
        async with store.writing() as writing:
            alice = await writing.ensure_account(ALICE)
            scope = KeyScope(frozenset((KeyId("k"),)))
            made = Credential(AccessId("ak-1"), alice, frozenset(Role), NOW, record=RECORD, scope=scope)
            other = replace(made, access_id=AccessId("ak-2"))
            for each in (made, other):
                await writing.add_credential(each)
        for wanted in (
            replace(made, switched_on=False),
            replace(made, valid_to=AFTER),
            replace(made, replaced_by=AccessId("ak-2")),
            replace(made, switched_on=False, valid_to=BEFORE, replaced_by=AccessId("ak-2")),
            made,
        ):
            elsewhere = replace(wanted, roles=frozenset(), record=b"other", scope=EVERY_KEY, created_at=AFTER)
            async with store.writing() as writing:
                await writing.replace_credential(elsewhere)
            async with store.reading() as reading:
                assert await reading.credential(made.access_id) == wanted
                assert await reading.credential(other.access_id) == other

    async def test_a_credential_that_is_not_there_is_not_replaced(self, store: WholeStore) -> None:
        async with store.writing() as writing:
            alice = await writing.ensure_account(ALICE)
            with pytest.raises(ChangedMeanwhile):
                await writing.replace_credential(Credential(AccessId("ak-1"), alice, frozenset(), NOW, record=RECORD))
        assert await store.credentials() == []

    async def test_credentials_are_listed_by_account_and_age(self, store: WholeStore) -> None:
        async with store.writing() as writing:
            bob, alice = [await writing.ensure_account(name) for name in (BOB, ALICE)]
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
            for each in (shown, *reversed(made)):
                await writing.add_credential(each)
        assert await store.credentials() == [*made, shown]


class ScopeContract(CredentialContract):
    async def test_a_key_has_the_tags_that_it_was_made_with_and_to_others_none(self, store: WholeStore) -> None:
        made = {alias: key(alias) for alias in (*TAGS, "none")}
        await put(store)
        async with store.writing() as writing:
            for alias, each in made.items():
                await writing.add_key(each, TAGS.get(alias))
            assert await writing.tags(ALICE, made["both"].key_id) == TAGS["both"], "in the transaction, too"
        async with store.reading() as reading:
            for alias, each in made.items():
                assert await reading.tags(ALICE, each.key_id) == TAGS.get(alias, {})
                assert await reading.tags(BOB, each.key_id) == {}
            assert await reading.tags(ALICE, KeyId("nothing")) == {}

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
        await put(store)
        async with store.writing() as writing:
            for alias, each in keys.items():
                await writing.add_key(each, tagged[alias])
            await writing.add_key(foreign, {"env": "prod", "team": "cards"})
        everyone = {**keys, "foreign": foreign}
        scope = KeyScope(frozenset(everyone[alias].key_id for alias in named), frozenset(tags))
        held = [each for alias, each in keys.items() if scope.holds(each.key_id, tagged[alias])]
        assert {each.alias for each in held} == found, "the core says the same"
        await expect_listed(store, KeyFilter(ALICE, scope=scope), held)

    async def test_a_scope_narrows_what_other_filters_leave(self, store: WholeStore) -> None:
        on, off, gone = key("on"), replace(key("off"), archived=True), replace(key("gone"), deletion_due=NOW)
        await put(store)
        async with store.writing() as writing:
            for each in (on, off, gone, key("other")):
                await writing.add_key(each, {"env": "prod"} if each.alias != "other" else {})
        by_tag, by_id = KeyScope(tags=frozenset((("env", "prod"),))), KeyScope(frozenset((on.key_id, off.key_id)))
        for scope in (by_tag, by_id):
            await expect_listed(store, KeyFilter(ALICE, frozenset((KeyState.ARCHIVED,)), scope=scope), [off])
            await expect_listed(store, KeyFilter(ALICE, search="on", scope=scope), [on])
            await expect_listed(store, KeyFilter(ALICE, tags=[TagFilter("no", ())], scope=scope), [])
