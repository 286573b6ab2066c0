"""The tables, as the newest migration leaves them.

| table | one row is |
|---|---|
| deployment | what this database and its token are to each other; there is at most one row |
| custody_objects | a long-lived object in the token, with its known answer; of a sealing key, one for each version |
| accounts | a tenant; its number is what integer fields of an API show and is never given twice |
| credentials | an access id, what proves it (a sealed secret, or the SHA-256 of an auth token), and what it may do |
| keys | a customer's key; outlives its material, and keeps the fingerprint |
| key_tags | a name and a value that a customer gave a key |
| tombstones | what is left of a key that was deleted; refers to no key |
| materials | what a key holds at present: deleted with the material |
| tickets | the right to import into one key once; knows its import token by SHA-256 only |
| pairs | a wrapping pair that tickets have taken |
| pair_secrets | its sealed private half: deleted at the pair's end |
| events | the audit trail with its hash chain; refers to nothing, so that it outlives everything |
| audit_seals | a MAC of the token over the trail up to an event: one for each thousand events |
| audit_cuts | a MAC of the token over the last event of a node's trail that was archived: what follows is there |

Instants are Unix time in milliseconds. `revision` is what compare-and-swap compares.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

from hsmkms.core.tickets import TicketState

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(constraint_name)s",
    }
)

ISSUED: Final[ColumnElement[str]] = literal_column(f"'{TicketState.ISSUED.value}'")
"""Written into the statement: a planner does not use a partial index for a parameter it cannot see."""

# SQLite numbers rows only in a column of type INTEGER; there it has 64 bits anyway.
_SEQUENCE: Final = BigInteger().with_variant(Integer(), "sqlite")


def _instant(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _revision() -> Column[int]:
    return Column("revision", BigInteger, nullable=False)


def _sealing_version() -> Column[int]:
    """Which version of the sealing keys the row's record is under: its head says so, and nothing else decides it."""
    return Column("sealing_version", Integer, nullable=False, server_default=text("1"))


DEPLOYMENT: Final = Table(
    "deployment",
    METADATA,
    Column("only_row", Integer, primary_key=True, autoincrement=False),
    Column("deployment_id", String(36), nullable=False),
    Column("edition", String(8), nullable=False),
    Column("ready", Boolean, nullable=False),
    _instant("created_at"),
    Column("token_serial", Text, nullable=False),
    CheckConstraint("only_row = 1", name="only_row"),
)

