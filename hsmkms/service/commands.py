"""Commands and outcomes: the one language that every dialect compiles to.

Laws:

- a command is well-formed by the dialect's rules and not yet judged by the core's;
- what a dialect's cloud decides differently is a value in the command (`policy`), never a branch in the service;
- an outcome holds core types; the dialect chooses fields, units and spelling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hsmkms.core.ciphertexts import NO_CONTEXT
from hsmkms.core.credentials import EVERY_KEY
from hsmkms.core.keys import DEFAULT_POLICY, KeyUsage, Origin, StatePolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hsmkms.core.credentials import KeyScope, Role
    from hsmkms.core.ids import AccessId, Account, Instant, KeyId
    from hsmkms.core.keys import Key, KeyState
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import TagFilter
    from hsmkms.core.secrets import ImportToken, Plaintext, SecretKey
    from hsmkms.core.wrapping import WrappingAlgorithm

# --- commands ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make a key: external (its material to be imported) or generated in the token. Outcome: `KeyShown`."""

    alias: str
    description: str = ""
    origin: Origin = Origin.GENERATED
    usage: KeyUsage = KeyUsage.ENCRYPT_DECRYPT
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DescribeKey:
    """Show one key. Outcome: `KeyShown`."""

    key_id: KeyId


@dataclass(frozen=True, slots=True)
class DescribeKeys:
    """Show several keys, all of which must exist. Outcome: `KeysShown`, in the order asked for."""

    key_ids: Sequence[KeyId]


@dataclass(frozen=True, slots=True)
class ListKeys:
    """Show a part of the account's keys by creation time. Outcome: `KeysShown`."""

    offset: int
    limit: int
    states: frozenset[KeyState] | None = None
    origin: Origin | None = None
    usage: KeyUsage | None = None
    search: str = ""
    newest_first: bool = True
    tags: Sequence[TagFilter] = ()


@dataclass(frozen=True, slots=True)
class GetImportParameters:
    """Issue a ticket. Outcome: `ImportParameters`."""

    key_id: KeyId
    algorithm: WrappingAlgorithm
    algorithm_field: str
    """The field's name in the dialect, for the refusal of an algorithm that is not offered."""
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class ImportMaterial:
    """Import wrapped material. Outcome: `Done`."""

    key_id: KeyId
    import_token: ImportToken
    ciphertext: bytes = field(repr=False)
    valid_to: Instant | None
    algorithm_field: str = "WrappingAlgorithm"
    """As in `GetImportParameters`."""
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class DeleteMaterial:
    """Remove imported material. Outcome: `Done`."""

    key_id: KeyId
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class SwitchKey:
    """Enable or disable a key. Outcome: `KeyShown`."""

    key_id: KeyId
    on: bool
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class SwitchKeys:
    """Enable or disable several keys, all or none. Outcome: `Done`."""

    key_ids: Sequence[KeyId]
    on: bool
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class ScheduleDeletion:
    """Delete a key in some days; until then it is of no use. Outcome: `KeyShown`."""

    key_id: KeyId
    days: int
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class CancelDeletion:
    """Keep a key whose deletion is scheduled. Outcome: `KeyShown`."""

    key_id: KeyId
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class ArchiveKey:
    """Put a key into the archive, where it only decrypts, or take it out as it was. Outcome: `KeyShown`."""

    key_id: KeyId
    archived: bool
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class EnableRotation:
    """Rotate a key from time to time, which no key here can do: always refused, by the reason. Outcome: none."""

    key_id: KeyId


@dataclass(frozen=True, slots=True)
class Encrypt:
    """Encrypt with a key. Outcome: `Encrypted`."""

    key_id: KeyId
    plaintext: Plaintext
    context: bytes = NO_CONTEXT
    """Canonical, by `core.ciphertexts`; here and below."""
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class Decrypt:
    """Decrypt with the key that a ciphertext names. Outcome: `Decrypted`."""

    ciphertext: bytes = field(repr=False)
    context: bytes = NO_CONTEXT
    key_id: KeyId | None = None
    """If given, the key that the ciphertext must name."""
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class ReEncrypt:
    """Decrypt, and encrypt with another key or context; in the token's host. Outcome: `ReEncrypted`."""

    ciphertext: bytes = field(repr=False)
    context: bytes = NO_CONTEXT
    target: KeyId | None = None
    """None: the key that the ciphertext names."""
    target_context: bytes = NO_CONTEXT
    key_id: KeyId | None = None
    """If given, the key that the ciphertext must name."""
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class MakeDataKey:
    """Make a data key of `size` bytes in the token. Outcome: `DataKeyMade`."""

    key_id: KeyId
    size: int
    context: bytes = NO_CONTEXT
    shown: bool = True
    """Whether its plaintext is to be returned."""
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class MakeRandom:
    """Return `size` random bytes of the token. Outcome: `RandomMade`."""

    size: int


