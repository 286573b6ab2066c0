"""The database: what is read and written, how, and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from hsmkms.core.credentials import EVERY_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from hsmkms.core.credentials import Credential, KeyScope
    from hsmkms.core.custody import CustodyObject, Deployment
    from hsmkms.core.events import AuditCut, AuditHead, AuditSeal, ChainedEvent, Event
    from hsmkms.core.ids import AccessId, Account, AccountName, Instant, KeyId, PairId
    from hsmkms.core.keys import Key, KeyState, KeyUsage, Origin
    from hsmkms.core.metering import StoreCounts
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.core.wrapping import WrappingAlgorithm


Result = TypeVar("Result")

PATIENCE_SECONDS: Final = 120.0
"""How long `init` waits for another one."""


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys of an account to list; None and an empty string mean: any."""

    account: AccountName
    states: frozenset[KeyState] | None = None
    origin: Origin | None = None
    usage: KeyUsage | None = None
    search: str = ""
    """A part of the key id or of the alias, case-sensitive."""
    newest_first: bool = True
    tags: Sequence[TagFilter] = ()
    """All of them must match."""
    scope: KeyScope = EVERY_KEY
    """Only keys in it."""


@dataclass(frozen=True, slots=True)
class TagFilter:
    """A tag that a key must have, with one of several values."""

    name: str
    values: Sequence[str]
    """None of them: any value."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a deleted key, beside the audit trail."""

    key_id: KeyId
    account: AccountName
    origin: Origin
    created_at: Instant
    deleted_at: Instant


@dataclass(frozen=True, slots=True)
class KeyPage:
    """A part of a list of keys."""

    total: int
    keys: Sequence[Key]


@dataclass(frozen=True, slots=True)
class SealedCount:
    """How much is sealed under one version of the sealing keys."""

    materials: int = 0
    pairs: int = 0


class KeyReading(Protocol):
    """What the rules about one key ask."""

    def key(self, account: AccountName, key_id: KeyId) -> Key | None:
        """Return the account's key of this id."""

    def tags(self, account: AccountName, key_id: KeyId) -> Mapping[str, str]:
        """Return the tags of the account's key; none if there is no such key."""


class Reading(KeyReading, Protocol):
    """One consistent view of the store; it lasts as long as the function that it was given to."""

    def keys(self, account: AccountName, key_ids: Sequence[KeyId]) -> Sequence[Key]:
        """Return those of `key_ids` that are keys of the account, in the order asked for."""

    def list_keys(self, wanted: KeyFilter, now: Instant, *, offset: int, limit: int) -> KeyPage:
        """Return keys by creation time (then id), judged by their state at `now`."""

    def count_keys(self, account: AccountName, now: Instant) -> int:
        """Return how many keys the account has, without those whose deletion is due at `now`."""

    def ticket(self, token_digest: bytes) -> Ticket | None:
        """Return the ticket of the import token with this SHA-256."""

    def live_tickets(self, key_id: KeyId) -> Sequence[Ticket]:
        """Return the key's ISSUED tickets, oldest first."""

    def uses_leased(self, key_id: KeyId) -> int | None:
        """Return how many uses of a key were ever counted; None for one that there is not."""

    def pair(self, pair_id: PairId) -> Pair | None:
        """Return a pair that tickets have taken."""

    def open_pair(self, account: AccountName, algorithm: WrappingAlgorithm, since: Instant) -> Pair | None:
        """Return an unclosed pair of the account and algorithm, opened after `since`."""

    def account(self, name: AccountName) -> Account | None:
        """Return the account of this name."""

    def credential(self, access_id: AccessId) -> Credential | None:
        """Return the credential of this access id."""

    def credential_of_token(self, token_digest: bytes) -> Credential | None:
        """Return the credential of the auth token with this SHA-256."""