CUSTODY_OBJECTS: Final = Table(
    "custody_objects",
    METADATA,
    Column("role", String(32), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False, server_default=text("1")),
    Column("object_id", LargeBinary, nullable=False, unique=True),
    Column("challenge", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("transferable", Boolean, nullable=False, server_default=text("false")),
    _instant("made_at", nullable=True),
)

ACCOUNTS: Final = Table(
    "accounts",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

CREDENTIALS: Final = Table(
    "credentials",
    METADATA,
    Column("access_id", Text, primary_key=True),
    Column("account_number", Integer, ForeignKey(ACCOUNTS.c.number), nullable=False),
    Column("roles", Text, nullable=False),
    Column("record", LargeBinary, nullable=True),
    _instant("created_at"),
    Column("switched_on", Boolean, nullable=False),
    Column("token_digest", LargeBinary, nullable=True, unique=True),
    Column("scope", Text, nullable=True),
    _instant("valid_to", nullable=True),
    Column("replaced_by", Text, nullable=True),
    CheckConstraint("(record IS NULL) <> (token_digest IS NULL)", name="one_proof"),
)

KEYS: Final = Table(
    "keys",
    METADATA,
    Column("key_id", String(36), primary_key=True),
    Column("account", String(64), ForeignKey(ACCOUNTS.c.name), nullable=False),
    Column("alias", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("usage", String(32), nullable=False),
    Column("origin", String(32), nullable=False),
    _instant("created_at"),
    Column("switched_on", Boolean, nullable=False),
    Column("archived", Boolean, nullable=False),
    _instant("deletion_due", nullable=True),
    Column("generation", Integer, nullable=False),
    Column("uses_leased", BigInteger, nullable=False, server_default=text("0")),
    Column("fingerprint_algorithm", Text, nullable=True),
    Column("fingerprint_digest", LargeBinary, nullable=True),
    _revision(),
    UniqueConstraint("account", "alias"),
    CheckConstraint("(fingerprint_algorithm IS NULL) = (fingerprint_digest IS NULL)", name="whole_fingerprint"),
)
Index("listed", KEYS.c.account, KEYS.c.created_at, KEYS.c.key_id)
_DUE: Final = KEYS.c.deletion_due.is_not(None)
Index("due", KEYS.c.deletion_due, sqlite_where=_DUE, postgresql_where=_DUE)

KEY_TAGS: Final = Table(
    "key_tags",
    METADATA,
    Column("key_id", String(36), ForeignKey(KEYS.c.key_id), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

TOMBSTONES: Final = Table(
    "tombstones",
    METADATA,
    Column("key_id", String(36), primary_key=True),
    Column("account", String(64), ForeignKey(ACCOUNTS.c.name), nullable=False),
    Column("origin", String(32), nullable=False),
    _instant("created_at"),
    _instant("deleted_at"),
)

MATERIALS: Final = Table(
    "materials",
    METADATA,
    Column("key_id", String(36), ForeignKey(KEYS.c.key_id), primary_key=True),
    Column("record", LargeBinary, nullable=False),
    _instant("brought_at"),
    _instant("valid_to", nullable=True),
    Column("ticket_id", String(36), nullable=True),
    _sealing_version(),
)
_EXPIRING: Final = MATERIALS.c.valid_to.is_not(None)
Index("expiring", MATERIALS.c.valid_to, sqlite_where=_EXPIRING, postgresql_where=_EXPIRING)
# Not by key id, too: what is new goes to one end of it, in the order of the rows, and costs an import next to nothing.
Index("sealing_version", MATERIALS.c.sealing_version)

PAIRS: Final = Table(
    "pairs",
    METADATA,
    Column("pair_id", String(36), primary_key=True),
    Column("account", String(64), ForeignKey(ACCOUNTS.c.name), nullable=False),
    Column("algorithm", String(32), nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    _instant("opened_at"),
    Column("tickets", Integer, nullable=False),
    Column("live", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("closed", Boolean, nullable=False),
    _revision(),
)
OPEN_PAIR: Final = text("NOT closed")
"""Written out, for the reason given at `ISSUED`; databases differ in how they compare a truth value."""
Index(
    "open",
    PAIRS.c.account,
    PAIRS.c.algorithm,
    PAIRS.c.opened_at,
    sqlite_where=OPEN_PAIR,
    postgresql_where=OPEN_PAIR,
)

PAIR_SECRETS: Final = Table(
    "pair_secrets",
    METADATA,
    Column("pair_id", String(36), ForeignKey(PAIRS.c.pair_id), primary_key=True),
    Column("record", LargeBinary, nullable=False),
    _sealing_version(),
)

TICKETS: Final = Table(
    "tickets",
    METADATA,
    Column("ticket_id", String(36), primary_key=True),
    Column("token_digest", LargeBinary, nullable=False, unique=True),
    Column("account", String(64), ForeignKey(ACCOUNTS.c.name), nullable=False),
    Column("key_id", String(36), ForeignKey(KEYS.c.key_id), nullable=False),
    Column("pair_id", String(36), ForeignKey(PAIRS.c.pair_id), nullable=False),
    Column("algorithm", String(32), nullable=False),
    _instant("issued_at"),
    _instant("deadline"),
    Column("most_attempts", Integer, nullable=False),
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("given_back", Integer, nullable=False),
    Column("spent_digest", LargeBinary, nullable=True),
    _instant("spent_valid_to", nullable=True),
    _revision(),
)
_LIVE: Final = TICKETS.c.state == ISSUED
Index(
    "live_by_key",
    TICKETS.c.key_id,
    TICKETS.c.issued_at,
    TICKETS.c.ticket_id,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)
Index("by_key", TICKETS.c.key_id)
Index("live_by_deadline", TICKETS.c.deadline, sqlite_where=_LIVE, postgresql_where=_LIVE)

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("node", Text, nullable=False, server_default=text("''")),
    Column("tag", Text, nullable=False),
    _instant("at"),
    Column("account", Text, nullable=True),
    Column("actor", Text, nullable=False),
    Column("key_id", Text, nullable=True),
    Column("request_id", Text, nullable=True),
    Column("detail", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("chain", EVENTS.c.node, EVENTS.c.sequence)

AUDIT_SEALS: Final = Table(
    "audit_seals",
    METADATA,
    Column("node", Text, primary_key=True, server_default=text("''")),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)
Index("sealed", AUDIT_SEALS.c.node, AUDIT_SEALS.c.sequence)

AUDIT_CUTS: Final = Table(
    "audit_cuts",
    METADATA,
    Column("node", Text, primary_key=True, server_default=text("''")),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

for _column in (column for table in METADATA.tables.values() for column in table.columns):
    if isinstance(_column.type, String):
        # PostgreSQL: in the order of the bytes, as SQLite has it. Any other order may change with the system's C
        # library, and then indices made before find nothing (wiki.postgresql.org/wiki/Locale_data_changes).
        _column.type = _column.type.with_variant(type(_column.type)(_column.type.length, collation="C"), "postgresql")
