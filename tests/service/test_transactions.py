"""Compare and swap: a change that was overtaken is decided anew, and not for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from hsmkms.core.errors import ChangedMeanwhile
from hsmkms.service.transactions import TRIES, commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.ports import Store, Writing
    from tests.service.house import House

Result = TypeVar("Result")


class Overtaken:
    """A store of which the first so many transactions fail at their commit."""

    def __init__(self, store: Store, times: int) -> None:
        self._store = store
        self._times = times
        self.tries = 0

    async def write(self, change: Callable[[Writing], Result]) -> Result:
        self.tries += 1

        def overtaken(writing: Writing) -> Result:
            result = change(writing)
            if self.tries <= self._times:
                raise ChangedMeanwhile
            return result

        return await self._store.write(overtaken)


@pytest.mark.parametrize("times", [0, 1, TRIES - 1])
async def test_a_change_that_was_overtaken_is_decided_anew(house: House, times: int) -> None:
    key_id = await house.key()
    overtaken = Overtaken(house.sql, times)

    def describe(writing: Writing) -> str:
        key = writing.key(house.caller.account.name, key_id)
        assert key is not None
        writing.replace_key(key, replace(key, description=key.description + "x"))
        return "done"

    assert await commit(overtaken, describe) == "done"  # type: ignore[arg-type]
    assert overtaken.tries == times + 1
    assert (await house.key_row(key_id)).description == "x", "only the last try was committed"


async def test_a_change_that_is_always_overtaken_is_given_up(house: House) -> None:
    overtaken = Overtaken(house.sql, TRIES)

    with pytest.raises(ChangedMeanwhile):
        await commit(overtaken, lambda _: None)  # type: ignore[arg-type]
    assert overtaken.tries == TRIES


async def test_a_stale_row_cannot_be_written(house: House) -> None:
    key_id = await house.key()
    stale = await house.key_row(key_id)
    await house.edit_key(key_id, archived=True)
    with pytest.raises(ChangedMeanwhile):
        await house.sql.write(lambda writing: writing.replace_key(stale, replace(stale, description="late")))
    assert (await house.key_row(key_id)).archived
