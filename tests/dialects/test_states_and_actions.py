"""Every state x every action that a state can forbid, in both dialects, against the table made from the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from hsmkms.core.keys import KeyState
from tests.dialects import state_table
from tests.dialects.clouds import Clouds, both_clouds
from tests.dialects.situations import WAYS, brought_into
from tests.dialects.state_table import GRANTED, STATES, Cell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.dialects.clouds import Cloud
    from tests.service.house import House

in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clouds]:
    async with both_clouds(f"sqlite:///{tmp_path_factory.mktemp('clouds') / 'hsmkms.db'}") as clouds:
        yield clouds


@pytest.fixture
def clouds(deployment: Clouds) -> Clouds:
    deployment.house.clock.advance(1)  # the keys of this test are younger than those of the tests before
    return deployment


@pytest.fixture
def house(clouds: Clouds) -> House:
    return clouds.house


def named(cell: Cell) -> str:
    return f"{cell.situation}-{cell.action}"


async def require_as_the_table_says(cell: Cell, house: House, clouds: Clouds, asked: Cloud) -> None:
    subject = await brought_into(house, cell.situation)
    before = await house.key_row(subject.key_id)
    answer = await asked.act(cell.action, subject)
    assert answer.code == cell.code, answer.members
    if cell.code != GRANTED:
        assert await house.key_row(subject.key_id) == before
    assert await clouds.tencent.state(subject.key_id) == cell.shown.tencent
    assert await clouds.huawei.state(subject.key_id) == cell.shown.huawei


@in_one_loop
@pytest.mark.parametrize("cell", state_table.tencent(), ids=named)
async def test_tencent_answers_what_its_documents_say(cell: Cell, house: House, clouds: Clouds) -> None:
    await require_as_the_table_says(cell, house, clouds, clouds.tencent)


@in_one_loop
@pytest.mark.parametrize("cell", state_table.huawei(), ids=named)
async def test_huawei_answers_what_its_documents_say(cell: Cell, house: House, clouds: Clouds) -> None:
    await require_as_the_table_says(cell, house, clouds, clouds.huawei)


@in_one_loop
@pytest.mark.parametrize("situation", WAYS)
async def test_looking_is_never_refused_and_changes_nothing(situation: str, house: House, clouds: Clouds) -> None:
    subject = await brought_into(house, situation)
    before = await house.key_row(subject.key_id)
    for cloud, state in ((clouds.tencent, STATES[situation].tencent), (clouds.huawei, STATES[situation].huawei)):
        assert await cloud.state(subject.key_id) == state
        assert await cloud.listed_states(subject.key_id) == {state}
    named_by_tencent = STATES[situation].tencent in state_table.NAMED_BY_LIST_KEYS
    assert (subject.key_id in await clouds.tencent.names()) is named_by_tencent
    assert subject.key_id in await clouds.huawei.names()
    assert await house.key_row(subject.key_id) == before


def test_the_tables_are_the_whole_product() -> None:
    assert {each.tencent for each in STATES.values()} == set(KeyState)
    assert len({each.huawei for each in STATES.values()}) == len(KeyState)
    for cells, actions in ((state_table.tencent(), 5), (state_table.huawei(), 7)):
        assert {each.situation for each in cells} == set(STATES) == set(WAYS)
        assert len({named(each) for each in cells}) == len(cells) == len(WAYS) * actions
        assert len({each.action for each in cells}) == actions
