"""What the service needs of the world, spoken in core types only.

Laws for every implementation:

- it raises `HsmkmsError` leaves and nothing else;
- it blocks no event loop, and gives up at a deadline of its own with a `TemporarilyUnavailable`;
- the contract suites in `tests/contract/` pass on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hsmkms.core.credentials import EVERY_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from hsmkms.core.ciphertexts import CipherAlgorithm
    from hsmkms.core.credentials import Credential, KeyScope
    from hsmkms.core.custody import CustodyObject, Deployment
    from hsmkms.core.events import AuditHead, AuditSeal, ChainedEvent, Event
    from hsmkms.core.ids import AccessId, Account, AccountName, Instant, KeyId, PairId
    from hsmkms.core.keys import Key, KeyState, KeyUsage, Origin
    from hsmkms.core.material import Fingerprint, SealedMaterial
    from hsmkms.core.records import RecordIdentity
    from hsmkms.core.secrets import Plaintext, SecretKey
    from hsmkms.core.tickets import FreshPair, Pair, Ticket
    from hsmkms.core.wrapping import WrappingAlgorithm


class Clock(Protocol):
    """The present."""

    def now(self) -> Instant:
        """Return the present instant."""


class Timer(Protocol):
    """Seconds that only go forward, as the event loop counts them."""

    def seconds(self) -> float:
        """Return the seconds since some moment in the past."""

    async def sleep_until(self, seconds: float) -> None:
        """Return when `seconds` has come."""


# --- the token -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """All that a host needs to import one key's material."""

    owner: RecordIdentity
    pair: RecordIdentity
    pair_record: bytes = field(repr=False)
    algorithm: WrappingAlgorithm
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MaterialEvidence:
    """What the token says of a key's material, just unsealed for the purpose."""

    attributes: Mapping[str, bool | int | str | None]
    """PKCS#11 attribute names without CKA_, as read; None: the token does not report it."""
    length_bits: int
    length_proof: str
    """How the length is known, in words for an auditor."""
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class HeldMaterial:
    """A key's material as a host needs it to use the key."""

    owner: RecordIdentity
    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key made in the token."""

    ciphertext: bytes = field(repr=False)
    plaintext: Plaintext | None
    """None unless it was asked for: then it never left the host."""


class Hsm(Protocol):
    """The token, behind its hosts.

    Every method may raise a `TokenUnavailable`; nothing was judged then, and whoever counted an attempt gives it back.
    `TokenNotAsked`: no host was free in time, and nothing reached the token. `TokenGaveNoAnswer`: the host died or
    missed its deadline, or the token is sick; what the token did with it is not known.
    """

    @property
    def algorithms(self) -> frozenset[WrappingAlgorithm]:
        """The wrapping algorithms whose round trips this token passed at start-up."""

    async def make_pair(self, identity: RecordIdentity, bits: int) -> FreshPair:
        """Generate an RSA pair of `bits` in the token; `identity.owner` becomes its id."""

    async def import_material(self, order: ImportOrder) -> SealedMaterial:
        """Unwrap, prove the length, fingerprint, seal and bind, all inside the token.

        Raises:
            MaterialUndecryptable: the token refuses the ciphertext, or it is not below the modulus.
            MaterialLengthWrong: it unwraps, to another length than the edition's.
            RecordBroken: the pair's record does not open.
        """

    async def generate_material(self, owner: RecordIdentity) -> SealedMaterial:
        """Generate material of the edition's length in the token, and seal and bind it."""

    async def inspect_material(self, owner: RecordIdentity, record: bytes) -> MaterialEvidence:
        """Unseal a record for its owner and read back what the token says of the object.

        Raises:
            RecordBroken: the record does not open for this owner.
        """

    @property
    def ciphers(self) -> frozenset[CipherAlgorithm]:
        """The algorithms of `core.ciphertexts` whose round trips this token passed at start-up."""

    async def encrypt(self, material: HeldMaterial, plaintext: Plaintext, context: bytes) -> bytes:
        """Return `plaintext` as a ciphertext of `core.ciphertexts`, bound to `context`.

        Raises:
            RecordBroken: the record does not open for its owner.
        """

    async def decrypt(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> Plaintext:
        """Return the plaintext of a ciphertext that this material made with this context.

        Raises:
            CiphertextInvalid: it did not.
            RecordBroken: the record does not open for its owner.
        """

    async def require_decryptable(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> None:
        """Decrypt as `decrypt` does, and return nothing; the plaintext does not leave the host.

        Raises:
            CiphertextInvalid, RecordBroken: as `decrypt`.
        """

    async def re_encrypt(
        self, source: HeldMaterial, ciphertext: bytes, context: bytes, target: HeldMaterial, target_context: bytes
    ) -> bytes:
        """Decrypt and encrypt anew; the plaintext does not leave the host.

        Raises:
            CiphertextInvalid: `source` did not make it with `context`.
            RecordBroken: a record does not open for its owner.
        """

    async def make_data_key(self, material: HeldMaterial, size: int, context: bytes, *, shown: bool) -> DataKey:
        """Make `size` random bytes in the token and encrypt them.

        Raises:
            RecordBroken: the record does not open for its owner.
        """

    async def random(self, size: int) -> Plaintext:
        """Return `size` bytes of the token's random generator."""

    async def seal_head(self, deployment_id: str, head: AuditHead) -> bytes:
        """Return the token's MAC (32 bytes) over the head of the deployment's audit trail."""

    async def holds_seal(self, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
        """Tell whether the token made `mac` over this head."""

    async def protect_secret(self, identity: RecordIdentity, secret: SecretKey) -> bytes:
        """Return a credential's secret as a record under the credential key."""

    async def open_secret(self, identity: RecordIdentity, record: bytes) -> SecretKey:
        """Return the secret of a credential's record.

        Raises:
            RecordBroken: the record does not open for this identity.
        """


class Custodian(Protocol):
    """A host that may make the long-lived objects of a deployment."""

    @property
    def token_serial(self) -> str:
        """The serial number of the token."""

    async def make_objects(self, deployment: Deployment) -> tuple[CustodyObject, ...]:
        """Remove half-made objects of this deployment, make all anew, prove them and flush the token to disk.

        Raises:
            TokenUnusable: the token did not make what it was asked for.
        """

    async def prove_objects(self, deployment: Deployment) -> None:
        """Return if every object is there once, as it was made, and answers as it did then; change nothing.

        Raises:
            TokenUnusable: one is absent, doubled or different.
        """


# --- the store -----------------------------------------------------------------------------------------


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


class Reading(Protocol):
    """One consistent view of the store."""

    async def key(self, account: AccountName, key_id: KeyId) -> Key | None:
        """Return the account's key of this id."""

    async def keys(self, account: AccountName, key_ids: Sequence[KeyId]) -> Sequence[Key]:
        """Return those of `key_ids` that are keys of the account, in the order asked for."""

    async def tags(self, account: AccountName, key_id: KeyId) -> Mapping[str, str]:
        """Return the tags of the account's key; none if there is no such key."""

    async def list_keys(self, wanted: KeyFilter, now: Instant, *, offset: int, limit: int) -> KeyPage:
        """Return keys by creation time (then id), judged by their state at `now`."""

    async def count_keys(self, account: AccountName, now: Instant) -> int:
        """Return how many keys the account has, without those whose deletion is due at `now`."""

    async def ticket(self, token_digest: bytes) -> Ticket | None:
        """Return the ticket of the import token with this SHA-256."""

    async def live_tickets(self, key_id: KeyId) -> Sequence[Ticket]:
        """Return the key's ISSUED tickets, oldest first."""

    async def uses_leased(self, key_id: KeyId) -> int | None:
        """Return how many uses of a key were ever counted; None for one that there is not."""

    async def pair(self, pair_id: PairId) -> Pair | None:
        """Return a pair that tickets have taken."""

    async def open_pair(self, account: AccountName, algorithm: WrappingAlgorithm, since: Instant) -> Pair | None:
        """Return an unclosed pair of the account and algorithm, opened after `since`."""

    async def account(self, name: AccountName) -> Account | None:
        """Return the account of this name."""

    async def credential(self, access_id: AccessId) -> Credential | None:
        """Return the credential of this access id."""

    async def credential_of_token(self, token_digest: bytes) -> Credential | None:
        """Return the credential of the auth token with this SHA-256."""


class Writing(Reading, Protocol):
    """One transaction: everything in it happens, or nothing does.

    The `replace_...` methods compare and swap: `new` is written only if the row still has the revision of `old`;
    they return the row as written, with its new revision, and raise `ChangedMeanwhile` otherwise.
    """

    async def add_key(self, key: Key, tags: Mapping[str, str] | None = None) -> None:
        """Insert a key with its tags.

        Raises:
            AliasTaken: another key of the account has its alias.
        """

    async def replace_key(self, old: Key, new: Key) -> Key:
        """Replace a key; material that `new` does not hold any more is removed from the database."""

    async def lease_uses(self, key_id: KeyId, uses: int, most: int) -> bool:
        """Count `uses` more uses of a key; False, and none counted, if it would have more than `most` or is gone."""

    async def delete_key(self, key: Key, deleted_at: Instant) -> None:
        """Remove a key with its material, tags and tickets, of which none is ISSUED any more, and leave a tombstone.

        Raises:
            ChangedMeanwhile: the row has not the revision of `key`.
        """

    async def add_ticket(self, ticket: Ticket) -> None:
        """Insert a ticket."""

    async def replace_ticket(self, old: Ticket, new: Ticket) -> Ticket:
        """Replace a ticket."""

    async def add_pair(self, pair: Pair) -> None:
        """Insert a pair."""

    async def replace_pair(self, old: Pair, new: Pair) -> Pair:
        """Replace a pair; a private half that `new` does not hold any more is removed from the database."""

    async def ensure_account(self, name: AccountName) -> Account:
        """Return the account of this name, made if there is none."""

    async def add_credential(self, credential: Credential) -> None:
        """Insert a credential."""

    async def replace_credential(self, credential: Credential) -> None:
        """Write `switched_on`, `valid_to` and `replaced_by` of the credential of this access id."""

    async def append(self, *events: Event) -> None:
        """Append to the audit trail, in this order."""

    async def head(self) -> AuditHead | None:
        """Return the newest event's place and digest; None in an empty trail."""

    async def seal(self, seal: AuditSeal) -> None:
        """Keep a seal of the trail, in the place of an older one of the same thousand events."""


class Store(Protocol):
    """The database."""

    def reading(self) -> AbstractAsyncContextManager[Reading]:
        """Open a consistent view."""

    def writing(self) -> AbstractAsyncContextManager[Writing]:
        """Open a transaction; leaving the block without an exception commits it durably."""

    async def expired_keys(self, now: Instant, limit: int) -> Sequence[Key]:
        """Return keys that still hold material whose `valid_to` is not after `now`."""

    async def due_deletions(self, now: Instant, limit: int) -> Sequence[Key]:
        """Return keys whose deletion is due."""

    async def overdue_tickets(self, now: Instant, limit: int) -> Sequence[Ticket]:
        """Return ISSUED tickets whose deadline is not after `now`, or whose attempts are used up."""

    async def idle_pairs(self, opened_before: Instant, limit: int) -> Sequence[Pair]:
        """Return pairs that still have their private half and no ISSUED ticket, and are closed or opened before."""

    async def erase_deleted(self) -> None:
        """Make sure that nothing removed so far can be read from the database's files (SQLite: truncate the WAL)."""


class Initialising(Protocol):
    """The exclusive right to initialise a deployment, held for the whole of `init`."""

    @property
    def deployment(self) -> Deployment:
        """The deployment as the database has it, with its planned object ids."""

    async def mark_ready(self, deployment: Deployment, event: Event) -> None:
        """Record the proved objects and that the deployment is ready."""


class DeploymentStore(Protocol):
    """What binds a database to a token."""

    async def deployment(self) -> Deployment | None:
        """Return the deployment, or None in a database that was never initialised."""

    def initialising(self, plan: Deployment) -> AbstractAsyncContextManager[Initialising]:
        """Commit `plan` if the database has no deployment yet, then hold the exclusive lock.

        A second process waits for the lock, and then finds what the first one left.

        Raises:
            StoreUnavailable: the lock was not to be had in time.
        """


class Inspection(Protocol):
    """What the operator's own commands and the audit read; no request of a caller may use it."""

    async def find_key(self, key_id: KeyId) -> Key | None:
        """Return the key of this id, whatever its account."""

    async def find_tombstone(self, key_id: KeyId) -> Tombstone | None:
        """Return what is left of a deleted key."""

    async def credentials(self) -> Sequence[Credential]:
        """Return every credential, by account and creation time."""

    async def events(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        """Return at most `limit` events of a sequence above `after`, in the order of the trail."""

    async def last_seal(self) -> AuditSeal | None:
        """Return the newest seal of the trail."""

    async def seals(self, after: int, limit: int) -> Sequence[AuditSeal]:
        """Return at most `limit` seals of events above the sequence `after`, in the order of the trail."""
