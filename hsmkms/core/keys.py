"""A key and its states.

Laws:

- a key stores apart whether it is switched on and what material it holds; the state shown is computed from both
  and from `now`, in this order of precedence: PendingDelete, Archived, PendingImport (no usable material),
  Disabled, Enabled;
- material is usable until the instant `valid_to` and not from then on;
- a key only ever has the same material: its fingerprint, once set, outlives deletion and expiry;
- an import is allowed in Enabled and PendingImport and never switches a key on;
- material may be deleted in Enabled and Disabled;
- a key scheduled for deletion keeps its alias and description, is switched off and leaves the archive: whoever cancels
  the deletion gets it Disabled, or PendingImport; at the instant its deletion is due it is gone;
- an archived key only decrypts, and only if it has usable material;
- a dialect may be narrower by its `StatePolicy`, never wider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import ExpiryInvalid, KeyNotExternal, KeyStateForbids, MaterialMismatch
from hsmkms.core.ids import Instant, from_seconds
from hsmkms.core.replacing import replaced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import AccountName, KeyId, TicketId
    from hsmkms.core.material import Fingerprint, SealedMaterial

FIRST_GENERATION: Final = 1
LATEST_EXPIRY: Final = from_seconds(2147443200)
"""The documented maximum of ValidTo (Tencent ImportKeyMaterial)."""


class Origin(StrEnum):
    """Where a key's material comes from."""

    EXTERNAL = "external"
    GENERATED = "generated"


class KeyUsage(StrEnum):
    """What a key is for."""

    ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"


class KeyState(StrEnum):
    """What a key's state is shown as."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETE = "PendingDelete"
    PENDING_IMPORT = "PendingImport"
    ARCHIVED = "Archived"


class KeyAction(StrEnum):
    """What a caller may want of a key that its state can forbid; the value finishes the sentence 'to ...'."""

    GET_PARAMETERS = "get import parameters"
    IMPORT_MATERIAL = "import key material"
    DELETE_MATERIAL = "delete the key's material"
    ENABLE = "enable the key"
    DISABLE = "disable the key"
    RELABEL = "change the key's alias or description"
    ENCRYPT = "encrypt or make data keys with the key"
    DECRYPT = "decrypt with the key"
    SCHEDULE_DELETION = "schedule the key's deletion"
    CANCEL_DELETION = "cancel the key's deletion"
    ARCHIVE = "archive the key"
    CANCEL_ARCHIVE = "take the key out of the archive"


@dataclass(frozen=True, slots=True)
class StatePolicy:
    """In which states each action is allowed: a value that a dialect hands to the service."""

    allowed: Mapping[KeyAction, tuple[KeyState, ...]]

    def require(self, action: KeyAction, state: KeyState) -> None:
        """Return if `action` is allowed in `state`.

        Raises:
            KeyStateForbids: it is not.
        """
        states = self.allowed[action]
        if state not in states:
            raise KeyStateForbids(state, action, states)


DEFAULT_POLICY: Final = StatePolicy(
    {
        KeyAction.GET_PARAMETERS: (KeyState.ENABLED, KeyState.PENDING_IMPORT),
        KeyAction.IMPORT_MATERIAL: (KeyState.ENABLED, KeyState.PENDING_IMPORT),
        KeyAction.DELETE_MATERIAL: (KeyState.ENABLED, KeyState.DISABLED),
        KeyAction.ENABLE: (KeyState.DISABLED, KeyState.ENABLED),
        KeyAction.DISABLE: (KeyState.ENABLED, KeyState.DISABLED),
        KeyAction.RELABEL: tuple(state for state in KeyState if state is not KeyState.PENDING_DELETE),
        KeyAction.ENCRYPT: (KeyState.ENABLED,),
        KeyAction.DECRYPT: (KeyState.ENABLED, KeyState.ARCHIVED),
        KeyAction.SCHEDULE_DELETION: tuple(state for state in KeyState if state is not KeyState.PENDING_DELETE),
        KeyAction.CANCEL_DELETION: (KeyState.PENDING_DELETE,),
        KeyAction.ARCHIVE: (KeyState.ENABLED, KeyState.DISABLED),
        KeyAction.CANCEL_ARCHIVE: (KeyState.ARCHIVED,),
    }
)
"""The widest policy; enabling an enabled key changes nothing."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a key holds at present."""

    record: bytes = field(repr=False)
    brought_at: Instant
    valid_to: Instant | None = None
    """The first instant at which it is no longer usable; None: never."""
    ticket_id: TicketId | None = None
    """The ticket of the import that brought it; None for generated material."""

    def usable(self, now: Instant) -> bool:
        """Tell whether the material may be used at `now`."""
        return self.valid_to is None or now < self.valid_to


