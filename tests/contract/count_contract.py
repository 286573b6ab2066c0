"""What every implementation of `core.ports.Inspection` must count."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hsmkms.core.ids import Instant, later
from hsmkms.core.metering import FORECASTS, StoreCounts
from hsmkms.core.tickets import Spending, TicketState
from tests.contract.store_contract import AFTER, BEFORE, NOW, key, material, pair, put, ticket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsmkms.core.keys import Key
    from tests.contract.store_contract import WholeStore

NOTHING: Final = dict.fromkeys(FORECASTS, 0)
AT_HORIZONS: Final = [Instant(later(NOW, seconds=each) + late) for each in FORECASTS for late in (0, 1)]
"""Of each horizon the last millisecond within, and the first one after."""
WITHIN: Final = {horizon: 2 * number + 1 for number, horizon in enumerate(FORECASTS)}
"""How many of those come within each horizon."""


def every_key() -> Iterable[Key]:
    """Return a key for each combination of what its state depends on."""
    materials = (None, material(), *(material(valid_to=each) for each in (BEFORE, NOW, AFTER)))
    flags = itertools.product((True, False), (True, False), (None, BEFORE, NOW, AFTER), materials)
    for number, (switched_on, archived, deletion_due, held) in enumerate(flags):
        yield replace(
            key(f"key-{number}"),
            switched_on=switched_on,
            archived=archived,
            deletion_due=deletion_due,
            material=held,
        )


class CountContract:
    async def test_an_empty_database_holds_nothing(self, store: WholeStore) -> None:
        counts = await store.counts(NOW)
        assert set(counts.keys.values()) == set(counts.tickets.values()) == {0}
        assert counts.materials_expiring == counts.deletions_due == NOTHING

    async def test_keys_are_counted_by_the_state_that_is_shown_and_those_gone_not_at_all(
        self, store: WholeStore
    ) -> None:
        keys = tuple(every_key())
        await put(store, *keys)
        for now in (BEFORE, NOW, AFTER):
            expected = Counter(each.state(now) for each in keys if not each.gone(now))
            assert len(expected) == 5 or now == AFTER
            found = (await store.counts(now)).keys
            assert {state: number for state, number in found.items() if number} == expected

    async def test_import_tokens_are_counted_by_state(self, store: WholeStore) -> None:
        ours = key()
        spent = Spending(b"d" * 32, None)
        states = dict(zip(TicketState, (4, 3, 2, 1), strict=True))
        tickets = [
            replace(ticket(ours.key_id), state=state, spending=spent if state is TicketState.SPENT else None)
            for state, number in states.items()
            for _ in range(number)
        ]
        await put(store, ours, pair(), *tickets)
        assert (await store.counts(NOW)).tickets == states

    async def test_what_expires_and_what_is_deleted_is_foretold(self, store: WholeStore) -> None:
        expiring = [replace(key(f"e{at}"), material=material(valid_to=at)) for at in AT_HORIZONS]
        due = [replace(key(f"d{at}"), deletion_due=at, switched_on=False) for at in AT_HORIZONS[2:]]
        await put(store, *expiring, *due, replace(key("for ever"), material=material()))
        counts = await store.counts(NOW)
        assert counts == StoreCounts(
            keys=counts.keys,
            tickets=counts.tickets,
            materials_expiring=WITHIN,
            deletions_due={horizon: max(0, number - 2) for horizon, number in WITHIN.items()},
        )
