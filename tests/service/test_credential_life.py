"""The life of a credential: limited, for a time, switched off and on, replaced by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.credentials import EVERY_KEY, MOST_IN_SCOPE, Credential, Grant, KeyScope, Role
from hsmkms.core.errors import FieldInvalid, StoreUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import AccessId, AccountName, KeyId, later
from hsmkms.service.auth_tokens import IssuedToken
from hsmkms.service.rows import existing_credential
from hsmkms.service.withdrawing import switch_credential

if TYPE_CHECKING:
    from hsmkms.core.events import Event
    from hsmkms.service.credentials import IssuedCredential
    from tests.service.house import House

ACCOUNT: Final = AccountName("acme")
ROLES: Final = frozenset((Role.USER, Role.AUDITOR))
TAGGED: Final = KeyScope(tags=frozenset((("team", "cards"),)))
HOUR: Final = 3_600
CREDENTIAL_EVENTS: Final = (
    EventTag.CREDENTIAL_CREATED,
    EventTag.CREDENTIAL_ENABLED,
    EventTag.CREDENTIAL_DISABLED,
    EventTag.CREDENTIAL_ROTATED,
)


@dataclass(frozen=True)
class Kind:
    """Credentials of one kind, and how the service knows one."""

    house: House
    shows_a_token: bool

    async def create(self, grant: Grant) -> IssuedCredential | IssuedToken:
        makers = self.house.auth_tokens if self.shows_a_token else self.house.credentials
        return await makers.create(grant)

    async def rotate(self, access_id: AccessId, overlap_seconds: int) -> IssuedCredential | IssuedToken:
        makers = self.house.auth_tokens if self.shows_a_token else self.house.credentials
        return await makers.rotate(await self.row(access_id), overlap_seconds)

    async def scope(self, issued: IssuedCredential | IssuedToken) -> KeyScope | None:
        """Return the keys that a credential is for, or None if it proves nothing; its roles are as they should be."""
        known = (
            await self.house.service.holder_of(issued.token)
            if isinstance(issued, IssuedToken)
            else await self.house.service.secret_of(issued.access_id)
        )
        assert known is None or (known.roles, known.account) == (ROLES, self.house.caller.account)
        return None if known is None else known.scope

    async def row(self, access_id: AccessId) -> Credential:
        return await self.house.sql.read(lambda reading: existing_credential(reading, access_id))

    async def turn(self, access_id: AccessId, *, on: bool) -> bool:
        return await switch_credential(self.house.store, self.house.clock, access_id, on=on)

    async def events(self) -> list[Event]:
        return await self.house.events(*CREDENTIAL_EVENTS)


@pytest.fixture(params=["secret key", "auth token"])
def kind(request: pytest.FixtureRequest, house: House) -> Kind:
    return Kind(house, shows_a_token=request.param == "auth token")


# --- for some keys ----------------------------------------------------------------------------------------------


async def test_it_is_known_with_its_limits_and_they_are_in_the_audit_trail(kind: Kind) -> None:
    key_id = await kind.house.key()
    scope = KeyScope(frozenset((key_id,)), TAGGED.tags)
    issued = await kind.create(Grant(ACCOUNT, ROLES, scope, HOUR))
    assert await kind.scope(issued) == scope
    [event] = await kind.events()
    assert event.detail == {
        "access_id": issued.access_id,
        "roles": "auditor,user",
        "auth_token": kind.shows_a_token,
        "scope": f'{{"keys":["{key_id}"],"tags":[["team","cards"]]}}',
        "valid_to": later(kind.house.clock.now(), seconds=HOUR),
    }


async def test_a_key_that_the_account_does_not_have_is_no_limit(kind: Kind) -> None:
    house = kind.house
    foreign = await house.key(caller=house.stranger)
    for key_id in (foreign, KeyId("0d0466b0-e727-4d9c-b35d-f84bb474a37f")):
        with pytest.raises(FieldInvalid, match=f"no key {key_id}"):
            await kind.create(Grant(ACCOUNT, ROLES, KeyScope(frozenset((key_id,)))))
    many = frozenset(("team", str(number)) for number in range(MOST_IN_SCOPE + 1))
    with pytest.raises(FieldInvalid, match="at most 100"):
        await kind.create(Grant(ACCOUNT, ROLES, KeyScope(tags=many)))
    assert await house.sql.credentials() == []
    assert await kind.events() == []


# --- for a time -------------------------------------------------------------------------------------------------


async def test_from_its_end_on_it_proves_nothing_however_lately_it_was_looked_up(kind: Kind) -> None:
    clock = kind.house.clock
    issued = await kind.create(Grant(ACCOUNT, ROLES, valid_seconds=HOUR))
    assert issued.valid_to == later(clock.now(), seconds=HOUR)
    clock.set(later(issued.valid_to, seconds=-1))
    assert await kind.scope(issued) == EVERY_KEY
    clock.set(issued.valid_to)
    assert await kind.scope(issued) is None
    clock.advance(HOUR)
    assert await kind.scope(issued) is None


async def test_an_opened_secret_is_dropped_at_the_end(house: House) -> None:
    issued = await house.credentials.create(Grant(ACCOUNT, ROLES, valid_seconds=60))
    await house.credentials.open(issued.access_id)
    house.clock.advance(60)
    await house.sweeper.sweep()
    assert len(house.credentials._kept) == 0


async def test_one_that_ends_while_the_token_opens_it_is_not_let_in(house: House) -> None:
    issued = await house.credentials.create(Grant(ACCOUNT, ROLES, valid_seconds=60))
    opens = house.hsm.open_secret

    async def slowly(*arguments: object) -> object:
        house.clock.advance(60)
        return await opens(*arguments)  # type: ignore[arg-type]

    house.hsm.open_secret = slowly  # type: ignore[assignment, method-assign]
    assert await house.credentials.open(issued.access_id) is None


# --- off and on -------------------------------------------------------------------------------------------------


async def test_one_that_is_disabled_proves_nothing_until_it_is_enabled(kind: Kind) -> None:
    issued = await kind.create(Grant(ACCOUNT, ROLES, TAGGED))
    other = await kind.create(Grant(ACCOUNT, ROLES))
    assert await kind.scope(issued) == TAGGED
    for on, tag in ((False, EventTag.CREDENTIAL_DISABLED), (True, EventTag.CREDENTIAL_ENABLED)):
        assert await kind.turn(issued.access_id, on=on)
        kind.house.clock.advance(5)
        assert await kind.scope(issued) == (TAGGED if on else None)
        assert await kind.scope(other) == EVERY_KEY
        event = (await kind.events())[-1]
        assert (event.tag, event.account, event.actor) == (tag, ACCOUNT, "operator")
        assert event.detail == {"access_id": issued.access_id}
        events = len(await kind.events())
        assert not await kind.turn(issued.access_id, on=on), "it already is"
        assert len(await kind.events()) == events


async def test_one_that_has_ended_cannot_be_enabled_and_that_is_said(kind: Kind) -> None:
    issued = await kind.create(Grant(ACCOUNT, ROLES, valid_seconds=60))
    kind.house.clock.advance(60)
    for _ in range(2):
        with pytest.raises(FieldInvalid, match="has ended"):
            await kind.turn(issued.access_id, on=True)
        await kind.turn(issued.access_id, on=False)
    assert (await kind.row(issued.access_id)).switched_on is False


async def test_one_that_there_is_not_is_said_to_be_none(kind: Kind) -> None:
    for on in (False, True):
        with pytest.raises(FieldInvalid, match="no such credential"):
            await kind.turn(AccessId("AKIDunknown"), on=on)


@pytest.mark.parametrize("step", ["disable", "rotate"])
async def test_nothing_happens_if_its_event_cannot_be_written(kind: Kind, step: str) -> None:
    issued = await kind.create(Grant(ACCOUNT, ROLES))
    before = await kind.house.sql.credentials()
    kind.house.store.break_append = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await (kind.turn(issued.access_id, on=False) if step == "disable" else kind.rotate(issued.access_id, HOUR))
    assert await kind.house.sql.credentials() == before


# --- one in the place of another --------------------------------------------------------------------------------


async def test_the_new_one_may_do_the_same_and_the_old_one_ends_after_the_overlap(kind: Kind) -> None:
    clock = kind.house.clock
    old = await kind.create(Grant(ACCOUNT, ROLES, TAGGED))
    clock.advance(HOUR)
    new = await kind.rotate(old.access_id, HOUR)
    end = later(clock.now(), seconds=HOUR)
    assert new.access_id != old.access_id
    assert (new.account, new.valid_to) == (ACCOUNT, None)
    assert await kind.scope(new) == await kind.scope(old) == TAGGED
    before, after = await kind.row(old.access_id), await kind.row(new.access_id)
    assert (before.valid_to, after.created_at) == (end, clock.now())
    assert (before.replaced_by, after.replaced_by) == (new.access_id, None)
    assert (before.record is None) is (after.record is None) is kind.shows_a_token
    assert (before.record, before.token_digest) != (after.record, after.token_digest)
    created, rotated = (await kind.events())[1:]
    assert (created.tag, created.detail["access_id"]) == (EventTag.CREDENTIAL_CREATED, new.access_id)
    assert rotated.tag is EventTag.CREDENTIAL_ROTATED
    assert rotated.detail == {"access_id": old.access_id, "successor": new.access_id, "valid_to": end}
    clock.set(end)
    assert (await kind.scope(old), await kind.scope(new)) == (None, TAGGED)


async def test_without_an_overlap_the_old_one_stops_within_five_seconds(kind: Kind) -> None:
    old = await kind.create(Grant(ACCOUNT, ROLES))
    assert await kind.scope(old) == EVERY_KEY
    new = await kind.rotate(old.access_id, 0)
    assert await kind.scope(new) == EVERY_KEY
    kind.house.clock.advance(5)
    assert await kind.scope(old) is None


async def test_an_end_is_never_put_off_and_the_new_one_lasts_as_long_as_the_old_one_did(kind: Kind) -> None:
    clock = kind.house.clock
    old = await kind.create(Grant(ACCOUNT, ROLES, valid_seconds=10 * HOUR))
    clock.advance(9 * HOUR)
    new = await kind.rotate(old.access_id, 24 * HOUR)
    assert new.valid_to == later(clock.now(), seconds=10 * HOUR)
    assert (await kind.row(old.access_id)).valid_to == old.valid_to


@pytest.mark.parametrize("how", ["good", "disabled", "ended"])
async def test_what_was_replaced_is_not_replaced_again_and_its_successor_lasts(kind: Kind, how: str) -> None:
    clock = kind.house.clock
    old = await kind.create(Grant(ACCOUNT, ROLES))
    new = await kind.rotate(old.access_id, HOUR)
    if how == "disabled":
        await kind.turn(old.access_id, on=False)
    clock.advance(HOUR if how == "ended" else 1)
    before = await kind.house.sql.credentials()
    with pytest.raises(FieldInvalid, match=f"was replaced by {new.access_id}; rotate that one, with --overlap-hours 0"):
        await kind.rotate(old.access_id, HOUR)
    assert await kind.house.sql.credentials() == before
    newest = await kind.rotate(new.access_id, 0)
    assert newest.valid_to is None
    clock.advance(5)
    assert (await kind.scope(new), await kind.scope(newest)) == (None, EVERY_KEY)


async def test_what_was_replaced_is_disabled_and_enabled_during_the_overlap(kind: Kind) -> None:
    old = await kind.create(Grant(ACCOUNT, ROLES))
    new = await kind.rotate(old.access_id, HOUR)
    for on in (False, True):
        assert await kind.turn(old.access_id, on=on)
        kind.house.clock.advance(5)
        assert await kind.scope(old) == (EVERY_KEY if on else None)
        assert (await kind.row(old.access_id)).replaced_by == new.access_id


@pytest.mark.parametrize(("how", "says"), [("ended", "has ended"), ("disabled", "is disabled")])
async def test_what_proves_nothing_is_not_replaced(kind: Kind, how: str, says: str) -> None:
    old = await kind.create(Grant(ACCOUNT, ROLES, valid_seconds=60))
    if how == "ended":
        kind.house.clock.advance(60)
    else:
        await kind.turn(old.access_id, on=False)
    before = await kind.house.sql.credentials()
    with pytest.raises(FieldInvalid, match=says):
        await kind.rotate(old.access_id, HOUR)
    assert await kind.house.sql.credentials() == before


async def test_neither_listing_nor_printing_shows_a_secret_or_a_digest(kind: Kind) -> None:
    old = await kind.create(Grant(ACCOUNT, ROLES))
    new = await kind.rotate(old.access_id, HOUR)
    rows = await kind.house.sql.credentials()
    shown = repr(rows) + repr(await kind.house.events()) + repr((old, new))
    for issued in (old, new):
        secret = issued.token if isinstance(issued, IssuedToken) else issued.secret
        assert secret.reveal().decode() not in shown
    for row in rows:
        for proof in (row.record, row.token_digest):
            assert proof is None or (proof.hex() not in shown and repr(proof) not in shown)
