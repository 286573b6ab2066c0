"""What every implementation of `core.ports.Store`, `DeploymentStore` and `Inspection` must do.

A room that has one runs the suite by subclassing `StoreContract`, and those of `store_life_contract`,
`store_lookup_contract`, `store_scope_contract`, `store_sealing_contract`, `trail_contract`, `archive_contract` and
`count_contract`, and giving them the fixtures `store` and `other`: two handles on one empty database.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.credentials import Credential, Role
from hsmkms.core.custody import CustodyObject, CustodyRole, Deployment
from hsmkms.core.errors import (
    AliasTaken,
    ChangedMeanwhile,
    HsmkmsError,
    ImportTokenOver,
    StoreUnusable,
    TicketEnd,
)
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import AccessId, Account, AccountName, Instant, KeyId, PairId, RequestId, TicketId
from hsmkms.core.keys import Key, KeyState, KeyUsage, Material, Origin
from hsmkms.core.material import Edition, Fingerprint
from hsmkms.core.ports import DeploymentStore, Inspection, KeyFilter, KeyPage, Store
from hsmkms.core.tickets import Pair, Spending, Ticket, TicketState
from hsmkms.core.wrapping import WrappingAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hsmkms.core.ports import Reading, Writing

ALICE = AccountName("alice")
BOB = AccountName("bob")
NOW = Instant(1_800_000_000_000)
BEFORE, AFTER = Instant(NOW - 1), Instant(NOW + 1)
OAEP = WrappingAlgorithm.RSAES_OAEP_SHA_256
PAIR_ID = PairId("pair-1")
RECORD = b"\x01a record of \x00 bytes \xff"
DIGEST = bytes(range(224, 256))
SECONDS = 30
"""How long a test waits for what must happen soon."""

Cut = tuple[int, int]


class WholeStore(Store, DeploymentStore, Inspection, Protocol):
    """All that the suite asks for."""


def key(alias: str = "first", *, account: AccountName = ALICE, created_at: int = NOW) -> Key:
    return Key(
        key_id=KeyId(str(uuid.uuid4())),
        account=account,
        alias=alias,
        description="for the test",
        usage=KeyUsage.ENCRYPT_DECRYPT,
        origin=Origin.EXTERNAL,
        created_at=Instant(created_at),
    )


def material(record: bytes = RECORD, valid_to: int | None = None) -> Material:
    return Material(record, NOW, None if valid_to is None else Instant(valid_to), TicketId("ticket-1"))


def pair(pair_id: str = PAIR_ID, *, account: AccountName = ALICE, opened_at: int = NOW) -> Pair:
    return Pair(PairId(pair_id), account, OAEP, b"public", Instant(opened_at), b"\x01private half")


def ticket(key_id: KeyId, *, pair_id: PairId = PAIR_ID, issued_at: int = NOW, deadline: int = AFTER) -> Ticket:
    number = uuid.uuid4()
    return Ticket(
        ticket_id=TicketId(str(number)),
        token_digest=number.bytes * 2,
        account=ALICE,
        key_id=key_id,
        pair_id=pair_id,
        algorithm=OAEP,
        issued_at=Instant(issued_at),
        deadline=Instant(deadline),
        most_attempts=10,
    )


def event(request: str = "r-1", **detail: str | int | bool | None) -> Event:
    return Event(EventTag.KEY_CREATED, NOW, ALICE, "ak-1", KeyId("k-1"), RequestId(request), detail)


def plan() -> Deployment:
    objects = tuple(CustodyObject(role, role.value.encode()) for role in sorted(CustodyRole))
    return Deployment(str(uuid.uuid4()), Edition.FIPS, ready=False, created_at=NOW, token_serial="s-1", objects=objects)


def proved(deployment: Deployment) -> Deployment:
    objects = tuple(replace(each, challenge=b"question", answer=b"answer") for each in deployment.objects)
    return replace(deployment, ready=True, objects=objects)


class Halt(Exception):
    """Any reason to leave a block."""


async def put(store: Store, *things: Key | Ticket | Pair | Credential) -> None:
    def add(writing: Writing) -> None:
        for name in (ALICE, BOB):
            writing.ensure_account(name)
        for thing in things:
            match thing:
                case Key():
                    writing.add_key(thing)
                case Pair():
                    writing.add_pair(thing)
                case Ticket():
                    writing.add_ticket(thing)
                case Credential():
                    writing.add_credential(thing)

    await store.write(add)


async def put_tagged(store: Store, *things: tuple[Key, Mapping[str, str] | None]) -> None:
    await put(store)

    def add(writing: Writing) -> None:
        for thing, tags in things:
            writing.add_key(thing, tags)

    await store.write(add)


async def account_of(store: Store, name: AccountName) -> Account:
    return await store.write(lambda writing: writing.ensure_account(name))


def attempting(seen: Ticket) -> Callable[[Writing], Ticket]:
    return lambda writing: writing.replace_ticket(seen, seen.attempted(NOW))


async def stored(store: Store, old: Key) -> Key:
    found = await store.read(lambda reading: reading.key(old.account, old.key_id))
    assert found is not None
    return found


async def expect_listed(store: WholeStore, wanted: KeyFilter, expected: Sequence[Key]) -> None:
    page = await store.read(lambda reading: reading.list_keys(wanted, NOW, offset=0, limit=100))
    cut = await store.read(lambda reading: reading.list_keys(wanted, NOW, offset=0, limit=1))
    assert [each.key_id for each in page.keys] == [each.key_id for each in expected]
    assert list(page.keys) == sorted(expected, key=lambda each: (each.created_at, each.key_id), reverse=True)
    assert page.total == cut.total == len(expected)


class KeyContract:
    async def test_a_key_comes_back_as_it_was_written(self, store: WholeStore) -> None:
        plain = key("plain")
        full = replace(
            key("full"),
            switched_on=False,
            archived=True,
            deletion_due=AFTER,
            generation=3,
            origin=Origin.GENERATED,
            description="世界 \U0001f511 ' \" %",
            fingerprint=Fingerprint("cmac", b"\x00print"),
            material=material(valid_to=AFTER),
        )
        await put(store, plain, full)
        assert await stored(store, plain) == plain
        assert await stored(store, full) == full

    async def test_another_accounts_key_does_not_exist(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        assert await store.read(lambda reading: reading.key(BOB, mine.key_id)) is None
        assert await store.read(lambda reading: reading.keys(BOB, [mine.key_id])) == []
        assert await store.read(lambda reading: reading.count_keys(BOB, NOW)) == 0
        assert await store.read(lambda reading: reading.count_keys(ALICE, NOW)) == 1
        assert await store.find_key(mine.key_id) == mine
        assert await store.find_key(key().key_id) is None

    async def test_keys_come_in_the_order_asked_for(self, store: WholeStore) -> None:
        first, second, third = key("1"), key("2"), key("3", account=BOB)
        await put(store, first, second, third)

        asked = [second.key_id, third.key_id, KeyId("absent"), first.key_id]
        assert await store.read(lambda reading: reading.keys(ALICE, asked)) == [second, first]
        assert await store.read(lambda reading: reading.keys(ALICE, [])) == []

    async def test_an_alias_is_taken_once_per_account(self, store: WholeStore) -> None:
        first, second = key("same"), key("free")
        await put(store, first, second, key("same", account=BOB))

        def try_twice(writing: Writing) -> None:
            with pytest.raises(AliasTaken):
                writing.add_key(key("same"))
            with pytest.raises(AliasTaken):
                writing.replace_key(second, replace(second, alias="same"))
            writing.add_key(key("after the refusal"))

        await store.write(try_twice)
        assert await store.read(lambda reading: reading.count_keys(ALICE, NOW)) == 3

    async def test_a_key_is_replaced_only_as_it_was_seen(self, store: WholeStore) -> None:
        seen = key()
        await put(store, seen)
        written = await store.write(lambda writing: writing.replace_key(seen, seen.switched(on=False)))
        assert written == replace(seen, switched_on=False, revision=seen.revision + 1)
        assert await stored(store, seen) == written
        with pytest.raises(ChangedMeanwhile):
            await store.write(lambda writing: writing.replace_key(seen, replace(seen, description="late")))
        assert await stored(store, seen) == written

    async def test_a_late_replacement_leaves_the_material_alone(self, store: WholeStore) -> None:
        seen = replace(key(), material=material(b"\x01present"))
        await put(store, seen)

        def replace_and_be_late(writing: Writing) -> Key:
            written = writing.replace_key(seen, seen.switched(on=False))
            for late in (seen.without_material(), replace(seen, material=material(b"\x01late"))):
                with pytest.raises(ChangedMeanwhile):
                    writing.replace_key(seen, late)
            return written

        written = await store.write(replace_and_be_late)
        assert await stored(store, seen) == written

    @pytest.mark.parametrize("before", [None, material(), material(b"\x01other", AFTER)])
    @pytest.mark.parametrize("after", [None, material(), material(b"\x01other", AFTER), material(RECORD, AFTER)])
    async def test_material_follows_its_key(
        self, store: WholeStore, before: Material | None, after: Material | None
    ) -> None:
        old = replace(key(), material=before)
        await put(store, old)
        written = await store.write(lambda writing: writing.replace_key(old, replace(old, material=after)))
        assert written.material == after
        assert await stored(store, old) == written


class ListContract:
    async def test_every_filter_of_states_agrees_with_the_core(self, store: WholeStore) -> None:
        keys = [
            replace(
                key(f"key-{number}", created_at=NOW + number),
                switched_on=switched_on,
                archived=archived,
                deletion_due=deletion_due,
                material=held,
            )
            for number, (switched_on, archived, deletion_due, held) in enumerate(
                itertools.product(
                    (True, False),
                    (True, False),
                    (None, BEFORE, NOW, AFTER),
                    (None, material(), material(valid_to=AFTER), material(valid_to=NOW), material(valid_to=BEFORE)),
                )
            )
        ]
        await put(store, *keys)
        shown = [each for each in reversed(keys) if not each.gone(NOW)]
        assert {each.state(NOW) for each in shown} == set(KeyState)
        assert len(shown) == len(keys) // 2
        await expect_listed(store, KeyFilter(ALICE), shown)
        for size in range(len(KeyState) + 1):
            for states in itertools.combinations(KeyState, size):
                expected = [each for each in shown if each.state(NOW) in states]
                await expect_listed(store, KeyFilter(ALICE, states=frozenset(states)), expected)

    async def test_origin_usage_and_account_narrow_the_list(self, store: WholeStore) -> None:
        external, generated = key("external"), replace(key("generated"), origin=Origin.GENERATED)
        foreign = key("foreign", account=BOB)
        await put(store, external, generated, foreign)
        await expect_listed(store, KeyFilter(ALICE, origin=Origin.EXTERNAL), [external])
        await expect_listed(store, KeyFilter(ALICE, origin=Origin.GENERATED), [generated])
        await expect_listed(store, KeyFilter(BOB), [foreign])
        await expect_listed(store, KeyFilter(BOB, usage=KeyUsage.ENCRYPT_DECRYPT), [foreign])

    @pytest.mark.parametrize(
        ("search", "found"),
        [
            ("Prod", ["Prod-db"]),
            ("prod", ["prod_db"]),
            ("_", ["prod_db"]),
            ("%", []),
            ("od-db", ["Prod-db"]),  # "-db" can be in a key id, too
            ("", ["prod_db", "Prod-db", "ärger"]),
            ("är", ["ärger"]),
            ("ÄR", []),
            ("prod_dbx", []),
            ("*", []),
            ("'", []),
            ("\ud800", []),
        ],
    )
    async def test_search_is_a_literal_part_of_the_alias(
        self, store: WholeStore, search: str, found: list[str]
    ) -> None:
        keys = [key(alias, created_at=NOW + at) for at, alias in enumerate(("ärger", "Prod-db", "prod_db"))]
        await put(store, *keys)
        expected = [each for each in reversed(keys) if each.alias in found]
        await expect_listed(store, KeyFilter(ALICE, search=search), expected)

    async def test_search_finds_a_part_of_the_key_id(self, store: WholeStore) -> None:
        one, other = key("one"), key("other")
        await put(store, one, other)
        await expect_listed(store, KeyFilter(ALICE, search=one.key_id[4:30]), [one])
        await expect_listed(store, KeyFilter(ALICE, search=one.key_id[4:30].upper()), [])

    async def test_pages_cut_one_order(self, store: WholeStore) -> None:
        keys = [key(f"key-{number}", created_at=NOW + number // 2) for number in range(7)]
        await put(store, *keys)
        oldest_first = sorted(keys, key=lambda each: (each.created_at, each.key_id))
        for newest_first in (True, False):
            expected = oldest_first[::-1] if newest_first else oldest_first
            wanted = KeyFilter(ALICE, newest_first=newest_first)
            cuts = list(itertools.product(range(9), range(9)))

            def pages(reading: Reading, wanted: KeyFilter = wanted, cuts: Sequence[Cut] = cuts) -> list[KeyPage]:
                return [reading.list_keys(wanted, NOW, offset=offset, limit=limit) for offset, limit in cuts]

            for page, (offset, limit) in zip(await store.read(pages), cuts, strict=True):
                assert page.total == 7
                assert list(page.keys) == expected[offset : offset + limit]


class TicketContract:
    async def test_a_ticket_comes_back_as_it_was_written(self, store: WholeStore) -> None:
        owner = key()
        fresh, used = ticket(owner.key_id), ticket(owner.key_id)
        forever = replace(ticket(owner.key_id), state=TicketState.SPENT, spending=Spending(b"\x00digest", None))
        used = replace(
            used, attempts=4, given_back=2, state=TicketState.SPENT, spending=Spending(b"digest", AFTER), revision=9
        )
        await put(store, owner, pair(), fresh, used, forever)

        digests = [each.token_digest for each in (fresh, used, forever)]
        found = await store.read(lambda reading: [reading.ticket(each) for each in (*digests, b"unknown")])
        assert found == [fresh, used, forever, None]

    async def test_a_ticket_is_replaced_only_as_it_was_seen(self, store: WholeStore) -> None:
        owner = key()
        seen = ticket(owner.key_id)
        await put(store, owner, pair(), seen)

        def attempt_twice(writing: Writing) -> Ticket:
            written = writing.replace_ticket(seen, seen.attempted(NOW))
            with pytest.raises(ChangedMeanwhile):
                writing.replace_ticket(seen, seen.attempted(NOW))
            return written

        written = await store.write(attempt_twice)
        assert written == replace(seen, attempts=1, revision=1)
        then = written.spent(Spending(b"digest", AFTER))
        spent = await store.write(lambda writing: writing.replace_ticket(written, then))
        assert await store.read(lambda reading: reading.ticket(seen.token_digest)) == spent

    async def test_live_tickets_come_oldest_first(self, store: WholeStore) -> None:
        owner, other = key("owner"), key("other")
        late, early = ticket(owner.key_id, issued_at=NOW), ticket(owner.key_id, issued_at=BEFORE)
        over = [replace(ticket(owner.key_id), state=each) for each in TicketState if each is not TicketState.ISSUED]
        await put(store, owner, other, pair(), late, early, ticket(other.key_id), *over)
        assert await store.read(lambda reading: reading.live_tickets(owner.key_id)) == [early, late]

    async def test_overdue_is_what_the_core_calls_over(self, store: WholeStore) -> None:
        owner = key()
        tickets = [
            replace(ticket(owner.key_id, deadline=deadline), attempts=attempts, state=state, given_back=number % 3)
            for number, (deadline, attempts, state) in enumerate(
                itertools.product((BEFORE, NOW, AFTER), (0, 9, 10, 11), TicketState)
            )
        ]
        await put(store, owner, pair(), *tickets)
        expected = {each.ticket_id for each in tickets if each.settled(NOW) != each}
        found = await store.overdue_tickets(NOW, 1000)
        assert {each.ticket_id for each in found} == expected
        assert all(each.end(NOW) in {TicketEnd.EXPIRED, TicketEnd.EXHAUSTED} for each in found)
        assert len(await store.overdue_tickets(NOW, 2)) == 2

    async def test_parallel_attempts_are_all_counted(self, store: WholeStore) -> None:
        owner = key()
        issued = replace(ticket(owner.key_id), most_attempts=1000)
        await put(store, owner, pair(), issued)

        async def attempt() -> int:
            for tries in itertools.count():
                seen = await store.read(lambda reading: reading.ticket(issued.token_digest))
                assert seen is not None
                try:
                    await store.write(attempting(seen))
                except ChangedMeanwhile:
                    continue
                return tries
            raise AssertionError

        conflicts = sum(await asyncio.gather(*(attempt() for _ in range(64))))
        counted = await store.read(lambda reading: reading.ticket(issued.token_digest))
        assert counted == replace(issued, attempts=64, revision=64)
        assert conflicts > 0  # or nothing was raced here

    async def test_no_more_attempts_than_allowed_win_a_race(self, store: WholeStore) -> None:
        owner = key()
        issued = ticket(owner.key_id)
        await put(store, owner, pair(), issued)

        async def attempt() -> bool:
            try:
                await store.write(count_one)
            except ImportTokenOver:
                return False
            return True

        def count_one(writing: Writing) -> None:
            seen = writing.ticket(issued.token_digest)
            assert seen is not None
            writing.replace_ticket(seen, seen.attempted(NOW))

        assert sum(await asyncio.gather(*(attempt() for _ in range(32)))) == issued.most_attempts


class PairContract:
    async def test_a_pair_comes_back_as_it_was_written(self, store: WholeStore) -> None:
        fresh = pair("fresh")
        used = replace(pair("used"), tickets=3, live=2, failures=7, closed=True, record=None, revision=4)
        await put(store, fresh, used)
        assert await store.read(lambda reading: reading.pair(fresh.pair_id)) == fresh
        assert await store.read(lambda reading: reading.pair(used.pair_id)) == used
        assert await store.read(lambda reading: reading.pair(PairId("absent"))) is None

    async def test_a_pair_is_replaced_only_as_it_was_seen(self, store: WholeStore) -> None:
        seen = pair()
        await put(store, seen)

        def take_and_be_late(writing: Writing) -> Pair:
            written = writing.replace_pair(seen, seen.taken(most_tickets=2).attempted())
            with pytest.raises(ChangedMeanwhile):
                writing.replace_pair(seen, seen.shut())
            return written

        written = await store.write(take_and_be_late)
        assert written == replace(seen, tickets=1, live=1, failures=1, revision=1)
        ended = await store.write(lambda writing: writing.replace_pair(written, written.shut().left()))
        assert ended.record is None
        assert await store.read(lambda reading: reading.pair(seen.pair_id)) == ended

    async def test_an_open_pair_is_found_by_account_algorithm_and_age(self, store: WholeStore) -> None:
        pairs = (
            pair("old", opened_at=BEFORE),
            pair("at the limit", opened_at=NOW),
            replace(pair("closed", opened_at=AFTER), closed=True),
            pair("foreign", account=BOB, opened_at=AFTER),
            replace(pair("other", opened_at=AFTER), algorithm=WrappingAlgorithm.RSAES_OAEP_SHA_1),
            pair("young", opened_at=AFTER + 1),
            pair("right", opened_at=AFTER),
        )
        await put(store, *pairs)
        assert await store.read(lambda reading: reading.open_pair(ALICE, OAEP, NOW)) == pairs[-1]
        assert await store.read(lambda reading: reading.open_pair(BOB, WrappingAlgorithm.RSAES_OAEP_SHA_1, NOW)) is None

    async def test_idle_pairs_have_a_private_half_to_lose_and_no_live_ticket(self, store: WholeStore) -> None:
        owner = key()
        pairs: list[Pair] = []
        tickets: list[Ticket] = []
        idle = set()
        for closed, opened_at, record, states in itertools.product(
            (True, False),
            (BEFORE, NOW),
            (b"\x01private", None),
            ((), (TicketState.ISSUED,), (TicketState.SPENT,), (TicketState.LAPSED, TicketState.ISSUED)),
        ):
            each = replace(
                pair(f"p{len(pairs)}", opened_at=opened_at),
                closed=closed,
                record=record,
                tickets=len(states),
                live=states.count(TicketState.ISSUED),
            )
            pairs.append(each)
            tickets += [replace(ticket(owner.key_id, pair_id=each.pair_id), state=state) for state in states]
            if record and (closed or opened_at < NOW) and TicketState.ISSUED not in states:
                idle.add(each.pair_id)
        await put(store, owner, *pairs, *tickets)
        found = await store.idle_pairs(NOW, 1000)
        assert {each.pair_id for each in found} == idle
        assert all(each in pairs for each in found)
        assert len(await store.idle_pairs(NOW, 2)) == 2


class AccountContract:
    async def test_an_account_is_made_once(self, store: WholeStore) -> None:
        names = (ALICE, BOB, ALICE)
        alice, bob, again = await store.write(lambda writing: [writing.ensure_account(name) for name in names])
        assert again == alice
        assert alice.number != bob.number
        assert (alice.name, bob.name) == (ALICE, BOB)
        assert await store.read(lambda reading: reading.account(ALICE)) == alice
        assert await store.read(lambda reading: reading.account(AccountName("nobody"))) is None

    async def test_a_credential_comes_back_as_it_was_written(self, store: WholeStore) -> None:
        alice = await account_of(store, ALICE)
        full = Credential(AccessId("ak-1"), alice, frozenset(Role), NOW, record=RECORD)
        bare = Credential(AccessId("ak-2"), alice, frozenset(), NOW, record=b"other", switched_on=False)
        shown = Credential(AccessId("ak-3"), alice, frozenset(Role), NOW, token_digest=DIGEST)
        await put(store, full, bare, shown)
        asked = [AccessId(f"ak-{number}") for number in (1, 2, 3, 4)]
        found = await store.read(lambda reading: [reading.credential(each) for each in asked])
        assert found == [full, bare, shown, None]

    async def test_a_credential_is_found_by_its_auth_token_and_by_no_other(self, store: WholeStore) -> None:
        other = bytes(len(DIGEST))
        alice, bob = [await account_of(store, name) for name in (ALICE, BOB)]
        signer = Credential(AccessId("ak-1"), alice, frozenset(Role), NOW, record=RECORD)
        on = Credential(AccessId("ak-2"), alice, frozenset(Role), NOW, token_digest=DIGEST)
        off = Credential(AccessId("ak-3"), bob, frozenset(), NOW, token_digest=other, switched_on=False)
        await put(store, signer, on, off)
        asked = (DIGEST, other, b"", DIGEST[:-1], DIGEST + b"\x00", RECORD)
        found = await store.read(lambda reading: [reading.credential_of_token(each) for each in asked])
        assert found == [on, off, None, None, None, None]

    async def test_no_two_credentials_have_one_auth_token(self, store: WholeStore) -> None:
        first = Credential(AccessId("ak-1"), await account_of(store, ALICE), frozenset(), NOW, token_digest=DIGEST)
        await put(store, first)
        with pytest.raises(HsmkmsError):
            await put(store, replace(first, access_id=AccessId("ak-2")))
        assert await store.read(lambda reading: reading.credential_of_token(DIGEST)) == first
        assert await store.read(lambda reading: reading.credential(AccessId("ak-2"))) is None

    async def test_expired_keys_are_those_whose_material_the_core_calls_unusable(self, store: WholeStore) -> None:
        keys = [
            replace(key(f"key-{number}", account=account), material=held)
            for number, (account, held) in enumerate(
                itertools.product(
                    (ALICE, BOB),
                    (None, material(), material(valid_to=BEFORE), material(valid_to=NOW), material(valid_to=AFTER)),
                )
            )
        ]
        await put(store, *keys)
        expected = [each for each in keys if each.material is not None and not each.material.usable(NOW)]
        found = await store.expired_keys(NOW, 1000)
        assert len(expected) == len(found) == 4
        assert all(each in expected for each in found)
        assert len(await store.expired_keys(NOW, 1)) == 1


class EventContract:
    async def test_events_come_back_chained_in_their_order(self, store: WholeStore) -> None:
        events = [
            event("r-1", text="x", number=7, yes=True, nothing=None),
            replace(event("r-2"), account=None, key_id=None, request_id=None),
            event("r-3", surrogate="\ud800", zero=0, no=False),
        ]

        def append_two(writing: Writing) -> None:
            writing.append(events[0])
            writing.append(events[1])

        await store.write(append_two)
        await store.write(lambda writing: writing.append(events[2]))
        trail = await store.trail().events(0, 100)
        assert [each.event for each in trail] == events
        assert [type(value) for value in trail[0].event.detail.values()] != [int] * 4
        digest = b""
        for each in trail:
            digest = link(digest, each.event)
            assert each.digest == digest
        assert await store.trail().events(trail[0].sequence, 1) == [trail[1]]
        assert await store.trail().events(trail[-1].sequence, 100) == []

    async def test_an_event_that_was_rolled_back_leaves_the_chain_whole(self, store: WholeStore) -> None:
        await store.write(lambda writing: writing.append(event("kept")))

        def append_in_vain(writing: Writing) -> None:
            writing.append(event("lost"))
            raise Halt

        with pytest.raises(Halt):
            await store.write(append_in_vain)
        await store.write(lambda writing: writing.append(event("next")))
        first, second = await store.trail().events(0, 100)
        assert second.event.request_id == "next"
        assert second.digest == link(first.digest, second.event)


class TransactionContract:
    async def test_an_exception_undoes_everything(self, store: WholeStore) -> None:
        old = replace(key(), material=material())
        await put(store, old)

        def change_much_in_vain(writing: Writing) -> None:
            writing.replace_key(old, old.without_material())
            writing.add_key(key("never"))
            writing.append(event())
            raise Halt

        with pytest.raises(Halt):
            await store.write(change_much_in_vain)
        assert await stored(store, old) == old
        assert await store.read(lambda reading: reading.count_keys(ALICE, NOW)) == 1
        assert await store.trail().events(0, 10) == []

    async def test_a_view_does_not_change_while_it_is_open(self, store: WholeStore, other: WholeStore) -> None:
        await put(store, key("first"))
        opened, changed = threading.Event(), threading.Event()

        def count_twice(reading: Reading) -> tuple[int, int]:
            before = reading.count_keys(ALICE, NOW)
            opened.set()
            assert changed.wait(SECONDS)
            return before, reading.count_keys(ALICE, NOW)

        question = asyncio.create_task(store.read(count_twice))
        assert await asyncio.to_thread(opened.wait, SECONDS)
        await put(other, key("second"))
        changed.set()
        assert await question == (1, 1)
        assert await store.read(lambda reading: reading.count_keys(ALICE, NOW)) == 2

    async def test_what_is_half_done_is_seen_by_its_writer_only(self, store: WholeStore, other: WholeStore) -> None:
        await put(store)
        done = asyncio.Event()

        def add_two(writing: Writing) -> tuple[int, int]:
            writing.add_key(key(str(uuid.uuid4())))
            half = writing.count_keys(ALICE, NOW)
            writing.add_key(key(str(uuid.uuid4())))
            return half, writing.count_keys(ALICE, NOW)

        async def watch(each: WholeStore) -> set[int]:
            seen = {await each.read(lambda reading: reading.count_keys(ALICE, NOW))}
            while not done.is_set():
                seen.add(await each.read(lambda reading: reading.count_keys(ALICE, NOW)))
            return seen

        watching = [asyncio.create_task(watch(each)) for each in (store, other)]
        counted = await asyncio.gather(*(each.write(add_two) for _ in range(10) for each in (store, other)))
        done.set()
        assert {(half % 2, whole % 2) for half, whole in counted} == {(1, 0)}
        assert all(number % 2 == 0 for each in await asyncio.gather(*watching) for number in each)

    async def test_the_other_handle_sees_what_was_committed(self, store: WholeStore, other: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        assert await stored(other, mine) == mine
        await other.write(lambda writing: writing.replace_key(mine, mine.switched(on=False)))
        assert not (await stored(store, mine)).switched_on

    async def test_cancelled_at_any_moment_a_transaction_is_whole_or_nothing(self, store: WholeStore) -> None:
        await put(store)
        outcomes = set()
        for steps in itertools.count():
            alias = f"key-{steps}"

            def add(writing: Writing, alias: str = alias) -> None:
                writing.add_key(key(alias))
                writing.append(event(alias))

            task = asyncio.create_task(store.write(add))
            for _ in range(steps):
                await asyncio.sleep(0)
                if task.done():
                    break
            unhurt = task.done()
            task.cancel()
            await asyncio.wait((task,))
            page = await store.read(lambda reading: reading.list_keys(KeyFilter(ALICE), NOW, offset=0, limit=1000))
            committed = alias in {each.alias for each in page.keys}
            assert committed == (alias in {each.event.request_id for each in await store.trail().events(0, 10_000)})
            outcomes.add((unhurt, committed))
            if unhurt:
                break
        assert {(False, False), (True, True)} <= outcomes

    async def test_a_cancelled_reader_leaves_the_store_usable(self, store: WholeStore) -> None:
        mine = key()
        await put(store, mine)
        for steps in range(40):
            task = asyncio.create_task(stored(store, mine))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait((task,))
        assert await stored(store, mine) == mine

    async def test_erasing_may_be_repeated(self, store: WholeStore) -> None:
        old = replace(key(), material=material())
        await put(store, old)
        await store.write(lambda writing: writing.replace_key(old, old.without_material()))
        await store.erase_deleted()
        await store.erase_deleted()
        assert (await stored(store, old)).material is None


class DeploymentContract:
    async def test_a_fresh_database_has_no_deployment(self, store: WholeStore) -> None:
        assert await store.deployment() is None

    async def test_the_plan_survives_an_initialisation_that_failed(self, store: WholeStore) -> None:
        planned = plan()
        with pytest.raises(Halt):  # noqa: PT012 - what is tested is leaving the inner block
            async with store.initialising(planned) as initialising:
                assert initialising.deployment == planned
                await initialising.mark_ready(proved(planned), event())
                raise Halt
        assert await store.deployment() == planned
        assert await store.trail().events(0, 10) == []

    async def test_leaving_without_a_mark_changes_nothing(self, store: WholeStore) -> None:
        planned = plan()
        async with store.initialising(planned):
            pass
        assert await store.deployment() == planned

    async def test_a_plan_is_never_ready_nor_proved(self, store: WholeStore) -> None:
        planned = plan()
        async with store.initialising(proved(planned)):
            pass
        assert await store.deployment() == planned

    async def test_marked_ready_it_stays_so_and_a_second_plan_is_ignored(
        self, store: WholeStore, other: WholeStore
    ) -> None:
        planned = plan()
        async with store.initialising(planned) as initialising:
            await initialising.mark_ready(proved(planned), event())
            assert initialising.deployment == proved(planned)
        assert await store.deployment() == proved(planned)
        async with other.initialising(plan()) as initialising:
            assert initialising.deployment == proved(planned)
        assert [each.event for each in await store.trail().events(0, 10)] == [event()]

    async def test_other_objects_than_planned_are_refused(self, store: WholeStore) -> None:
        planned = plan()
        wrong = replace(planned.objects[0], object_id=b"another object")
        others = (
            replace(planned, deployment_id=str(uuid.uuid4())),
            replace(planned, objects=planned.objects[1:]),
            replace(planned, objects=(wrong, *planned.objects[1:])),
            replace(planned, objects=(*planned.objects[1:], planned.objects[1])),
        )
        for each in others:
            with pytest.raises(StoreUnusable):
                async with store.initialising(planned) as initialising:
                    await initialising.mark_ready(proved(each), event())
        assert await store.deployment() == planned

    async def test_of_two_at_once_the_second_finds_what_the_first_left(
        self, store: WholeStore, other: WholeStore
    ) -> None:
        made = []

        async def initialise(each: WholeStore) -> Deployment:
            async with each.initialising(plan()) as initialising:
                if not initialising.deployment.ready:
                    made.append(each)
                    await asyncio.sleep(0)
                    await initialising.mark_ready(proved(initialising.deployment), event())
                return initialising.deployment

        first, second = await asyncio.gather(initialise(store), initialise(other))
        assert first == second
        assert first.ready
        assert len(made) == 1


class StoreContract(
    KeyContract,
    ListContract,
    TicketContract,
    PairContract,
    AccountContract,
    EventContract,
    TransactionContract,
    DeploymentContract,
):
    """The whole suite."""
