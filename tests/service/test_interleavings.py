"""Many callers at once, in an order that chance decides: what must hold afterwards whatever happened."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from hsmkms.core import records
from hsmkms.core.errors import CallerFault, TokenGaveNoAnswer, TokenUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.keys import KeyState
from hsmkms.core.material import Edition
from hsmkms.core.tickets import TicketState
from tests.service.house import DAY, MATERIAL, OTHER_MATERIAL, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.ids import KeyId, PairId
    from hsmkms.core.tickets import Pair
    from hsmkms.service.commands import ImportParameters
    from tests.service.house import House

ROUNDS = 4
MOST_ROUNDS = 20


class Crowd:
    """Callers that do whatever comes to mind, and remember every ticket they got."""

    def __init__(self, house: House, keys: list[KeyId], seed: int) -> None:
        self.house = house
        self.keys = keys
        self.random = random.Random(seed)
        self.issued: list[ImportParameters] = []
        house.hsm.before_judging = self.dawdle
        house.hsm.after_judging = self.dawdle

    async def dawdle(self) -> None:
        for _ in range(self.random.randrange(20)):
            await asyncio.sleep(0)
        if self.random.random() < 0.1:
            raise TokenGaveNoAnswer

    async def act(self) -> None:
        """Do one thing; a refusal is as good as a success."""
        await asyncio.sleep(0)
        key_id = self.random.choice(self.keys)
        with suppress(CallerFault, TokenUnavailable):
            match self.random.randrange(8):
                case 0 | 1:
                    self.issued.append(await self.house.parameters(key_id))
                case 2 | 3 | 4 if self.issued:
                    parameters = self.random.choice(self.issued[-9:])  # of those before, few are good for anything
                    material = self.random.choice((MATERIAL, MATERIAL, OTHER_MATERIAL, MATERIAL[:31]))
                    await self.house.run(self.house.command(parameters, material))
                case 5:
                    await self.house.delete(key_id)
                case 6:
                    await self.house.switch(key_id, on=self.random.random() < 0.6)
                case _:
                    self.house.clock.advance(self.random.randrange(DAY // 20))
                    await self.house.sweeper.sweep()


async def _pairs_and_tickets_agree(crowd: Crowd) -> None:
    live: Counter[PairId] = Counter()
    pairs: dict[PairId, Pair] = {}
    for issued in crowd.issued:
        ticket = await crowd.house.ticket(issued)
        pairs[ticket.pair_id] = await crowd.house.pair(issued)
        live[ticket.pair_id] += ticket.state is TicketState.ISSUED
        assert 0 <= ticket.attempts <= 10
    for pair_id, pair in pairs.items():
        assert pair.live == live[pair_id]
        assert (pair.record is None) is (pair.closed and pair.live == 0)


async def _keys_hold_what_the_trail_says(crowd: Crowd) -> None:
    house = crowd.house
    changes = await house.events(EventTag.MATERIAL_IMPORTED, EventTag.MATERIAL_DELETED, EventTag.MATERIAL_EXPIRED)
    for key_id in crowd.keys:
        last = [event.tag for event in changes if event.key_id == key_id][-1:]
        key = await house.key_row(key_id)
        assert (key.material is not None) is (last == [EventTag.MATERIAL_IMPORTED])
        if key.material is not None:
            owner = records.of_material(key.account, key_id, Edition.FIPS, key.generation)
            evidence = await house.hsm.inspect_material(owner, key.material.record)
            assert (evidence.fingerprint, evidence.length_bits) == (key.fingerprint, 256)
            assert key.state(house.clock.now()) in {KeyState.ENABLED, KeyState.DISABLED}


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 5, 7])
async def test_whatever_many_callers_do_at_once_the_rows_agree_with_each_other_and_with_the_trail(
    housed: Callable[..., Awaitable[House]], seed: int
) -> None:
    house = await housed(Settings(tickets_per_pair=3))
    crowd = Crowd(house, [await house.key() for _ in range(3)], seed)
    for number in range(1, MOST_ROUNDS + 1):
        await asyncio.gather(*(crowd.act() for _ in range(25)))
        await _pairs_and_tickets_agree(crowd)
        await _keys_hold_what_the_trail_says(crowd)
        spent = [await house.ticket(issued) for issued in crowd.issued]
        imported = {event.detail["ticket"] for event in await house.events(EventTag.MATERIAL_IMPORTED)}
        assert {ticket.ticket_id for ticket in spent if ticket.state is TicketState.SPENT} == imported
        if imported and number >= ROUNDS:  # which is not up to the seed alone
            break
    assert imported, "no import happened at all: this seed tests nothing"
    house.clock.advance(3 * DAY)
    await house.sweeper.sweep()
    for issued in crowd.issued:
        assert (await house.pair(issued)).record is None
