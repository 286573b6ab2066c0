"""A statement that many requests make must not read a whole table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Select, UpdateBase
from sqlalchemy.dialects import registry

from hsmkms.core.ids import AccountName
from hsmkms.core.keys import KeyState, KeyUsage, Origin
from hsmkms.core.ports import KeyFilter, TagFilter
from hsmkms.store import queries
from hsmkms.store.schema import METADATA
from tests.contract.store_contract import NOW

if TYPE_CHECKING:
    from sqlalchemy import ClauseElement

    from hsmkms.store.database import SqlStore
    from hsmkms.store.reading import SqlReading

DIALECTS = {name: registry.load(name) for name in ("sqlite", "postgresql")}
LISTED = queries.keys_listed(KeyFilter(AccountName("alice")), NOW, offset=0, limit=10)
TAGS = (TagFilter("env", ("prod", "test")), TagFilter("team", ()))
TAGGED = queries.keys_listed(KeyFilter(AccountName("alice"), tags=TAGS), NOW, offset=0, limit=10)
INDEXED: dict[str, ClauseElement] = {
    "KEY": queries.KEY,
    "KEY_OF_ANY_ACCOUNT": queries.KEY_OF_ANY_ACCOUNT,
    "KEYS_NAMED": queries.KEYS_NAMED.params(account="alice", key_ids=["one", "two"]),
    "COUNT_KEYS": queries.COUNT_KEYS,
    "LISTED": LISTED,
    "TAGGED": TAGGED,
    "EXPIRED_KEYS": queries.EXPIRED_KEYS,
    "SEALED_BELOW": queries.SEALED_BELOW,
    "DUE_DELETIONS": queries.DUE_DELETIONS,
    "USES_LEASED": queries.USES_LEASED,
    "LEASE_USES": queries.LEASE_USES,
    "REMOVE_KEY": queries.REMOVE_KEY,
    "REMOVE_TAGS": queries.REMOVE_TAGS,
    "REMOVE_TICKETS": queries.REMOVE_TICKETS,
    "TOMBSTONE": queries.TOMBSTONE,
    "TICKET": queries.TICKET,
    "LIVE_TICKETS": queries.LIVE_TICKETS,
    "PAIR": queries.PAIR,
    "OPEN_PAIR_OF": queries.OPEN_PAIR_OF,
    "ACCOUNT": queries.ACCOUNT,
    "CREDENTIAL": queries.CREDENTIAL,
    "CREDENTIAL_OF_TOKEN": queries.CREDENTIAL_OF_TOKEN,
    "HEAD": queries.HEAD,
    "LAST_SEAL": queries.LAST_SEAL,
    "SEALS_AFTER": queries.SEALS_AFTER,
    "EVENTS_AFTER": queries.EVENTS_AFTER,
    "CUT": queries.CUT,
    "CUT_THERE": queries.CUT_THERE,
    "REMOVE_CUT": queries.REMOVE_CUT,
    "REMOVE_ARCHIVED": queries.REMOVE_ARCHIVED,
    "REMOVE_ARCHIVED_SEALS": queries.REMOVE_ARCHIVED_SEALS,
    "LAST_SEAL_THERE": queries.LAST_SEAL_THERE,
}
BOUNDED: dict[str, ClauseElement] = {
    # Both walk what is alive, which is bounded: tickets by their deadline, private halves by the end of their pair.
    "OVERDUE_TICKETS": queries.OVERDUE_TICKETS,
    "IDLE_PAIRS": queries.IDLE_PAIRS,
}


async def plan_of(store: SqlStore, statement: ClauseElement) -> list[str]:
    compiled = statement.compile(dialect=DIALECTS["sqlite"](), compile_kwargs={"render_postcompile": True})
    wanted = str(compiled)

    def explained(reading: SqlReading) -> list[str]:
        values = ("1",) * wanted.count("?")
        rows = reading.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {wanted}", values)
        return [row.detail for row in rows]

    return await store.read(explained)


@pytest.mark.parametrize("name", sorted(INDEXED))
async def test_it_uses_an_index_and_sorts_nothing(store: SqlStore, name: str) -> None:
    steps = await plan_of(store, INDEXED[name])
    assert steps
    for step in steps:
        assert re.match(r"SEARCH \w+ USING |CORRELATED SCALAR SUBQUERY |LIST SUBQUERY ", step), steps


@pytest.mark.parametrize("name", sorted(BOUNDED))
async def test_it_walks_only_what_is_alive(store: SqlStore, name: str) -> None:
    steps = [step for step in await plan_of(store, BOUNDED[name]) if not step.startswith("SEARCH ")]
    for step in steps:
        assert re.match(r"SCAN tickets USING INDEX ix_tickets_live_|USING INDEX \w+_pair_secrets_1 FOR IN", step), step


def test_every_statement_is_portable() -> None:
    """Compiled for PostgreSQL as well; that they also run there is another issue's matter."""
    full = KeyFilter(
        AccountName("alice"),
        frozenset(KeyState),
        Origin.EXTERNAL,
        KeyUsage.ENCRYPT_DECRYPT,
        "part",
        newest_first=False,
        tags=TAGS,
    )
    statements = [each for each in vars(queries).values() if isinstance(each, Select | UpdateBase)]
    statements += [queries.keys_listed(full, NOW, offset=1, limit=2), queries.keys_counted(full, NOW)]
    assert len(statements) > 30
    for statement in statements:
        assert str(statement.compile(dialect=DIALECTS["postgresql"]()))


def test_every_table_and_column_has_a_lower_case_name() -> None:
    """Other names would have to be quoted, and databases differ in how they fold them."""
    names = [name for table in METADATA.sorted_tables for name in (table.name, *table.columns.keys())]
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)
