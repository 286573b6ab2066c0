"""A change that the database undid and ran again does what it would have done at once."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.credentials import Grant, Role
from hsmkms.core.errors import ImportTokenOver, KeyStateForbids, TicketEnd, TokenUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import AccountName, later
from hsmkms.core.keys import Origin
from hsmkms.core.tickets import MOST_PAIR_FAILURES, TicketState
from hsmkms.service.commands import RelabelKey, SwitchKeys
from hsmkms.service.rows import existing_credential
from hsmkms.service.withdrawing import switch_credential
from tests.service.house import DAY, Settings, refusal, undecryptable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.house import House

GRANT = Grant(AccountName("acme"), frozenset({Role.USER}))


async def nothing() -> None:
    pass


async def _imports(house: House) -> list[object]:
    """Import in every way, and return what is left of it."""
    key_id = await house.key()
    voided = await house.parameters(key_id)
    for _ in range(3):
        house.clock.advance(1)
        issued = await house.parameters(key_id)
    command = house.command(issued, valid_to=later(house.clock.now(), seconds=DAY))
    await refusal(house, undecryptable(command))
    house.hsm.sick = True
    assert isinstance(await refusal(house, command), TokenUnavailable)
    house.hsm.sick = False
    for _ in range(2):
        await house.run(command)
    ciphertext = await house.encrypted(key_id)
    assert await house.decrypted(ciphertext)
    tickets = [await house.ticket(each) for each in (voided, issued)]
    pair = await house.pair(issued)
    await house.delete(key_id)
    await house.imported(key_id)
    row = await house.key_row(key_id)
    return [
        *((each.state, each.attempts, each.given_back, each.revision) for each in tickets),
        (pair.live, pair.failures, pair.record, pair.revision),
        (row.generation, row.revision),
        await house.uses(key_id),
        house.pool.level,
    ]


async def _lives(house: House) -> list[object]:
    """Bring keys and credentials through their lives, and return what is left of them."""
    generated, external = await house.key(origin=Origin.GENERATED), await house.key()
    for archived in (True, False):
        await house.archive(generated, archived=archived)
    for on in (False, True):
        await house.switch(generated, on=on)
        await house.service.execute(house.caller, SwitchKeys((generated,), on))
    await house.service.execute(house.caller, RelabelKey(generated, description="another"))
    await house.schedule(generated)
    await house.cancel(generated)
    left = replace(await house.key_row(generated), material=None)
    lapsing = await house.parameters(external)
    await house.imported(external, valid_to=later(house.clock.now(), seconds=60))
    house.clock.set(await house.schedule(generated))
    await house.sweeper.sweep()
    for makers in (house.credentials, house.auth_tokens):
        made = await makers.create(GRANT)
        row = await house.sql.read(functools.partial(existing_credential, access_id=made.access_id))
        successor = await makers.rotate(row, 0)
        await switch_credential(house.store, house.clock, successor.access_id, on=False)
    return [
        (left.switched_on, left.archived, left.description, left.revision),
        (await house.key_row(external)).material,
        (await house.ticket(lapsing)).state,
        await house.sql.find_key(generated),
    ]


@pytest.mark.parametrize("live", [_imports, _lives])
async def test_whatever_is_run_twice_leaves_what_it_leaves_when_it_is_run_once(
    house: House, live: Callable[[House], Awaitable[list[object]]]
) -> None:
    left, told = [], []
    for again in (None, nothing):
        house.store.between_runs = again
        before = len(await house.events())
        left.append(await live(house))
        await house.trail.write()
        told.append([(each.tag, sorted(each.detail)) for each in (await house.events())[before:]])
    assert left[0] == left[1]
    assert told[0] == told[1]
    assert len(told[0]) >= 10, "the control: much happened"


async def test_a_pair_taken_in_vain_goes_back_if_another_one_was_opened_meanwhile(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house, other = [await housed(Settings(tickets_per_pair=3)) for _ in range(2)]
    key_id = await house.key()
    opened = []

    async def open_another() -> None:
        if house.hsm.pairs_made:  # the first transaction found that one is needed: this is the one that takes it
            opened.append(await other.parameters(key_id))

    house.store.between_runs = open_another
    issued = await house.parameters(key_id)
    house.store.between_runs = None
    assert len(opened) == 1
    assert (await house.ticket(issued)).pair_id == (await house.ticket(opened[0])).pair_id == other.hsm.pairs_made[0]
    assert (house.pool.level, len(house.hsm.pairs_made)) == (1, 1)


async def test_a_pair_taken_in_vain_goes_back_if_a_rule_refused_meanwhile(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house, other = await housed(), await housed()
    key_id = await house.key()

    async def archive() -> None:
        await other.edit_key(key_id, archived=True)

    house.store.between_runs = archive
    with pytest.raises(KeyStateForbids):
        await house.parameters(key_id)
    assert house.pool.level == 1
    assert await house.events(EventTag.PARAMETERS_ISSUED) == []


async def test_an_attempt_that_was_undone_is_none_under_way(housed: Callable[..., Awaitable[House]]) -> None:
    house, other = await housed(), await housed()
    command = house.command(await house.parameters(await house.key()))
    first = await house.pair(command)

    async def fail_too_often() -> None:
        failed = replace(first, failures=MOST_PAIR_FAILURES)
        await other.sql.write(lambda writing: writing.replace_pair(first, failed))

    house.store.between_runs = fail_too_often
    fault = await refusal(house, command)
    assert isinstance(fault, ImportTokenOver)
    assert fault.end is TicketEnd.EXHAUSTED
    ticket = await house.ticket(command)
    assert (ticket.attempts, ticket.state) == (0, TicketState.ISSUED)
