"""Credentials: made once, opened by the token, kept for a while, stopped when switched off."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

import pytest

from hsmkms.core import records
from hsmkms.core.credentials import Credential, Grant, Role
from hsmkms.core.errors import RecordBroken, ServiceOverloaded, StoreUnavailable, TokenUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import AccessId, AccountName
from hsmkms.core.material import Edition
from hsmkms.core.secrets import SecretKey
from hsmkms.service.credentials import SECRET_KEPT_SECONDS
from tests.service.house import out_of_reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hsmkms.core.ports import Reading
    from hsmkms.service.credentials import IssuedCredential
    from hsmkms.store.database import SqlStore
    from tests.service.house import House

Result = TypeVar("Result")

ACCOUNT = AccountName("acme")
ROLES = frozenset((Role.ADMIN, Role.IMPORTER))


@pytest.fixture
async def issued(house: House) -> IssuedCredential:
    return await house.credentials.create(Grant(ACCOUNT, ROLES))


async def test_a_credential_opens_with_its_account_roles_and_secret(house: House, issued: IssuedCredential) -> None:
    opened = await house.service.secret_of(issued.access_id)
    assert opened is not None
    assert (opened.account, opened.roles, opened.secret) == (house.caller.account, ROLES, issued.secret)


async def test_many_who_ask_at_once_cost_one_call_of_the_token(house: House, issued: IssuedCredential) -> None:
    opened = await asyncio.gather(*(house.credentials.open(issued.access_id) for _ in range(60)))
    assert all(each is not None and each.secret == issued.secret for each in opened)
    assert house.hsm.secrets_opened == 1


async def test_access_ids_and_secrets_are_random_and_long_enough(house: House) -> None:
    made = [await house.credentials.create(Grant(ACCOUNT, ROLES)) for _ in range(5)]
    assert len({each.access_id for each in made}) == len({each.secret for each in made}) == 5
    for each in made:
        assert each.access_id.startswith("AKID")
        assert len(each.access_id) == 36
        assert len(each.secret) == 43
        assert each.secret.reveal().isalnum()


async def test_a_credential_may_bring_a_new_account(house: House) -> None:
    made = await house.credentials.create(Grant(AccountName("newcomer"), ROLES))
    opened = await house.credentials.open(made.access_id)
    assert opened is not None
    assert opened.account.name == "newcomer"
    assert opened.account.number not in {house.caller.account.number, house.stranger.account.number}


async def test_neither_database_nor_audit_trail_nor_printing_shows_the_secret(
    house: House, issued: IssuedCredential
) -> None:
    opened = await house.credentials.open(issued.access_id)
    secret = issued.secret.reveal().decode()
    assert secret not in repr(issued) + repr(opened) + repr(await house.events())
    [event] = await house.events(EventTag.CREDENTIAL_CREATED)
    assert event.detail == {"access_id": issued.access_id, "roles": "admin,importer", "auth_token": False}


async def test_an_unknown_access_id_opens_nothing_and_never_asks_the_token(house: House) -> None:
    assert await house.credentials.open(AccessId("AKIDunknown")) is None
    assert house.hsm.secrets_opened == 0


async def test_a_secret_is_opened_anew_after_four_minutes(house: House, issued: IssuedCredential) -> None:
    for _ in range(240):
        assert await house.credentials.open(issued.access_id) is not None
        house.clock.advance(1)
    assert house.hsm.secrets_opened == 1
    assert await house.credentials.open(issued.access_id) is not None
    assert house.hsm.secrets_opened == 2


async def test_a_pass_every_minute_forgets_a_secret_within_five_minutes(house: House, issued: IssuedCredential) -> None:
    await house.credentials.open(issued.access_id)
    house.clock.advance(239)
    await house.sweeper.sweep()
    assert len(house.credentials._kept) == 1
    house.clock.advance(60)
    await house.sweeper.sweep()
    assert len(house.credentials._kept) == 0
    assert 239 + 60 <= SECRET_KEPT_SECONDS == 300


def switch_off(path: Path, access_id: AccessId) -> None:
    """Switch a credential off behind the service's back, as another process does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        changed = connection.execute("UPDATE credentials SET switched_on = 0 WHERE access_id = ?", (access_id,))
        assert changed.rowcount == 1


async def test_one_switched_off_stops_within_five_seconds(
    house: House, issued: IssuedCredential, tmp_path: Path
) -> None:
    assert await house.credentials.open(issued.access_id) is not None
    switch_off(tmp_path / "hsmkms.db", issued.access_id)
    house.clock.advance(5)
    assert await house.credentials.open(issued.access_id) is None
    assert len(house.credentials._kept) == 0


async def test_one_switched_off_stops_at_once_when_the_clock_was_set_back(
    house: House, issued: IssuedCredential, tmp_path: Path
) -> None:
    await house.credentials.open(issued.access_id)
    house.clock.advance(200)
    await house.credentials.open(issued.access_id)
    switch_off(tmp_path / "hsmkms.db", issued.access_id)
    house.clock.advance(-100)
    assert await house.credentials.open(issued.access_id) is None


