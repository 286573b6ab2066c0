"""Tags: given with a key, and asked for in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.keys import KeyState
from hsmkms.core.ports import TagFilter
from hsmkms.service.commands import CreateKey, KeysShown, ListKeys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.service.house import House

KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "cards-prod": {"team": "cards", "env": "prod"},
    "cards-test": {"team": "cards", "env": "test"},
    "loans-prod": {"team": "loans", "env": "prod"},
    "bare": {},
}


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ((), set(KEYS)),
        ((("team", ("cards",)),), {"cards-prod", "cards-test"}),
        ((("team", ("cards", "loans")),), {"cards-prod", "cards-test", "loans-prod"}),
        ((("team", ("cards",)), ("env", ("prod",))), {"cards-prod"}),
        ((("env", ()),), {"cards-prod", "cards-test", "loans-prod"}),
        ((("env", ()), ("team", ("loans",))), {"loans-prod"}),
        ((("team", ("cards",)), ("team", ("loans",))), set()),
        ((("colour", ()),), set()),
    ],
)
async def test_a_list_shows_the_keys_that_match_every_filter_with_one_of_its_values(
    house: House, tags: Sequence[tuple[str, Sequence[str]]], found: set[str]
) -> None:
    for alias, given in KEYS.items():
        await house.service.execute(house.caller, CreateKey(alias, tags=given))
    await house.service.execute(house.stranger, CreateKey("foreign", tags=KEYS["cards-prod"]))
    wanted = [TagFilter(name, values) for name, values in tags]
    for limit in (10, 1):
        shown = await house.service.execute(house.caller, ListKeys(0, limit, tags=wanted))
        assert isinstance(shown, KeysShown)
        assert shown.total == len(found)
        assert {each.key.alias for each in shown.keys} <= found
        assert len(shown.keys) == min(limit, len(found))
    none = ListKeys(0, 10, states=frozenset((KeyState.ARCHIVED,)), tags=wanted)
    assert await house.service.execute(house.caller, none) == KeysShown(0, ())
