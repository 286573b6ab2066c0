"""The values inside a message to or from a host.

Laws:

- a `repr` shows no value;
- every value of a request is bounded where it is declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec

from hsmkms.core.ciphertexts import (
    MOST_CIPHERTEXT_BYTES,
    MOST_CONTEXT_BYTES,
    MOST_DATA_KEY_BYTES,
    MOST_PLAINTEXT_BYTES,
)
from hsmkms.core.custody import CustodyObject, CustodyRole
from hsmkms.core.events import DIGEST_BYTES, MAC_BYTES, AuditHead
from hsmkms.core.material import Edition
from hsmkms.core.records import MOST_VERSION, RecordIdentity, RecordKind

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from hsmkms.core.ports import HeldMaterial

MOST_ITEMS: Final = 63
"""Of one deployment: three, and two for each of 30 versions of the sealing keys, which fill most of a frame."""

Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
"""An id, an account or a serial number."""
Blob: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=4096)]
"""A record, a challenge or an answer: that of a 4096-bit pair has less than 2.5 KiB."""
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Version: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST_VERSION)]
"""Of the sealing keys."""
ObjectId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
WrappedMaterial: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=1024)]
"""As long as the modulus of its pair."""
Ciphertext: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=MOST_CIPHERTEXT_BYTES)]
PlaintextValue: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=MOST_PLAINTEXT_BYTES)]
Context: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=MOST_CONTEXT_BYTES)]
"""As `core.ciphertexts` makes it canonical."""
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST_DATA_KEY_BYTES)]
"""Of a data key or of random bytes, in bytes."""
NodeName: TypeAlias = Annotated[str, msgspec.Meta(pattern="^([a-z0-9][a-z0-9-]{0,31})?$")]
Digest: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Mac: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=MAC_BYTES, max_length=MAC_BYTES)]
SecretValue: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=256)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shows its kind and nothing of its values."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Identity(Part, frozen=True):
    """A `RecordIdentity` on the wire."""

    kind: RecordKind
    account: Name
    owner: Name
    edition: Edition
    generation: Count

    @classmethod
    def of(cls, identity: RecordIdentity) -> Identity:
        """Return the wire form of `identity`."""
        return cls(
            kind=identity.kind,
            account=identity.account,
            owner=identity.owner,
            edition=identity.edition,
            generation=identity.generation,
        )

    def core(self) -> RecordIdentity:
        """Return the identity itself."""
        return RecordIdentity(self.kind, self.account, self.owner, self.edition, self.generation)


class CustodyItem(Part, frozen=True):
    """A `CustodyObject` on the wire."""

    role: CustodyRole
    object_id: ObjectId
    challenge: Blob
    answer: Blob
    version: Version
    transferable: bool

    @classmethod
    def of(cls, item: CustodyObject) -> CustodyItem:
        """Return the wire form of `item`."""
        return cls(
            role=item.role,
            object_id=item.object_id,
            challenge=item.challenge,
            answer=item.answer,
            version=item.version,
            transferable=item.transferable,
        )

    def core(self) -> CustodyObject:
        """Return the object itself."""
        return CustodyObject(
            self.role, self.object_id, self.challenge, self.answer, self.version, transferable=self.transferable
        )


CustodyItems: TypeAlias = Annotated[tuple[CustodyItem, ...], msgspec.Meta(max_length=MOST_ITEMS)]


class Place(Part, frozen=True):
    """The deployment that a host is to work for."""

    deployment_id: Name
    edition: Edition
    token_serial: Name
    """Empty: not known yet; only a host started for `init` takes that."""
    objects: CustodyItems

    @classmethod
    def of(cls, deployment: Deployment) -> Place:
        """Return the wire form of `deployment`."""
        return cls(
            deployment_id=deployment.deployment_id,
            edition=deployment.edition,
            token_serial=deployment.token_serial,
            objects=tuple(map(CustodyItem.of, deployment.objects)),
        )


class Held(Part, frozen=True):
    """A `HeldMaterial` on the wire."""

    owner: Identity
    record: Blob

    @classmethod
    def of(cls, material: HeldMaterial) -> Held:
        """Return the wire form of `material`."""
        return cls(owner=Identity.of(material.owner), record=material.record)


class Head(Part, frozen=True):
    """An `AuditHead` on the wire."""

    sequence: Count
    digest: Digest
    node: NodeName

    @classmethod
    def of(cls, head: AuditHead) -> Head:
        """Return the wire form of `head`."""
        return cls(sequence=head.sequence, digest=head.digest, node=head.node)

    def core(self) -> AuditHead:
        """Return the head itself."""
        return AuditHead(self.sequence, self.digest, self.node)
