"""What the audit trail says: tags of the form `subject:thing:happened`, the record that carries them, and its seals.

Laws:

- an event holds identifiers, states and reasons; never material, an import token, a ciphertext or a secret;
- a trail is sealed by a MAC of the token over a head, which stands for all events up to it;
- of each block of `SEAL_BLOCK` sequences that is over and was sealed, the seal is that of the block's last event;
- a trail that does not begin with its first event begins after a cut: a MAC of the token, which no seal is, over the
  last event that was archived and removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import AccountName, Instant, KeyId, RequestId

SEAL_BLOCK: Final = 1000
"""So many events have one seal at most."""
DIGEST_BYTES: Final = 32
"""SHA-256."""
MAC_BYTES: Final = 32
"""HMAC-SHA256."""

_SEAL_DOMAIN: Final = b"hsmkms audit seal v1"
_CUT_DOMAIN: Final = b"hsmkms audit cut v1"
_HEAD: Final = re.compile(r"(?:([a-z0-9][a-z0-9-]{0,31})/)?([1-9][0-9]{0,18}):([0-9a-f]{64})", re.ASCII)


class EventTag(StrEnum):
    """What happened: first what changes state, then what is looked at, used and refused."""

    KEY_CREATED = "key:created"
    KEY_ENABLED = "key:enabled"
    KEY_DISABLED = "key:disabled"
    KEY_RELABELLED = "key:relabelled"
    PARAMETERS_ISSUED = "key:parameters:issued"
    MATERIAL_IMPORTED = "key:material:imported"
    MATERIAL_REFUSED = "key:material:refused"
    MATERIAL_DELETED = "key:material:deleted"
    MATERIAL_EXPIRED = "key:material:expired"
    MATERIAL_RESEALED = "key:material:resealed"
    KEY_ARCHIVED = "key:archived"
    KEY_UNARCHIVED = "key:unarchived"
    DELETION_SCHEDULED = "key:deletion:scheduled"
    DELETION_CANCELLED = "key:deletion:cancelled"
    KEY_DELETED = "key:deleted"
    TICKET_LAPSED = "ticket:lapsed"
    TICKET_VOIDED = "ticket:voided"
    CREDENTIAL_CREATED = "credential:created"
    CREDENTIAL_ENABLED = "credential:enabled"
    CREDENTIAL_DISABLED = "credential:disabled"
    CREDENTIAL_ROTATED = "credential:rotated"
    DEPLOYMENT_INITIALISED = "deployment:initialised"
    SEALING_KEYS_MADE = "deployment:sealing-keys:made"
    SEALING_KEYS_RETIRED = "deployment:sealing-keys:retired"
    TRANSFER_BEGUN = "deployment:transfer:begun"
    TRANSFER_ENDED = "deployment:transfer:ended"
    TRAIL_ARCHIVED = "trail:archived"
    NODE_JOINED = "node:joined"
    KEY_UNCHANGED = "key:unchanged"
    KEY_DESCRIBED = "key:described"
    KEYS_LISTED = "keys:listed"
    SERVICE_DESCRIBED = "service:described"
    KEY_ENCRYPTED = "key:encrypted"
    KEY_DECRYPTED = "key:decrypted"
    KEY_RE_ENCRYPTED = "key:re-encrypted"
    DATA_KEY_MADE = "key:data-key:made"
    RANDOM_MADE = "random:made"
    REQUEST_REFUSED = "request:refused"
    STRANGERS_REFUSED = "strangers:refused"


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


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest event of a trail, or what was the newest once: it stands for the whole trail up to it."""

    sequence: int
    digest: bytes
    node: str = ""
    """Whose trail it is, where several nodes share a database."""

    def __str__(self) -> str:
        """Return it as an operator keeps it: sequence and digest in hexadecimal, a colon between them.

        Where there are several nodes, the name of the node and a slash stand before it.
        """
        head = f"{self.sequence}:{self.digest.hex()}"
        return f"{self.node}/{head}" if self.node else head

    @classmethod
    def parse(cls, text: str) -> AuditHead | None:
        """Return the head that `str` made `text` of; None if it made it of none."""
        found = _HEAD.fullmatch(text)
        return None if found is None else cls(int(found[2]), bytes.fromhex(found[3]), found[1] or "")

    @property
    def block(self) -> int:
        """The number of the block of sequences that this one is in."""
        return block_of(self.sequence)

    def as_sealed(self, deployment_id: str) -> bytes:
        """Return what a seal is the MAC of: each part with its length before it as 4 bytes, big-endian."""
        return self._canonical(_SEAL_DOMAIN, deployment_id)

    def as_cut(self, deployment_id: str) -> bytes:
        """Return what a cut is the MAC of, in the form of `as_sealed`."""
        return self._canonical(_CUT_DOMAIN, deployment_id)

    def _canonical(self, domain: bytes, deployment_id: str) -> bytes:
        parts = [domain, deployment_id.encode(), self.sequence.to_bytes(8, "big"), self.digest]
        if self.node:
            parts.append(self.node.encode())
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def block_of(sequence: int) -> int:
    """Return the number of the block that a sequence is in; the first is 0."""
    return (sequence - 1) // SEAL_BLOCK


@dataclass(frozen=True, slots=True)
class AuditSeal:
    """A head with the token's MAC over it: nobody without the token makes another."""

    head: AuditHead
    mac: bytes


@dataclass(frozen=True, slots=True)
class AuditCut:
    """The last event of a trail that was archived and removed, with the token's MAC over it: what follows is there."""

    head: AuditHead
    mac: bytes