@dataclass(frozen=True, slots=True)
class Key:
    """A customer's key record (CMK); it outlives its material."""

    key_id: KeyId
    account: AccountName
    alias: str
    description: str
    usage: KeyUsage
    origin: Origin
    created_at: Instant
    switched_on: bool = True
    archived: bool = False
    deletion_due: Instant | None = None
    generation: int = FIRST_GENERATION
    """Counts different materials; re-import of the same keeps it."""
    fingerprint: Fingerprint | None = None
    material: Material | None = None
    revision: int = 0
    """Counts changes: what compare-and-swap compares."""

    def state(self, now: Instant) -> KeyState:
        """Return the state shown at `now`."""
        if self.deletion_due is not None:
            return KeyState.PENDING_DELETE
        if self.archived:
            return KeyState.ARCHIVED
        if self.material is None or not self.material.usable(now):
            return KeyState.PENDING_IMPORT
        return KeyState.ENABLED if self.switched_on else KeyState.DISABLED

    def gone(self, now: Instant) -> bool:
        """Tell whether the key's deletion is due, so that nobody sees it any more."""
        return self.deletion_due is not None and self.deletion_due <= now

    def usable_material(self, action: KeyAction, now: Instant) -> Material:
        """Return the material to use the key with.

        Raises:
            KeyStateForbids: it holds none that is usable; an archived key may not show that.
        """
        if self.material is None or not self.material.usable(now):
            raise KeyStateForbids(KeyState.PENDING_IMPORT, action, DEFAULT_POLICY.allowed[action])
        return self.material

    def scheduled(self, due: Instant) -> Key:
        """Return the key switched off, out of the archive, and to be deleted at `due`."""
        return replaced(self, deletion_due=due, switched_on=False, archived=False)

    def kept(self) -> Key:
        """Return the key without a date of deletion."""
        return replaced(self, deletion_due=None)

    def require_external(self) -> None:
        """Return if the key takes imported material.

        Raises:
            KeyNotExternal: its material was generated in the token.
        """
        if self.origin is not Origin.EXTERNAL:
            raise KeyNotExternal

    def require_same_material(self, fingerprint: Fingerprint) -> None:
        """Return if the key never had material, or had this.

        Raises:
            MaterialMismatch: it had other material.
        """
        if self.fingerprint is not None and not self.fingerprint.matches(fingerprint):
            raise MaterialMismatch

    def with_material(self, sealed: SealedMaterial, material: Material) -> Key:
        """Return the key holding `material`; whether it is switched on stays as it was.

        Raises:
            MaterialMismatch: it once held other material.
        """
        self.require_same_material(sealed.fingerprint)
        return replaced(self, fingerprint=sealed.fingerprint, material=material)

    def without_material(self) -> Key:
        """Return the key without material; its fingerprint stays."""
        return replaced(self, material=None)

    def switched(self, *, on: bool) -> Key:
        """Return the key switched on or off."""
        return replaced(self, switched_on=on)


def require_expiry(valid_to: Instant | None, now: Instant) -> None:
    """Return if an import at `now` may set the expiry `valid_to` (None: never).

    Raises:
        ExpiryInvalid: it is not later than now, or above the maximum.
    """
    if valid_to is not None and not now < valid_to <= LATEST_EXPIRY:
        raise ExpiryInvalid
