"""Credentials that show an auth token: shown once, known by its SHA-256, stopped at once when switched off."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.credentials import Grant, Role
from hsmkms.core.errors import StoreUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import AccountName
from hsmkms.core.secrets import AuthToken
from hsmkms.service.commands import TokenHolder
from tests.service.house import out_of_reach

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.service.auth_tokens import IssuedToken
    from tests.service.house import House

ACCOUNT = AccountName("acme")
ROLES = frozenset((Role.ADMIN, Role.IMPORTER))


@pytest.fixture
async def issued(house: House) -> IssuedToken:
    return await house.auth_tokens.create(Grant(ACCOUNT, ROLES))


async def test_its_holder_is_found_by_the_token(house: House, issued: IssuedToken) -> None:
    await house.auth_tokens.create(Grant(AccountName("stranger"), frozenset(Role)))
    holder = await house.service.holder_of(issued.token)
    assert holder == TokenHolder(issued.access_id, house.caller.account, ROLES)


async def test_neither_making_nor_showing_one_asks_the_token_device(house: House) -> None:
    house.hsm.sick = True
    made = await house.auth_tokens.create(Grant(ACCOUNT, ROLES))
    assert await house.service.holder_of(made.token) is not None


@pytest.mark.parametrize("change", ["first", "last", "longer", "shorter", "upper", "digest", "access id", "empty"])
async def test_whatever_is_not_exactly_the_token_is_nobodys(house: House, issued: IssuedToken, change: str) -> None:
    token = issued.token.reveal()
    other = {
        "first": bytes((token[0] ^ 1,)) + token[1:],
        "last": token[:-1] + bytes((token[-1] ^ 1,)),
        "longer": token + b"A",
        "shorter": token[:-1],
        "upper": token.swapcase(),
        "digest": issued.token.digest(),
        "access id": issued.access_id.encode(),
        "empty": b"",
    }[change]
    assert await house.service.holder_of(AuthToken(other)) is None


@pytest.mark.parametrize("token", [b"", b"A" * 42, b"A" * 44, b"A" * 42 + b"-", b"A" * 42 + b"\n", b"A" * 43 + b"\n"])
async def test_what_has_not_the_form_of_one_costs_the_database_nothing(house: House, token: bytes) -> None:
    house.store.read = out_of_reach
    assert await house.service.holder_of(AuthToken(token)) is None
    with pytest.raises(StoreUnavailable):
        await house.service.holder_of(AuthToken(b"A" * 43))


async def test_tokens_are_random_and_long_enough(house: House) -> None:
    made = [await house.auth_tokens.create(Grant(ACCOUNT, ROLES)) for _ in range(5)]
    assert len({each.access_id for each in made}) == len({each.token for each in made}) == 5
    for each in made:
        assert len(each.token) == 43
        assert each.token.reveal().isalnum()


async def test_one_may_bring_a_new_account(house: House) -> None:
    made = await house.auth_tokens.create(Grant(AccountName("newcomer"), ROLES))
    holder = await house.service.holder_of(made.token)
    assert holder is not None
    assert holder.account.name == "newcomer"
    assert holder.account.number not in {house.caller.account.number, house.stranger.account.number}


def _files_content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("hsmkms.db*")))


async def test_the_database_holds_its_sha_256_and_nothing_of_itself(issued: IssuedToken, tmp_path: Path) -> None:
    content = _files_content(tmp_path)
    assert issued.token.digest() in content, "the search finds what is there"
    token = issued.token.reveal()
    pieces = [token[start : start + 12] for start in range(len(token) - 11)]
    assert [piece for piece in pieces if piece in content or piece.hex().encode() in content] == []


async def test_neither_audit_trail_nor_printing_shows_it(house: House, issued: IssuedToken) -> None:
    holder = await house.service.holder_of(issued.token)
    shown = repr(issued) + repr(holder) + repr(await house.events())
    assert issued.token.reveal().decode() not in shown
    assert issued.token.digest().hex() not in shown
    [event] = await house.events(EventTag.CREDENTIAL_CREATED)
    assert event.detail == {"access_id": issued.access_id, "roles": "admin,importer", "auth_token": True}
    assert (event.account, event.actor, event.at) == (ACCOUNT, "operator", house.clock.now())


async def test_one_switched_off_stops_at_once(house: House, issued: IssuedToken, tmp_path: Path) -> None:
    assert await house.service.holder_of(issued.token) is not None
    with closing(sqlite3.connect(tmp_path / "hsmkms.db")) as connection, connection:
        switched = connection.execute(
            "UPDATE credentials SET switched_on = 0 WHERE token_digest = ?", (issued.token.digest(),)
        )
        assert switched.rowcount == 1
    assert await house.service.holder_of(issued.token) is None


async def test_its_access_id_opens_no_secret_and_never_asks_the_token_device(house: House, issued: IssuedToken) -> None:
    assert await house.service.secret_of(issued.access_id) is None
    assert house.hsm.secrets_opened == 0
    assert len(house.credentials._kept) == 0


async def test_a_secret_key_is_no_auth_token(house: House) -> None:
    signer = await house.credentials.create(Grant(ACCOUNT, ROLES))
    assert await house.service.holder_of(AuthToken(signer.secret.reveal())) is None


async def test_none_exists_if_its_event_cannot_be_written(house: House) -> None:
    house.store.break_append = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await house.auth_tokens.create(Grant(AccountName("newcomer"), ROLES))
    assert await house.sql.read(lambda reading: reading.account(AccountName("newcomer"))) is None
