"""How many keys an account may have: exactly as many as the operator set, whoever asks at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import StoreUnavailable, TooManyKeys
from hsmkms.core.events import EventTag
from hsmkms.core.ids import Instant
from hsmkms.core.keys import Origin
from hsmkms.service.commands import DescribeService, ServiceShown
from tests.service.house import Settings, out_of_reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.house import House

MOST = 3


@pytest.fixture
async def limited(housed: Callable[..., Awaitable[House]]) -> House:
    return await housed(Settings(most_keys=MOST))


async def shown(house: House) -> ServiceShown:
    found = await house.service.execute(house.caller, DescribeService())
    assert isinstance(found, ServiceShown)
    return found


async def test_an_account_may_have_exactly_as_many(limited: House) -> None:
    for _ in range(MOST):
        await limited.key()
    with pytest.raises(TooManyKeys, match=f"all the {MOST} keys"):
        await limited.key()
    found = await shown(limited)
    assert (found.keys, found.most_keys) == (MOST, MOST)
    assert len(await limited.events(EventTag.KEY_CREATED)) == MOST


async def test_each_account_counts_for_itself(limited: House) -> None:
    for _ in range(MOST):
        await limited.key(caller=limited.stranger)
    await limited.key()


async def test_a_key_does_not_count_from_the_instant_its_deletion_is_due(limited: House) -> None:
    key_id, *_ = [await limited.key() for _ in range(MOST)]
    due = await limited.schedule(key_id)
    limited.clock.set(Instant(due - 1))
    with pytest.raises(TooManyKeys):
        await limited.key()
    limited.clock.set(due)
    assert (await shown(limited)).keys == MOST - 1
    await limited.key()
    with pytest.raises(TooManyKeys):
        await limited.key()
    await limited.sweeper.sweep()
    assert (await shown(limited)).keys == MOST


@pytest.mark.parametrize("origin", [Origin.EXTERNAL, Origin.GENERATED])
async def test_the_number_is_exact_when_many_ask_at_once(limited: House, origin: Origin) -> None:
    answers = await asyncio.gather(*(limited.key(origin=origin) for _ in range(10)), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, TooManyKeys)]
    assert len(answers) - len(refused) == (await shown(limited)).keys == MOST
    assert len(await limited.events(EventTag.KEY_CREATED)) == MOST


async def test_a_full_account_asks_the_token_for_nothing(limited: House) -> None:
    for _ in range(MOST):
        await limited.key(origin=Origin.GENERATED)
    assert limited.hsm.materials_generated == MOST
    with pytest.raises(TooManyKeys):
        await limited.key(origin=Origin.GENERATED)
    assert limited.hsm.materials_generated == MOST


async def test_only_what_the_token_would_make_in_vain_is_counted_twice(limited: House) -> None:
    limited.store.read = out_of_reach
    await limited.key()  # external: the count within the transaction is enough
    with pytest.raises(StoreUnavailable):
        await limited.key(origin=Origin.GENERATED)


async def test_without_a_limit_nothing_is_counted(house: House) -> None:
    house.store.read = out_of_reach
    await house.key(origin=Origin.GENERATED)


async def test_zero_is_any_number(house: House) -> None:
    for _ in range(MOST + 1):
        await house.key()
    found = await shown(house)
    assert (found.keys, found.most_keys) == (MOST + 1, 0)
