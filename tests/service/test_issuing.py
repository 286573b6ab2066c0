"""Get import parameters: tickets, their pairs, and how many live at once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import ImportTokenOver, KeyStateForbids, NotOffered, StoreUnavailable, TicketEnd
from hsmkms.core.events import EventTag
from hsmkms.core.ids import later
from hsmkms.core.tickets import TicketState
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.service.commands import DescribeService, GetImportParameters, ServiceShown
from hsmkms.store.key_cache import KeyCache
from tests.service.house import DAY, MATERIAL, OAEP, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hsmkms.service.commands import ImportParameters
    from hsmkms.store.database import SqlStore
    from tests.service.house import House

SHA_1 = WrappingAlgorithm.RSAES_OAEP_SHA_1
PKCS1 = WrappingAlgorithm.RSAES_PKCS1_V1_5


async def test_the_parameters_bind_key_pair_token_and_deadline(house: House) -> None:
    key_id = await house.key()
    issued = await house.parameters(key_id)
    ticket = await house.ticket(issued)
    assert issued.key_id == key_id == ticket.key_id
    assert issued.deadline == later(house.clock.now(), seconds=DAY) == ticket.deadline
    assert issued.public_key == (await house.pair(issued)).public_key
    assert ticket.token_digest == hashlib.sha256(issued.import_token.reveal()).digest()
    assert (ticket.state, ticket.attempts, ticket.algorithm) == (TicketState.ISSUED, 0, OAEP)


async def test_an_import_token_is_192_fresh_bytes_in_base64(house: House) -> None:
    key_id = await house.key()
    tokens = {(await house.parameters(key_id)).import_token.reveal() for _ in range(3)}
    assert {len(base64.b64decode(token, validate=True)) for token in tokens} == {192}
    assert len(tokens) == 3


async def test_what_is_remembered_of_a_key_refuses_nobody(
    house: House, opened: Callable[[], Awaitable[SqlStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    await house.switch(key_id, on=False)
    monkeypatch.setattr(house.sql, "_keys", KeyCache(seconds=60))
    remembered = await house.store.look_up(house.caller.account.name, key_id, tagged=False)
    disabled = remembered.key(house.caller.account.name, key_id)
    assert disabled is not None
    with pytest.raises(KeyStateForbids):
        await house.parameters(key_id)
    with pytest.raises(KeyStateForbids):
        await house.encrypted(key_id, b"secret")
    another_process = await opened()
    await another_process.write(lambda writing: writing.replace_key(disabled, disabled.switched(on=True)))
    assert await house.store.look_up(house.caller.account.name, key_id, tagged=False) is remembered, "the control"
    assert (await house.parameters(key_id)).key_id == key_id
    assert await house.encrypted(key_id, b"secret")


def _contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("hsmkms.db*")]


async def test_the_database_holds_no_import_token(house: House, tmp_path: Path) -> None:
    issued = await house.parameters(await house.key())
    token = issued.import_token.reveal()
    files = _contents(tmp_path)
    assert any(issued.import_token.digest() in content for content in files)
    for content in files:
        assert token not in content
        assert base64.b64decode(token) not in content


async def test_a_fourth_ticket_voids_the_oldest_and_ends_its_pair(house: House) -> None:
    key_id = await house.key()
    issued: list[ImportParameters] = []
    for _ in range(4):
        issued.append(await house.parameters(key_id))
        house.clock.advance(1)
    assert [(await house.ticket(each)).state.value for each in issued] == ["void", "issued", "issued", "issued"]
    assert [(await house.pair(each)).record is None for each in issued] == [True, False, False, False]
    with pytest.raises(ImportTokenOver) as caught:
        await house.run(house.command(issued[0]))
    assert caught.value.end is TicketEnd.VOID
    assert house.hsm.calls == 0
    [event] = await house.events(EventTag.TICKET_VOIDED)
    assert event.detail["ticket"] == (await house.ticket(issued[0])).ticket_id


async def test_a_ticket_that_is_over_takes_no_place(house: House) -> None:
    key_id = await house.key()
    overdue = await house.parameters(key_id)
    house.clock.advance(DAY - 1)
    young = [await house.parameters(key_id) for _ in range(2)]
    house.clock.advance(1)
    young.append(await house.parameters(key_id))
    assert (await house.ticket(overdue)).state is TicketState.LAPSED
    assert {(await house.ticket(each)).state for each in young} == {TicketState.ISSUED}
    assert len(await house.events(EventTag.TICKET_LAPSED)) == 1


async def test_tickets_of_another_key_take_no_place(house: House) -> None:
    first = await house.parameters(await house.key())
    other = await house.key()
    for _ in range(4):
        await house.parameters(other)
    assert (await house.ticket(first)).state is TicketState.ISSUED


async def test_parameters_asked_for_at_once_leave_three_tickets_live(house: House) -> None:
    key_id = await house.key()
    issued = await asyncio.gather(*(house.parameters(key_id) for _ in range(8)))
    states = [(await house.ticket(each)).state for each in issued]
    assert states.count(TicketState.ISSUED) == 3
    assert states.count(TicketState.VOID) == 5
    assert len({each.public_key for each in issued}) == 8
    assert [(await house.pair(each)).live for each in issued].count(1) == 3


# --- what is offered ----------------------------------------------------------------------------------------


async def test_only_what_both_token_and_configuration_offer_is_offered(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(algorithms=(SHA_1, OAEP)))
    house.hsm.algorithms = frozenset((OAEP, PKCS1))
    key_id = await house.key()
    for algorithm in (SHA_1, PKCS1):
        with pytest.raises(NotOffered) as caught:
            await house.service.execute(house.caller, GetImportParameters(key_id, algorithm, "WrappingAlgorithm"))
        assert (caught.value.field, caught.value.offered) == ("WrappingAlgorithm", (OAEP,))
    await house.parameters(key_id, OAEP)


async def test_the_service_shows_its_edition_its_algorithms_and_the_accounts_keys(house: House) -> None:
    await house.key()
    await house.key()
    await house.key(caller=house.stranger)
    shown = await house.service.execute(house.caller, DescribeService())
    assert isinstance(shown, ServiceShown)
    assert (shown.edition.value, set(shown.algorithms), shown.keys) == ("fips", set(WrappingAlgorithm), 2)


# --- shared pairs -------------------------------------------------------------------------------------------


@pytest.fixture
async def sharing(housed: Callable[..., Awaitable[House]]) -> House:
    return await housed(Settings(tickets_per_pair=3))


async def test_tickets_of_one_account_and_algorithm_share_a_pair_up_to_the_limit(sharing: House) -> None:
    issued = [await sharing.parameters(await sharing.key()) for _ in range(7)]
    keys = [each.public_key for each in issued]
    assert [keys.index(each) for each in keys] == [0, 0, 0, 3, 3, 3, 6]
    pairs = [await sharing.pair(each) for each in issued]
    assert [(pair.live, pair.closed) for pair in pairs] == [(3, True)] * 6 + [(1, False)]


async def test_another_account_or_algorithm_never_shares(sharing: House) -> None:
    mine = await sharing.parameters(await sharing.key())
    sha_1 = await sharing.parameters(await sharing.key(), SHA_1)
    theirs = await sharing.parameters(await sharing.key(caller=sharing.stranger), caller=sharing.stranger)
    assert len({mine.public_key, sha_1.public_key, theirs.public_key}) == 3


async def test_pkcs1_v1_5_never_shares(sharing: House) -> None:
    issued = [await sharing.parameters(await sharing.key(), PKCS1) for _ in range(3)]
    assert len({each.public_key for each in issued}) == 3
    assert all([(await sharing.pair(each)).closed for each in issued])


async def test_a_pair_as_old_as_a_ticket_lives_takes_no_more_tickets(sharing: House) -> None:
    first = await sharing.parameters(await sharing.key())
    sharing.clock.advance(DAY - 1)
    second = await sharing.parameters(await sharing.key())
    sharing.clock.advance(1)
    third = await sharing.parameters(await sharing.key())
    assert first.public_key == second.public_key != third.public_key


async def test_a_shared_pair_ends_with_its_last_ticket(sharing: House) -> None:
    issued = [await sharing.parameters(await sharing.key()) for _ in range(3)]
    for each in issued:
        assert (await sharing.pair(each)).record is not None
        await sharing.run(sharing.command(each))
    pair = await sharing.pair(issued[0])
    assert (pair.record, pair.live, pair.failures) == (None, 0, 0)


async def test_tickets_asked_for_at_once_share_and_leave_no_pair_to_waste(sharing: House) -> None:
    keys = [await sharing.key() for _ in range(9)]
    issued = await asyncio.gather(*(sharing.parameters(key_id) for key_id in keys))
    used = {each.public_key for each in issued}
    assert len(used) == 3
    assert len(sharing.hsm.pairs_made) == len(used) + sharing.pool.level


async def test_the_hundredth_failure_under_a_shared_pair_ends_all_its_tickets(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(tickets_per_pair=20))
    issued = [await house.parameters(await house.key()) for _ in range(12)]
    for each in issued[:10]:
        bad = house.command(each, MATERIAL[:31])
        for _ in range(10):
            with pytest.raises(Exception, match="wrong length"):
                await house.run(bad)
    assert house.hsm.calls == 100
    good = house.command(issued[10])
    for command in (good, replace(good, ciphertext=good.ciphertext[:-1])):
        with pytest.raises(ImportTokenOver) as caught:
            await house.run(command)
        assert caught.value.end is TicketEnd.EXHAUSTED
    assert house.hsm.calls == 100
    assert (await house.parameters(await house.key())).public_key != issued[0].public_key


# --- the pair goes back -------------------------------------------------------------------------------------


async def test_a_pair_goes_back_if_the_key_changed_before_a_ticket_took_it(house: House) -> None:
    key_id = await house.key()

    async def archive() -> None:
        await house.edit_key(key_id, archived=True)

    house.hsm.before_pair = archive
    with pytest.raises(KeyStateForbids):
        await house.parameters(key_id)
    assert (house.pool.level, len(house.hsm.pairs_made)) == (1, 1)


async def test_a_pair_whose_ticket_may_have_been_committed_does_not_go_back(house: House) -> None:
    key_id = await house.key()
    house.store.break_after_commit = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await house.parameters(key_id)
    house.store.break_after_commit = None
    assert house.pool.level == 0
    again = await house.parameters(key_id)
    assert (await house.ticket(again)).pair_id == house.hsm.pairs_made[-1]
    assert len(house.hsm.pairs_made) == 2


async def test_a_request_cancelled_during_the_commit_does_not_hand_its_pair_to_another(house: House) -> None:
    key_id = await house.key()
    house.store.break_after_commit = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await house.parameters(key_id)
    house.store.break_after_commit = None
    assert house.pool.level == 0
    await house.parameters(key_id)
