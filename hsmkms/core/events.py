"""What the audit trail says: tags of the form `subject:thing:happened`, and the record that carries them.

Law: an event holds identifiers, states and reasons; never material, an import token, a ciphertext or a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import AccountName, Instant, KeyId, RequestId


class EventTag(StrEnum):
    """Everything that changes state."""

    KEY_CREATED = "key:created"
    KEY_ENABLED = "key:enabled"
    KEY_DISABLED = "key:disabled"
    KEY_RELABELLED = "key:relabelled"
    PARAMETERS_ISSUED = "key:parameters:issued"
    MATERIAL_IMPORTED = "key:material:imported"
    MATERIAL_REFUSED = "key:material:refused"
    MATERIAL_DELETED = "key:material:deleted"
    MATERIAL_EXPIRED = "key:material:expired"
    KEY_ARCHIVED = "key:archived"
    KEY_UNARCHIVED = "key:unarchived"
    DELETION_SCHEDULED = "key:deletion:scheduled"
    DELETION_CANCELLED = "key:deletion:cancelled"
    KEY_DELETED = "key:deleted"
    TICKET_LAPSED = "ticket:lapsed"
    TICKET_VOIDED = "ticket:voided"
    CREDENTIAL_CREATED = "credential:created"
    DEPLOYMENT_INITIALISED = "deployment:initialised"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit trail."""

    tag: EventTag
    at: Instant
    account: AccountName | None
    actor: str
    """The access id that asked, or the name of the background pass."""
    key_id: KeyId | None = None
    request_id: RequestId | None = None
    detail: Mapping[str, str | int | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChainedEvent:
    """An event as the audit trail holds it."""

    sequence: int
    """Its place; grows, though not always by one."""
    digest: bytes
    """What the hash chain made of the digest before it and of the event."""
    event: Event
