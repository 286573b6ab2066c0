"""`replaced` is `dataclasses.replace`, for the values that it is used on."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from hsmkms.core.ids import Instant
from hsmkms.core.replacing import replaced
from hsmkms.core.tickets import TicketState
from tests.contract.store_contract import key, pair, ticket

if TYPE_CHECKING:
    from hsmkms.core.keys import Key
    from hsmkms.core.tickets import Pair, Ticket

KEY = key()


@pytest.mark.parametrize("value", [KEY, ticket(KEY.key_id), pair()], ids=lambda value: type(value).__name__)
def test_each_field_is_replaced_alone(value: Key | Ticket | Pair) -> None:
    assert replaced(value) == value
    for each in fields(value):
        new: Any = object()
        assert replaced(value, **{each.name: new}) == replace(value, **{each.name: new})
    both: dict[str, Any] = {"revision": 7, "account": "another"}
    assert replaced(value, **both) == replace(value, **both)


def test_a_field_that_there_is_not_is_no_change() -> None:
    with pytest.raises(KeyError):
        replaced(KEY, state=TicketState.SPENT, created_at=Instant(1))