class Writing(Reading, Protocol):
    """One transaction: everything in it happens, or nothing does, and nobody else's is seen half-done.

    The `replace_...` methods compare and swap: `new` is written only if the row still has the revision of `old`;
    they return the row as written, with its new revision, and raise `ChangedMeanwhile` otherwise.
    """

    def add_key(self, key: Key, tags: Mapping[str, str] | None = None) -> None:
        """Insert a key with its tags.

        Raises:
            AliasTaken: another key of the account has its alias.
        """

    def replace_key(self, old: Key, new: Key) -> Key:
        """Replace a key; material that `new` does not hold any more is removed from the database."""

    def lease_uses(self, key_id: KeyId, uses: int, most: int) -> bool:
        """Count `uses` more uses of a key; False, and none counted, if it would have more than `most` or is gone."""

    def remove_tickets(self, key_id: KeyId, most: int) -> int:
        """Remove at most `most` tickets of a key, of which none is ISSUED any more, and return how many it were."""

    def delete_key(self, key: Key, deleted_at: Instant) -> None:
        """Remove a key with its material, tags and tickets, of which none is ISSUED any more, and leave a tombstone.

        Raises:
            ChangedMeanwhile: the row has not the revision of `key`.
        """

    def add_ticket(self, ticket: Ticket) -> None:
        """Insert a ticket."""

    def replace_ticket(self, old: Ticket, new: Ticket) -> Ticket:
        """Replace a ticket."""

    def add_pair(self, pair: Pair) -> None:
        """Insert a pair."""

    def replace_pair(self, old: Pair, new: Pair) -> Pair:
        """Replace a pair; a private half that `new` does not hold any more is removed from the database."""

    def ensure_account(self, name: AccountName) -> Account:
        """Return the account of this name, made if there is none."""

    def add_credential(self, credential: Credential) -> None:
        """Insert a credential."""

    def replace_credential(self, credential: Credential) -> None:
        """Write `switched_on`, `valid_to` and `replaced_by` of the credential of this access id."""

    def append(self, *events: Event) -> None:
        """Append to the audit trail, in this order."""

    def seal(self, seal: AuditSeal) -> None:
        """Keep a seal of the trail, in the place of an older one of the same thousand events."""

    def cut(self, old: AuditCut | None, new: AuditCut) -> None:
        """Have a node's trail begin after the cut `new`; until now it begins after `old`.

        Raises:
            ChangedMeanwhile: it does not.
        """

    def remove_archived(self, cut: AuditCut, most: int) -> int:
        """Remove at most `most` events up to a cut that the trail has, with their seals; return how many it were."""


class Store(Protocol):
    """The database.

    What is done in it is a plain function: it waits for nothing but the database, so the database decides in which
    thread it runs, and with which others it is committed.
    """

    async def read(self, question: Callable[[Reading], Result]) -> Result:
        """Return what `question` finds in a consistent view; what it raises is raised here."""

    async def write(self, change: Callable[[Writing], Result]) -> Result:
        """Run `change` in a transaction, commit it durably, and return what it returned.

        What it raises undoes it, and is raised here. It may be run several times before it is committed once, so it
        has no effect but through its `Writing`, and decides by nothing that it read in another transaction.
        """

    async def look_up(self, account: AccountName, key_id: KeyId, *, tagged: bool) -> KeyReading:
        """Return a view of one key, with its tags if `tagged`; it may be remembered.

        It is never older than what this process has changed, nor older than a second where another one has.
        """

    async def expired_keys(self, now: Instant, limit: int) -> Sequence[Key]:
        """Return keys that still hold material whose `valid_to` is not after `now`."""

    async def due_deletions(self, now: Instant, limit: int) -> Sequence[Key]:
        """Return keys whose deletion is due."""

    async def overdue_tickets(self, now: Instant, limit: int) -> Sequence[Ticket]:
        """Return ISSUED tickets whose deadline is not after `now`, or whose attempts are used up."""

    async def idle_pairs(self, opened_before: Instant, limit: int) -> Sequence[Pair]:
        """Return pairs that still have their private half and no ISSUED ticket, and are closed or opened before."""

    async def sealed_below(self, version: int, after: KeyId | None, limit: int) -> Sequence[Key]:
        """Return at most `limit` keys whose material is sealed under a version below `version`.

        By key id, above `after` if it is given: whoever goes on after the last one comes to an end.
        """

    async def erase_deleted(self) -> bool:
        """Make sure that nothing removed so far can be read from the database's files (SQLite: truncate the WAL).

        Returns:
            Whether it is sure now; False where the database's server overwrites in its own time (PostgreSQL).
        """


