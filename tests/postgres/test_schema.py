"""The schema on a server: made once, refused by name where somebody changed it, and brought up to date by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnusable
from hsmkms.store.database import open_store
from hsmkms.store.postgresql import writing_engine
from hsmkms.store.postgresql_integrity import require_untouched
from hsmkms.store.urls import PostgresDatabase, database_of
from hsmkms.store.versions import VERSION_TABLE, upgrade
from tests.contract.store_contract import key, put, stored
from tests.postgres.server import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from hsmkms.store.database import SqlStore
    from tests.postgres.server import PostgresServer

_FUNCTION: Final = "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
_CASCADING: Final = "FOREIGN KEY (key_id) REFERENCES keys ON DELETE CASCADE"
CHANGES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "a trigger": (
        (_FUNCTION, "CREATE TRIGGER quiet BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION swallow()"),
        "holds the trigger quiet",
    ),
    "a rule": (("CREATE RULE quiet AS ON INSERT TO events DO INSTEAD NOTHING",), "holds the rule quiet"),
    "a view": (("CREATE VIEW shown AS SELECT * FROM keys",), "holds the view shown"),
    "a materialized view": (("CREATE MATERIALIZED VIEW shown AS SELECT * FROM keys",), "holds the view shown"),
    "a view in place of a table": (
        ("ALTER TABLE events RENAME TO kept", "CREATE VIEW events AS SELECT * FROM kept WHERE actor <> 'ak-1'"),
        "holds the view events",
    ),
    "a policy": (("CREATE POLICY mine ON events USING (false)",), "holds the policy mine"),
    "row security": (("ALTER TABLE events ENABLE ROW LEVEL SECURITY",), "holds the table events otherwise"),
    "an heir": (
        ("CREATE SCHEMA aside", "CREATE TABLE aside.more () INHERITS (events)"),
        "holds the table more, which",
    ),
    "another table": (("CREATE TABLE other (one INTEGER)",), "holds the table other"),
    "a table that is gone": (("DROP TABLE audit_cuts",), "lacks the table audit_cuts"),
    "a table that forgets": (("ALTER TABLE key_tags SET UNLOGGED",), "holds the table key_tags otherwise"),
    "another index": (("CREATE UNIQUE INDEX once ON events (actor)",), "holds the index once"),
    "an index that is gone": (("DROP INDEX ix_keys_due",), "lacks the index ix_keys_due"),
    "an index over other rows": (
        ("DROP INDEX ix_keys_due", "CREATE INDEX ix_keys_due ON keys (deletion_due)"),
        "holds the index ix_keys_due otherwise",
    ),
    "a column more": (("ALTER TABLE events ADD COLUMN more TEXT",), "holds the column events.more"),
    "a column less": (("ALTER TABLE keys DROP COLUMN description",), "lacks the column keys.description"),
    "another type": (
        ("ALTER TABLE keys ALTER COLUMN generation TYPE smallint",),
        "holds the column keys.generation otherwise",
    ),
    "another default": (
        ("ALTER TABLE events ALTER COLUMN actor SET DEFAULT 'nobody'",),
        "holds the column events.actor otherwise",
    ),
    "a value that need not be there": (
        ("ALTER TABLE events ALTER COLUMN digest DROP NOT NULL",),
        "holds the column events.digest otherwise",
    ),
    "another order": (
        ('ALTER TABLE keys ALTER COLUMN alias TYPE text COLLATE "POSIX"',),
        "holds the column keys.alias otherwise",
    ),
    "another constraint": (
        ("ALTER TABLE events ADD CONSTRAINT quiet CHECK (actor <> 'ak-1')",),
        "holds the constraint quiet",
    ),
    "a constraint that is gone": (
        ("ALTER TABLE keys DROP CONSTRAINT ck_keys_whole_fingerprint",),
        "lacks the constraint ck_keys_whole_fingerprint",
    ),
    "a function in the place of the server's": (
        ("CREATE FUNCTION replace(varchar, varchar, varchar) RETURNS varchar LANGUAGE sql RETURN ''",),
        "holds the function replace",
    ),
    "an operator in the place of the server's": (
        (
            "CREATE SCHEMA aside",
            "CREATE FUNCTION aside.same(varchar, varchar) RETURNS boolean LANGUAGE sql RETURN true",
            "CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = aside.same)",
        ),
        "holds the operator =",
    ),
    "a constraint that cascades": (
        (
            "ALTER TABLE materials DROP CONSTRAINT fk_materials_key_id",
            f"ALTER TABLE materials ADD CONSTRAINT fk_materials_key_id {_CASCADING}",
        ),
        "holds the constraint fk_materials_key_id otherwise",
    ),
}


@pytest.fixture
def owning(postgres: PostgresServer, template: str) -> Iterator[Connection]:
    """A connection that may do anything in a database with the newest schema, of which nothing remains."""
    engine = writing_engine(_database(postgres.url(template)), 5)
    with engine.connect() as connection:
        yield connection
        connection.rollback()
    engine.dispose()


def _database(url: str) -> PostgresDatabase:
    database = database_of(url)
    assert isinstance(database, PostgresDatabase)
    return database


@pytest.mark.parametrize("change", CHANGES)
def test_what_this_program_did_not_make_is_found_by_name(owning: Connection, change: str) -> None:
    statements, said = CHANGES[change]
    require_untouched(owning, "PLACE", VERSION_TABLE)
    for statement in statements:
        owning.exec_driver_sql(statement)
    with pytest.raises(StoreUnusable, match=said):
        require_untouched(owning, "PLACE", VERSION_TABLE)


async def refusal(url: str) -> str:
    with pytest.raises(StoreUnusable) as refused:
        await (await open_store(url, link=link, busy_seconds=5)).close()
    return refused.value.message


async def test_a_changed_schema_is_not_opened(postgres: PostgresServer, own: str) -> None:
    with postgres.connect(own) as connection:
        connection.execute("CREATE VIEW shown AS SELECT * FROM keys")
    assert "holds the view shown" in await refusal(postgres.url(own))
    with pytest.raises(StoreUnusable, match="holds the view shown"):
        await upgrade(postgres.url(own))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE {} SET version_num = '9999'", "has a newer schema"),
        ("UPDATE {} SET version_num = '0001'", "has an older schema than this program; run 'hsmkms init'."),
        ("DELETE FROM {}", "has an older schema"),
        ("DROP TABLE {}", "belongs to another program"),
        ("DROP SCHEMA public CASCADE; CREATE SCHEMA public", "has an older schema"),
    ],
)
async def test_another_version_is_refused_with_its_cure(
    postgres: PostgresServer, own: str, change: str, said: str
) -> None:
    with postgres.connect(own) as connection:
        connection.execute(change.format(VERSION_TABLE))
    assert said in await refusal(postgres.url(own))


async def test_of_several_who_make_the_schema_one_does(postgres: PostgresServer) -> None:
    with postgres.database() as name:
        url = postgres.url(name)
        assert await asyncio.gather(*(upgrade(url) for _ in range(3))) == [False] * 3
        store = await open_store(url, link=link, busy_seconds=5)
        one = key()
        await put(store, one)
        assert not await upgrade(url)
        assert await stored(store, one) == one
        await store.close()


async def test_a_table_of_another_schema_does_not_stand_in_for_ours(
    postgres: PostgresServer, store: SqlStore, shared: str
) -> None:
    with postgres.connect(shared) as connection:
        connection.execute(f"CREATE SCHEMA {OWNER} CREATE TABLE keys (one integer)")
    try:
        one = key()
        await put(store, one)
        assert await stored(store, one) == one
    finally:
        with postgres.connect(shared) as connection:
            connection.execute(f"DROP SCHEMA {OWNER} CASCADE")
