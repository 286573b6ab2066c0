"""Every statement, built once: SQLAlchemy compiles each on its first use and finds it again.

`judged_state`, `COUNT_KEYS`, `DUE_DELETIONS`, `OVERDUE_TICKETS` and `_in_scope` say in SQL what `Key.state`,
`Key.gone`, `Ticket.end` and `KeyScope.holds` say in Python; the contract suite holds each pair together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from hsmkms.core.custody import SEALING_ROLES
from hsmkms.core.keys import KeyState
from hsmkms.store.only_bytes import OnlyBytes
from hsmkms.store.schema import (
    ACCOUNTS,
    AUDIT_CUTS,
    AUDIT_SEALS,
    CREDENTIALS,
    CUSTODY_OBJECTS,
    DEPLOYMENT,
    EVENTS,
    ISSUED,
    KEY_TAGS,
    KEYS,
    MATERIALS,
    OPEN_PAIR,
    PAIR_SECRETS,
    PAIRS,
    TICKETS,
    TOMBSTONES,
)

if TYPE_CHECKING:
    from sqlalchemy import Table

    from hsmkms.core.credentials import KeyScope
    from hsmkms.core.ids import Instant
    from hsmkms.core.ports import KeyFilter, TagFilter

NOW: Final[BindParameter[int]] = bindparam("now")
LIMIT: Final[BindParameter[int]] = bindparam("limit")

# --- keys ------------------------------------------------------------------------------------------------

_WHOLE_KEYS: Final = KEYS.outerjoin(MATERIALS)
ANY_KEY: Final = select(
    *KEYS.c, MATERIALS.c.record, MATERIALS.c.brought_at, MATERIALS.c.valid_to, MATERIALS.c.ticket_id
).select_from(_WHOLE_KEYS)

KEY: Final = ANY_KEY.where(KEYS.c.account == bindparam("account"), KEYS.c.key_id == bindparam("key_id"))
KEY_OF_ANY_ACCOUNT: Final = ANY_KEY.where(KEYS.c.key_id == bindparam("key_id"))
KEYS_NAMED: Final = ANY_KEY.where(
    KEYS.c.account == bindparam("account"), KEYS.c.key_id.in_(bindparam("key_ids", expanding=True))
)
COUNT_KEYS: Final = (
    select(func.count())
    .select_from(KEYS)
    .where(KEYS.c.account == bindparam("account"), or_(KEYS.c.deletion_due.is_(None), KEYS.c.deletion_due > NOW))
)
SEALED_BELOW: Final = (
    ANY_KEY.where(MATERIALS.c.sealing_version < bindparam("version"), MATERIALS.c.key_id > bindparam("after"))
    .order_by(MATERIALS.c.key_id)
    .limit(LIMIT)
)
EXPIRED_KEYS: Final = ANY_KEY.where(MATERIALS.c.valid_to <= NOW).order_by(MATERIALS.c.valid_to).limit(LIMIT)

DUE_DELETIONS: Final = ANY_KEY.where(KEYS.c.deletion_due <= NOW).order_by(KEYS.c.deletion_due).limit(LIMIT)
USES_LEASED: Final = select(KEYS.c.uses_leased).where(KEYS.c.key_id == bindparam("key_id"))
TOMBSTONE: Final = select(TOMBSTONES).where(TOMBSTONES.c.key_id == bindparam("key_id"))

TAGS: Final = (
    select(KEY_TAGS.c.name, KEY_TAGS.c.value)
    .select_from(KEY_TAGS.join(KEYS))
    .where(KEYS.c.account == bindparam("account"), KEYS.c.key_id == bindparam("key_id"))
)

ADD_KEY: Final = insert(KEYS)
ADD_TAGS: Final = insert(KEY_TAGS)
ADD_TOMBSTONE: Final = insert(TOMBSTONES)
REMOVE_KEY: Final = delete(KEYS).where(KEYS.c.key_id == bindparam("this"))
REMOVE_TAGS: Final = delete(KEY_TAGS).where(KEY_TAGS.c.key_id == bindparam("this"))
LEASE_USES: Final = (
    update(KEYS)
    .where(KEYS.c.key_id == bindparam("this"), KEYS.c.uses_leased + bindparam("uses") <= bindparam("most"))
    .values(uses_leased=KEYS.c.uses_leased + bindparam("uses"))
)
ADD_MATERIAL: Final = insert(MATERIALS)
REPLACE_MATERIAL: Final = update(MATERIALS).where(MATERIALS.c.key_id == bindparam("this"))
REMOVE_MATERIAL: Final = delete(MATERIALS).where(MATERIALS.c.key_id == bindparam("this"))


def judged_state(now: Instant) -> ColumnElement[str]:
    """Return the state shown of a key at `now`; the cases are those of `Key.state`, in its order."""
    usable = and_(MATERIALS.c.key_id.is_not(None), or_(MATERIALS.c.valid_to.is_(None), MATERIALS.c.valid_to > now))
    return case(
        (KEYS.c.deletion_due.is_not(None), KeyState.PENDING_DELETE.value),
        (KEYS.c.archived, KeyState.ARCHIVED.value),
        (~usable, KeyState.PENDING_IMPORT.value),
        (KEYS.c.switched_on, KeyState.ENABLED.value),
        else_=KeyState.DISABLED.value,
    )


def filtered(statement: Select[Any], wanted: KeyFilter, now: Instant) -> Select[Any]:
    """Return `statement`, which must select from keys joined with materials, narrowed to the keys wanted."""
    gone = KEYS.c.deletion_due <= now
    statement = statement.where(KEYS.c.account == wanted.account, or_(KEYS.c.deletion_due.is_(None), ~gone))
    if wanted.states is not None:
        statement = statement.where(judged_state(now).in_([each.value for each in wanted.states]))
    if wanted.origin is not None:
        statement = statement.where(KEYS.c.origin == wanted.origin.value)
    if wanted.usage is not None:
        statement = statement.where(KEYS.c.usage == wanted.usage.value)
    if wanted.search:
        statement = statement.where(_holds(wanted.search))
    if wanted.scope.limited:
        statement = statement.where(_in_scope(wanted.scope))
    return statement.where(*(_tagged(each) for each in wanted.tags))


def keys_listed(wanted: KeyFilter, now: Instant, *, offset: int, limit: int) -> Select[Any]:
    """Return the statement of one page of keys."""
    order = (KEYS.c.created_at, KEYS.c.key_id)
    ordered = [column.desc() if wanted.newest_first else column for column in order]
    return filtered(ANY_KEY, wanted, now).order_by(*ordered).offset(offset).limit(limit)


def keys_counted(wanted: KeyFilter, now: Instant) -> Select[Any]:
    """Return the statement that counts all the keys wanted."""
    return filtered(select(func.count()).select_from(_WHOLE_KEYS), wanted, now)


def _holds(part: str) -> ColumnElement[bool]:
    # Not LIKE: it has wildcards, and in SQLite it ignores case. `replace` compares bytes in every database: the text
    # changes exactly if it holds the part.
    if not _storable(part):
        return false()
    return or_(*(func.replace(column, part, "") != column for column in (KEYS.c.key_id, KEYS.c.alias)))


def _tagged(wanted: TagFilter) -> ColumnElement[bool]:
    values = [value for value in wanted.values if _storable(value)]
    if not _storable(wanted.name) or (wanted.values and not values):
        return false()
    tag = select(KEY_TAGS.c.key_id).where(KEY_TAGS.c.key_id == KEYS.c.key_id, KEY_TAGS.c.name == wanted.name)
    return (tag.where(KEY_TAGS.c.value.in_(values)) if values else tag).exists()


def _in_scope(scope: KeyScope) -> ColumnElement[bool]:
    named = KEYS.c.key_id.in_(sorted(scope.key_ids))
    tags = [each for each in sorted(scope.tags) if all(map(_storable, each))]
    if not tags:
        return named
    pairs = (and_(KEY_TAGS.c.name == name, KEY_TAGS.c.value == value) for name, value in tags)
    tag = select(KEY_TAGS.c.key_id).where(KEY_TAGS.c.key_id == KEYS.c.key_id, or_(*pairs))
    return or_(named, tag.exists())


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: no database holds one, and drivers choke on it
        return False
    return "\0" not in text  # nor does PostgreSQL hold that


# --- tickets ---------------------------------------------------------------------------------------------

_LIVE: Final = TICKETS.c.state == ISSUED

TICKET: Final = select(TICKETS).where(TICKETS.c.token_digest == bindparam("token_digest"))
LIVE_TICKETS: Final = (
    select(TICKETS)
    .where(_LIVE, TICKETS.c.key_id == bindparam("key_id"))
    .order_by(TICKETS.c.issued_at, TICKETS.c.ticket_id)
)
OVERDUE_TICKETS: Final = (
    select(TICKETS)
    .where(_LIVE, or_(TICKETS.c.deadline <= NOW, TICKETS.c.attempts >= TICKETS.c.most_attempts))
    .order_by(TICKETS.c.deadline)
    .limit(LIMIT)
)
ADD_TICKET: Final = insert(TICKETS)
REMOVE_TICKETS: Final = delete(TICKETS).where(TICKETS.c.key_id == bindparam("this"))
REMOVE_SOME_TICKETS: Final = delete(TICKETS).where(
    TICKETS.c.ticket_id.in_(
        select(TICKETS.c.ticket_id).where(TICKETS.c.key_id == bindparam("this")).limit(bindparam("most"))
    )
)

# --- pairs -----------------------------------------------------------------------------------------------

_ANY_PAIR: Final = select(*PAIRS.c, PAIR_SECRETS.c.record).select_from(PAIRS.outerjoin(PAIR_SECRETS))

PAIR: Final = _ANY_PAIR.where(PAIRS.c.pair_id == bindparam("pair_id"))
OPEN_PAIR_OF: Final = (
    _ANY_PAIR.where(
        PAIRS.c.account == bindparam("account"),
        PAIRS.c.algorithm == bindparam("algorithm"),
        OPEN_PAIR,
        PAIRS.c.opened_at > bindparam("since"),
    )
    .order_by(PAIRS.c.opened_at)
    .limit(1)
)
IDLE_PAIRS: Final = _ANY_PAIR.where(
    # Not a join: from the few private halves there are to their pairs, never through all pairs there ever were.
    PAIRS.c.pair_id.in_(select(PAIR_SECRETS.c.pair_id)),
    or_(PAIRS.c.closed, PAIRS.c.opened_at < bindparam("opened_before")),
    PAIRS.c.live == 0,
).limit(LIMIT)
ADD_PAIR: Final = insert(PAIRS)
ADD_PAIR_SECRET: Final = insert(PAIR_SECRETS)
REPLACE_PAIR_SECRET: Final = update(PAIR_SECRETS).where(PAIR_SECRETS.c.pair_id == bindparam("this"))
REMOVE_PAIR_SECRET: Final = delete(PAIR_SECRETS).where(PAIR_SECRETS.c.pair_id == bindparam("this"))

# --- accounts and credentials ----------------------------------------------------------------------------

ACCOUNT: Final = select(ACCOUNTS).where(ACCOUNTS.c.name == bindparam("name"))
ADD_ACCOUNT: Final = insert(ACCOUNTS).returning(ACCOUNTS.c.number)
_ANY_CREDENTIAL: Final = select(CREDENTIALS, ACCOUNTS.c.number, ACCOUNTS.c.name).select_from(CREDENTIALS.join(ACCOUNTS))
CREDENTIAL: Final = _ANY_CREDENTIAL.where(CREDENTIALS.c.access_id == bindparam("access_id"))
CREDENTIAL_OF_TOKEN: Final = _ANY_CREDENTIAL.where(CREDENTIALS.c.token_digest == bindparam("token_digest"))
CREDENTIALS_LISTED: Final = _ANY_CREDENTIAL.order_by(ACCOUNTS.c.name, CREDENTIALS.c.created_at, CREDENTIALS.c.access_id)
ADD_CREDENTIAL: Final = insert(CREDENTIALS)
REPLACE_CREDENTIAL: Final = update(CREDENTIALS).where(CREDENTIALS.c.access_id == bindparam("this"))

# --- events ----------------------------------------------------------------------------------------------

_NODE: Final = EVENTS.c.node == bindparam("node")
HEAD: Final = (
    select(EVENTS.c.sequence, OnlyBytes(EVENTS.c.digest).label("digest"))
    .where(_NODE)
    .order_by(EVENTS.c.sequence.desc())
    .limit(1)
)
EVENTS_AFTER: Final = (
    select(EVENTS).where(_NODE, EVENTS.c.sequence >= bindparam("first")).order_by(EVENTS.c.sequence).limit(LIMIT)
)
EVENT_SEQUENCES: Final = EVENTS_AFTER.with_only_columns(EVENTS.c.sequence)
EVENT: Final = select(EVENTS).where(_NODE, EVENTS.c.sequence == bindparam("sequence"))
EVENT_OF_DIGEST: Final = (
    select(EVENTS.c.sequence)
    .where(_NODE, EVENTS.c.sequence > bindparam("after"), EVENTS.c.digest == bindparam("digest"))
    .limit(1)
)
ADD_EVENT: Final = insert(EVENTS).execution_options(preserve_rowcount=True)

_SEALED_NODE: Final = AUDIT_SEALS.c.node == bindparam("node")
LAST_SEAL: Final = select(AUDIT_SEALS).where(_SEALED_NODE).order_by(AUDIT_SEALS.c.sequence.desc()).limit(1)
LAST_SEAL_THERE: Final = LAST_SEAL.with_only_columns(AUDIT_SEALS.c.node)
SEALS_AFTER: Final = (
    select(AUDIT_SEALS)
    .where(_SEALED_NODE, AUDIT_SEALS.c.sequence >= bindparam("first"))
    .order_by(AUDIT_SEALS.c.sequence)
    .limit(LIMIT)
)
SEAL_SEQUENCES: Final = SEALS_AFTER.with_only_columns(AUDIT_SEALS.c.sequence)
SEAL: Final = select(AUDIT_SEALS).where(_SEALED_NODE, AUDIT_SEALS.c.sequence == bindparam("sequence"))
ADD_SEAL: Final = insert(AUDIT_SEALS)
REMOVE_SEAL: Final = delete(AUDIT_SEALS).where(
    AUDIT_SEALS.c.node == bindparam("of"), AUDIT_SEALS.c.block == bindparam("this")
)

CUT: Final = select(AUDIT_CUTS).where(AUDIT_CUTS.c.node == bindparam("node"))
CUT_THERE: Final = CUT.with_only_columns(AUDIT_CUTS.c.node)
ADD_CUT: Final = insert(AUDIT_CUTS)
REMOVE_CUT: Final = delete(AUDIT_CUTS).where(
    AUDIT_CUTS.c.node == bindparam("of"), AUDIT_CUTS.c.sequence == bindparam("seen")
)
_ARCHIVED: Final = (
    select(EVENTS.c.sequence)
    .where(EVENTS.c.node == bindparam("of"), EVENTS.c.sequence <= bindparam("last"))
    .order_by(EVENTS.c.sequence)
    .limit(LIMIT)
)
REMOVE_ARCHIVED: Final = (
    delete(EVENTS).where(EVENTS.c.sequence.in_(_ARCHIVED)).execution_options(preserve_rowcount=True)
)
REMOVE_ARCHIVED_SEALS: Final = delete(AUDIT_SEALS).where(
    AUDIT_SEALS.c.node == bindparam("of"), AUDIT_SEALS.c.sequence <= bindparam("last")
)

NODES: Final = (
    select(EVENTS.c.node).union(select(AUDIT_SEALS.c.node), select(AUDIT_CUTS.c.node)).order_by(EVENTS.c.node)
)

# --- the deployment --------------------------------------------------------------------------------------

DEPLOYMENT_ROW: Final = select(DEPLOYMENT)
OBJECT_ROWS: Final = select(CUSTODY_OBJECTS).order_by(CUSTODY_OBJECTS.c.role, CUSTODY_OBJECTS.c.version)
ADD_DEPLOYMENT: Final = insert(DEPLOYMENT)
ADD_OBJECTS: Final = insert(CUSTODY_OBJECTS)
MAKE_READY: Final = update(DEPLOYMENT).values(ready=True)
PROVE_OBJECT: Final = update(CUSTODY_OBJECTS).where(CUSTODY_OBJECTS.c.role == bindparam("this"))
REMOVE_SEALING_KEYS: Final = delete(CUSTODY_OBJECTS).where(
    CUSTODY_OBJECTS.c.role.in_([each.value for each in SEALING_ROLES]),
    CUSTODY_OBJECTS.c.version == bindparam("this"),
)


def compare_and_swap(table: Table) -> Any:  # noqa: ANN401 - the type of an update of untyped columns
    """Return the statement that replaces the row `this` if its revision is `seen`."""
    (identity,) = table.primary_key.columns
    return update(table).where(identity == bindparam("this"), table.c.revision == bindparam("seen"))


REPLACE_KEY: Final = compare_and_swap(KEYS)
REPLACE_TICKET: Final = compare_and_swap(TICKETS)
REPLACE_PAIR: Final = compare_and_swap(PAIRS)