class Initialising(Protocol):
    """The exclusive right to initialise a deployment, held for the whole of `init`."""

    @property
    def deployment(self) -> Deployment:
        """The deployment as the database has it, with its planned object ids."""

    async def mark_ready(self, deployment: Deployment, event: Event) -> None:
        """Record the proved objects and that the deployment is ready."""

    async def add_sealing_keys(self, made: Sequence[CustodyObject], event: Event) -> None:
        """Record the proved sealing keys of the next version: from now on they seal.

        Raises:
            StoreUnusable: the deployment is not ready, or has this version or a later one.
        """

    async def remove_sealing_keys(self, version: int, event: Event) -> None:
        """Forget the sealing keys of a version; from now on nothing is committed under it, whoever sealed it.

        Raises:
            StoreUnusable: it is the newest, there is none, something is sealed under it still, or the database
                contradicts itself about that.
        """

    async def require_nothing_under(self, version: int) -> None:
        """Return if nothing is sealed under a version, whether the database has its keys or not.

        Raises:
            StoreUnusable: something is, or the database contradicts itself about it.
        """


class DeploymentStore(Protocol):
    """What binds a database to a token."""

    async def deployment(self) -> Deployment | None:
        """Return the deployment, or None in a database that was never initialised."""

    def initialising(
        self, plan: Deployment, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> AbstractAsyncContextManager[Initialising]:
        """Commit `plan` if the database has no deployment yet, then hold the exclusive lock.

        A second process waits for the lock, for some `patience_seconds`, and then finds what the first one left.

        Raises:
            StoreUnavailable: the lock was not to be had in time.
        """


class TrailReading(Protocol):
    """The audit trail of one node: each chains and seals the events that it appends."""

    @property
    def node(self) -> str:
        """Its name; empty where a database has one node."""

    async def events(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        """Return at most `limit` events of a sequence above `after`, in the order of the trail."""

    async def head(self) -> AuditHead | None:
        """Return the newest event's place and digest; None in an empty trail."""

    async def cut(self) -> AuditCut | None:
        """Return where the trail begins after what was archived; None: it begins with its first event.

        What is still there of a sequence up to the cut is in the archive, and on its way out.
        """

    async def last_seal(self) -> AuditSeal | None:
        """Return the newest seal of the trail."""

    async def seals(self, after: int, limit: int) -> Sequence[AuditSeal]:
        """Return at most `limit` seals of events above the sequence `after`, in the order of the trail."""


class Inspection(Protocol):
    """What the operator's own commands and the audit read; no request of a caller may use it."""

    async def find_key(self, key_id: KeyId) -> Key | None:
        """Return the key of this id, whatever its account."""

    async def find_tombstone(self, key_id: KeyId) -> Tombstone | None:
        """Return what is left of a deleted key."""

    async def credentials(self) -> Sequence[Credential]:
        """Return every credential, by account and creation time."""

    async def nodes(self) -> Sequence[str]:
        """Return the nodes that have a trail, by name."""

    def trail(self, node: str | None = None) -> TrailReading:
        """Return the trail of a node; of this one, if none is named."""

    async def sealed_counts(self) -> Mapping[int, SealedCount]:
        """Return how much is sealed under each version, of those that there is anything under."""

    async def counts(self, now: Instant) -> StoreCounts:
        """Return how much of what there is at `now`; it takes the longer the more there is."""
