"""What is under which version of the sealing keys: asked before a record is written, and before a version goes.

Laws:

- no record is committed under a version whose keys the database does not have. In SQLite nobody else writes while a
  transaction does; in PostgreSQL the key's row is locked FOR KEY SHARE until its end: who lets a version go waits for
  that, and who waits for a version's going finds no row;
- a version goes only if no record is under it, and if every record is under the version that its column says. The
  columns make counting cheap; what is believed before keys are destroyed are the heads of the records;
- a database that was never initialised has no sealing keys, and there is no host that seals for it: nothing is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, Select, bindparam, case, func, literal, or_, select

from hsmkms.core.custody import FIRST_VERSION, SEALING_ROLES
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.records import head_of, split_head
from hsmkms.store import counting
from hsmkms.store.only_bytes import OnlyBytes
from hsmkms.store.schema import CUSTODY_OBJECTS, MATERIALS, PAIR_SECRETS

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Column, Table

    from hsmkms.core.custody import CustodyRole
    from hsmkms.store.reading import SqlReading

SealingKeys = frozenset[tuple[str, int]]
"""Which there are: the role and the version of each."""

_FIRST_HEAD: Final = head_of(FIRST_VERSION)
_LATER_HEAD_BYTES: Final = len(head_of(FIRST_VERSION + 1))
_ANY: Final = select(CUSTODY_OBJECTS.c.role, CUSTODY_OBJECTS.c.version).where(
    or_(*(CUSTODY_OBJECTS.c.role == each.value for each in SEALING_ROLES))
)
_OF_VERSION: Final = CUSTODY_OBJECTS.c.version == bindparam("version")
# SQLite knows no FOR UPDATE, and SQLAlchemy leaves it out there.
HOLD_KEY: Final = _ANY.where(CUSTODY_OBJECTS.c.role == bindparam("role"), _OF_VERSION).with_for_update(
    read=True, key_share=True
)
HOLD_VERSION: Final = _ANY.where(_OF_VERSION).with_for_update()


def _heads(table: Table, identity: Column[str]) -> Select[Any]:
    """Return a statement that finds every head that records have, with every version that their column says."""
    record = OnlyBytes(table.c.record)
    first = func.substr(record, 1, len(_FIRST_HEAD), type_=LargeBinary())
    later = func.substr(record, 1, _LATER_HEAD_BYTES, type_=LargeBinary())
    head = case((first == literal(_FIRST_HEAD, LargeBinary()), first), else_=later).label("head")
    found = select(identity.label("one"), head, table.c.sealing_version).subquery()
    columns = (found.c.head, found.c.sealing_version)
    return select(*columns, func.min(found.c.one).label("one")).group_by(*columns)


HEADS: Final = {
    "the material of key": _heads(MATERIALS, MATERIALS.c.key_id),
    "wrapping pair": _heads(PAIR_SECRETS, PAIR_SECRETS.c.pair_id),
}


def sealing_keys_in(reading: SqlReading) -> SealingKeys:
    """Return which sealing keys the database has."""
    return frozenset((row.role, row.version) for row in reading.quick(_ANY, {}).rows)


def can_be_opened(role: CustodyRole, version: int, present: Collection[tuple[str, int]]) -> bool:
    """Tell whether `present`, all the sealing keys there are, open what is sealed under this version."""
    return not present or (role.value, version) in present


def require_nothing_under(reading: SqlReading, version: int) -> None:
    """Return if nothing is sealed under a version, and nothing will be that was not committed yet.

    Raises:
        StoreUnusable: something is, or the database contradicts itself about what is sealed under which.
    """
    reading.run(HOLD_VERSION, {"version": version})
    under = counting.sealed_counts(reading).get(version)
    if under is not None:
        raise StoreUnusable(
            f"Under version {version} there still are the material of {under.materials} keys and {under.pairs} "
            "wrapping pairs: nothing could open them any more."
        )
    for what, statement in HEADS.items():
        for row in reading.rows(statement):
            if _named(row.head) != row.sealing_version:
                raise StoreUnusable(
                    f"The record of {what} {row.one} is not under version {row.sealing_version}, as the database says: "
                    "another program changed it. No version goes while it is not known what is under which."
                )


def _named(head: bytes | None) -> int | None:
    try:
        return None if head is None else split_head(bytes(head))[0]
    except ValueError:
        return None