async def test_who_joins_a_check_that_the_token_holds_up_is_not_let_in_by_what_was_read_long_before(
    house: House, issued: IssuedCredential, tmp_path: Path
) -> None:
    opens = house.hsm.open_secret
    at_the_token, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: object) -> object:
        at_the_token.set()
        await go_on.wait()
        return await opens(*arguments)  # type: ignore[arg-type]

    house.hsm.open_secret = slowly  # type: ignore[assignment, method-assign]
    early = asyncio.create_task(house.credentials.open(issued.access_id))
    async with asyncio.timeout(30):
        await at_the_token.wait()
        switch_off(tmp_path / "hsmkms.db", issued.access_id)
        house.clock.advance(8)
        late = asyncio.create_task(house.credentials.open(issued.access_id))
        await asyncio.sleep(0)
        go_on.set()
        assert await late is None
        assert await early is None
    assert house.hsm.secrets_opened == 1


async def test_a_slow_token_is_asked_once_and_what_it_opened_is_checked_again(
    house: House, issued: IssuedCredential
) -> None:
    opens = house.hsm.open_secret

    async def slowly(*arguments: object) -> object:
        house.clock.advance(8)
        return await opens(*arguments)  # type: ignore[arg-type]

    house.hsm.open_secret = slowly  # type: ignore[assignment, method-assign]
    opened = await asyncio.gather(*(house.credentials.open(issued.access_id) for _ in range(10)))
    assert all(each is not None for each in opened)
    assert house.hsm.secrets_opened == 1


async def test_a_database_that_takes_longer_than_its_word_is_trusted_lets_nobody_in(
    house: House, issued: IssuedCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = house.store.read

    async def slowly(question: Callable[[Reading], Result]) -> Result:
        found = await read(question)
        house.clock.advance(5)
        return found

    monkeypatch.setattr(house.store, "read", slowly)
    with pytest.raises(ServiceOverloaded):
        await house.credentials.open(issued.access_id)
    monkeypatch.undo()
    assert await house.credentials.open(issued.access_id) is not None


async def test_one_made_by_another_process_holds_at_once(
    house: House, opened: Callable[[], Awaitable[SqlStore]]
) -> None:
    access_id = AccessId("AKIDmadeelsewhere")
    assert await house.credentials.open(access_id) is None
    identity = records.of_credential(ACCOUNT, access_id, Edition.FIPS)
    record = await house.hsm.protect_secret(identity, SecretKey(b"elsewhere"))
    made = Credential(access_id, house.caller.account, ROLES, house.clock.now(), record=record)
    await (await opened()).write(lambda writing: writing.add_credential(made))
    found = await house.credentials.open(access_id)
    assert found is not None
    assert found.secret.reveal() == b"elsewhere"


async def test_a_record_of_another_access_id_does_not_open(house: House, issued: IssuedCredential) -> None:
    credential = await house.sql.read(lambda reading: reading.credential(issued.access_id))
    assert credential is not None
    stolen = AccessId("AKIDthief")
    forged = Credential(stolen, house.stranger.account, ROLES, house.clock.now(), record=credential.record)
    await house.sql.write(lambda writing: writing.add_credential(forged))
    with pytest.raises(RecordBroken):
        await house.credentials.open(stolen)


async def test_while_the_token_is_away_what_was_opened_still_works_and_the_rest_is_unavailable(
    house: House, issued: IssuedCredential
) -> None:
    other = await house.credentials.create(Grant(ACCOUNT, ROLES))
    await house.credentials.open(issued.access_id)
    house.hsm.sick = True
    house.clock.advance(10)
    assert await house.credentials.open(issued.access_id) is not None
    with pytest.raises(TokenUnavailable):
        await house.credentials.open(other.access_id)


async def test_no_credential_exists_if_its_event_cannot_be_written(house: House) -> None:
    house.store.break_append = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await house.credentials.create(Grant(AccountName("newcomer"), ROLES))
    assert await house.sql.read(lambda reading: reading.account(AccountName("newcomer"))) is None


async def test_a_bounded_number_of_secrets_is_kept(
    house: House, issued: IssuedCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsmkms.service.credentials.MOST_KEPT", 2)
    others = [await house.credentials.create(Grant(ACCOUNT, ROLES)) for _ in range(3)]
    for each in (issued, *others):
        await house.credentials.open(each.access_id)
    assert set(house.credentials._kept) == {each.access_id for each in others[1:]}


async def test_at_one_instant_neither_token_nor_database_is_asked_twice(house: House, issued: IssuedCredential) -> None:
    await house.credentials.open(issued.access_id)
    house.store.read = out_of_reach
    assert await house.credentials.open(issued.access_id) is not None
    house.clock.advance(4)
    assert await house.credentials.open(issued.access_id) is not None
    assert house.hsm.secrets_opened == 1
    house.clock.advance(1)
    with pytest.raises(StoreUnavailable):
        await house.credentials.open(issued.access_id)
