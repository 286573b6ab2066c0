"""A deployment is begun transferable or not, and stays what it was begun as."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsmkms.core.custody import CustodyRole
from hsmkms.core.errors import StoreUnusable, TokenUnusable
from tests.service.sealed import SealedHouse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.store.database import SqlStore


@pytest.fixture
async def house(opened: Callable[[], Awaitable[SqlStore]]) -> SealedHouse:
    return SealedHouse(await opened())


async def transferable(house: SealedHouse) -> set[CustodyRole]:
    deployment = await house.store.deployment()
    assert deployment is not None
    return {each.role for each in deployment.objects if each.transferable}


async def test_only_the_key_for_material_is_transferable_and_only_if_it_was_asked_for(house: SealedHouse) -> None:
    await house.initialise(transferable=True)
    assert await transferable(house) == {CustodyRole.MATERIAL_SEALING}
    for asked in (True, False):
        await house.initialise(transferable=asked)
    assert await transferable(house) == {CustodyRole.MATERIAL_SEALING}


async def test_one_that_was_made_otherwise_is_not_made_transferable(house: SealedHouse) -> None:
    await house.initialise(transferable=False)
    with pytest.raises(StoreUnusable, match="'hsmkms sealing rotate --transferable'"):
        await house.initialise(transferable=True)
    assert await transferable(house) == set()
    await house.rotate(transferable=True)
    await house.initialise(transferable=True)


@pytest.mark.parametrize("asked", [True, False])
async def test_one_that_was_interrupted_is_what_the_next_run_asks_for(house: SealedHouse, asked: bool) -> None:
    """As where the token does not make transferable keys."""
    house.custodian.failing = True
    with pytest.raises(TokenUnusable):
        await house.initialise(transferable=not asked)
    house.custodian.failing = False
    await house.initialise(transferable=asked)
    assert await transferable(house) == ({CustodyRole.MATERIAL_SEALING} if asked else set())
