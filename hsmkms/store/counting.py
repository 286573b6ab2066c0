"""What the database holds, in numbers: for the metrics, in the background, in a reader's thread.

Aggregates with filters and no groups: SQLite sorts whatever it groups. With 100,000 keys and as many tickets that is
one pass over each table and one over two indices, 0.1 s together; more if many keys have no material.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BindParameter, and_, bindparam, case, func, or_, select

from hsmkms.core.ids import later
from hsmkms.core.keys import KeyState
from hsmkms.core.metering import FORECASTS, StoreCounts
from hsmkms.core.ports import SealedCount
from hsmkms.core.tickets import TicketState
from hsmkms.store.schema import KEYS, MATERIALS, PAIR_SECRETS, TICKETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Executable, Row

    from hsmkms.core.ids import Instant
    from hsmkms.store.reading import SqlReading

_NOW: Final[BindParameter[int]] = bindparam("now")


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _horizon(seconds: int) -> str:
    return f"in_{seconds}"


def _forecast(due: ColumnElement[int]) -> Executable:
    """Return how many instants of a column, which has a partial index of its own, come within each of `FORECASTS`."""
    last: BindParameter[int] = bindparam(_horizon(FORECASTS[-1]))
    columns = [_count(due <= bindparam(_horizon(each))).label(_horizon(each)) for each in FORECASTS]
    return select(*columns).where(due <= last)


_PLAIN: Final = and_(KEYS.c.deletion_due.is_(None), ~KEYS.c.archived)
"""Neither of the states that hide whether there is material: `Key.state`, as `queries.judged_state` says it, too."""

KEYS_BY_FLAGS: Final = select(
    _count(KEYS.c.deletion_due > _NOW).label("pending_delete"),
    _count(and_(KEYS.c.deletion_due.is_(None), KEYS.c.archived)).label("archived"),
    _count(and_(_PLAIN, KEYS.c.switched_on)).label("switched_on"),
    _count(and_(_PLAIN, ~KEYS.c.switched_on)).label("switched_off"),
)
_OTHERS: Final = KEYS.alias("others")
_WITHOUT: Final = (
    select(_OTHERS.c.key_id)
    .select_from(_OTHERS.outerjoin(MATERIALS, MATERIALS.c.key_id == _OTHERS.c.key_id))
    .where(MATERIALS.c.key_id.is_(None))
)
_EXPIRED: Final = select(MATERIALS.c.key_id).where(MATERIALS.c.valid_to <= _NOW)
KEYS_WITHOUT_MATERIAL: Final = select(
    _count(KEYS.c.switched_on).label("switched_on"),
    _count(~KEYS.c.switched_on).label("switched_off"),
).where(_PLAIN, or_(KEYS.c.key_id.in_(_WITHOUT), KEYS.c.key_id.in_(_EXPIRED)))
"""From the few to the many: the keys are compared index by index, and only those without are looked at."""
TICKETS_BY_STATE: Final = select(*(_count(TICKETS.c.state == each.value).label(each.value) for each in TicketState))
MATERIALS_EXPIRING: Final = _forecast(MATERIALS.c.valid_to)
DELETIONS_DUE: Final = _forecast(KEYS.c.deletion_due)


MATERIALS_BY_VERSION: Final = select(MATERIALS.c.sealing_version, func.count()).group_by(MATERIALS.c.sealing_version)
"""In the order of its index, so that nothing is sorted."""
PAIRS_BY_VERSION: Final = select(PAIR_SECRETS.c.sealing_version, func.count()).group_by(PAIR_SECRETS.c.sealing_version)
"""Few: a private half is removed at its pair's end."""


def sealed_counts(reading: SqlReading) -> Mapping[int, SealedCount]:
    """Return how much is sealed under each version of the sealing keys, of those that there is anything under."""
    materials, pairs = (dict(map(tuple, reading.rows(each))) for each in (MATERIALS_BY_VERSION, PAIRS_BY_VERSION))
    return {
        version: SealedCount(materials.get(version, 0), pairs.get(version, 0))
        for version in sorted(materials.keys() | pairs.keys())
    }


def counts(reading: SqlReading, now: Instant) -> StoreCounts:
    """Return what the database holds at `now`."""
    at = {"now": now}
    shown, empty = reading.run(KEYS_BY_FLAGS, at).one(), reading.run(KEYS_WITHOUT_MATERIAL, at).one()
    tickets = reading.run(TICKETS_BY_STATE, {}).one()
    horizons = {_horizon(each): later(now, seconds=each) for each in FORECASTS}
    return StoreCounts(
        keys={
            KeyState.PENDING_DELETE: shown.pending_delete,
            KeyState.ARCHIVED: shown.archived,
            KeyState.PENDING_IMPORT: empty.switched_on + empty.switched_off,
            KeyState.ENABLED: shown.switched_on - empty.switched_on,
            KeyState.DISABLED: shown.switched_off - empty.switched_off,
        },
        tickets=dict(zip(TicketState, tickets, strict=True)),
        materials_expiring=_within(reading.run(MATERIALS_EXPIRING, horizons).one()),
        deletions_due=_within(reading.run(DELETIONS_DUE, horizons).one()),
    )


def _within(row: Row[Any]) -> dict[int, int]:
    return dict(zip(FORECASTS, row, strict=True))