@dataclass(frozen=True, slots=True)
class RelabelKey:
    """Give a key another alias, or another description. Outcome: `KeyShown`."""

    key_id: KeyId
    alias: str | None = None
    """None: as it is."""
    description: str | None = None
    """None: as it is."""
    policy: StatePolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class DescribeService:
    """Show what this deployment is and offers. Outcome: `ServiceShown`."""


Command = (
    CreateKey
    | DescribeKey
    | DescribeKeys
    | ListKeys
    | GetImportParameters
    | ImportMaterial
    | DeleteMaterial
    | SwitchKey
    | SwitchKeys
    | RelabelKey
    | ScheduleDeletion
    | CancelDeletion
    | ArchiveKey
    | EnableRotation
    | Encrypt
    | Decrypt
    | ReEncrypt
    | MakeDataKey
    | MakeRandom
    | DescribeService
)

# --- outcomes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyShown:
    """A key, and its state at the moment of the command."""

    key: Key
    state: KeyState
    changed: bool = True
    """False: a command that changes keys found it as it was to be."""


@dataclass(frozen=True, slots=True)
class KeysShown:
    """Several keys; `total` counts all that the filter selects."""

    total: int
    keys: Sequence[KeyShown]


@dataclass(frozen=True, slots=True)
class ImportParameters:
    """What a client needs to wrap and import."""

    key_id: KeyId
    import_token: ImportToken
    """Base64 text, as bytes."""
    public_key: bytes
    """DER SubjectPublicKeyInfo."""
    deadline: Instant


@dataclass(frozen=True, slots=True)
class ServiceShown:
    """What this deployment is and offers."""

    edition: Edition
    algorithms: Sequence[WrappingAlgorithm]
    keys: int
    """How many keys the caller's account has, of those that the caller may have to do with."""
    most_keys: int
    """How many the account may have; 0: any number."""


@dataclass(frozen=True, slots=True)
class Done:
    """The command happened; there is nothing to show."""

    changed: bool = True
    """False: everything was as it was to be, such as by the same command before."""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A ciphertext, and the key that made it."""

    key_id: KeyId
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Decrypted:
    """A plaintext, and the key that had encrypted it."""

    key_id: KeyId
    plaintext: Plaintext


@dataclass(frozen=True, slots=True)
class ReEncrypted:
    """A ciphertext, the key that made it, and the one before."""

    source: KeyId
    key_id: KeyId
    ciphertext: bytes = field(repr=False)
    changed: bool
    """False: key and context were the same, so that the ciphertext is the one that came."""


@dataclass(frozen=True, slots=True)
class DataKeyMade:
    """A data key under the key that encrypted it."""

    key_id: KeyId
    ciphertext: bytes = field(repr=False)
    plaintext: Plaintext | None
    """None unless it was asked for."""


@dataclass(frozen=True, slots=True)
class RandomMade:
    """Random bytes."""

    value: Plaintext


Outcome = (
    KeyShown
    | KeysShown
    | ImportParameters
    | ServiceShown
    | Encrypted
    | Decrypted
    | ReEncrypted
    | DataKeyMade
    | RandomMade
    | Done
)


# --- credentials ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenCredential:
    """A credential with its secret opened by the token, to verify a signature with."""

    account: Account
    roles: frozenset[Role]
    secret: SecretKey
    scope: KeyScope = EVERY_KEY


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Whose an auth token is."""

    access_id: AccessId
    account: Account
    roles: frozenset[Role]
    scope: KeyScope = EVERY_KEY
