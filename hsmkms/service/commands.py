"""Commands and outcomes: the one language that every dialect compiles to.

Laws:

- a command is well-formed by the dialect's rules and not yet judged by the core's;
- what a dialect's cloud decides differently is a value in the command (`policy`), never a branch in the service;
- an outcome holds core types; the dialect chooses fields, units and spelling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hsmkms.core.keys import DEFAULT_POLICY, KeyUsage, Origin, StatePolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.credentials import Role
    from hsmkms.core.ids import AccessId, Account, Instant, KeyId
    from hsmkms.core.keys import Key, KeyState
    from hsmkms.core.material import Edition
    from hsmkms.core.secrets import ImportToken, SecretKey
    from hsmkms.core.wrapping import WrappingAlgorithm

# --- commands ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make a key: external (its material to be imported) or generated in the token. Outcome: `KeyShown`."""

    alias: str
    description: str = ""
    origin: Origin = Origin.GENERATED
    usage: KeyUsage = KeyUsage.ENCRYPT_DECRYPT


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
    | RelabelKey
    | DescribeService
)

# --- outcomes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyShown:
    """A key, and its state at the moment of the command."""

    key: Key
    state: KeyState


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
    """How many keys the caller's account has."""
    most_keys: int
    """How many it may have; 0: any number."""


@dataclass(frozen=True, slots=True)
class Done:
    """The command happened; there is nothing to show."""


Outcome = KeyShown | KeysShown | ImportParameters | ServiceShown | Done


# --- credentials ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenCredential:
    """A credential with its secret opened by the token, to verify a signature with."""

    account: Account
    roles: frozenset[Role]
    secret: SecretKey


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Whose an auth token is."""

    access_id: AccessId
    account: Account
    roles: frozenset[Role]
