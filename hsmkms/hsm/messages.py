"""What a host is asked and what it answers: plain values on a Unix socket pair.

Laws:

- the verbs are the classes named in `Verb`; there is no verb for a PKCS#11 function;
- a message's `repr` shows no value;
- every value of a request is bounded where it is declared, and neither sent nor read beyond that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec

from hsmkms.core.custody import CustodyObject, CustodyRole
from hsmkms.core.material import Edition
from hsmkms.core.records import RecordIdentity, RecordKind
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm.report import TokenDescription, TokenReport

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment


_MOST_ITEMS: Final = 16

Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
"""An id, an account or a serial number."""
Blob: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=4096)]
"""A record, a challenge or an answer: that of a 4096-bit pair has less than 2.5 KiB."""
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
ObjectId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Ciphertext: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=1024)]
SecretValue: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=256)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value inside a message."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class _Message(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """One alternative of a request or of a reply."""


class Identity(_Part, frozen=True):
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


class CustodyItem(_Part, frozen=True):
    """A `CustodyObject` on the wire."""

    role: CustodyRole
    object_id: ObjectId
    challenge: Blob
    answer: Blob

    @classmethod
    def of(cls, item: CustodyObject) -> CustodyItem:
        """Return the wire form of `item`."""
        return cls(role=item.role, object_id=item.object_id, challenge=item.challenge, answer=item.answer)

    def core(self) -> CustodyObject:
        """Return the object itself."""
        return CustodyObject(self.role, self.object_id, self.challenge, self.answer)


class Place(_Part, frozen=True):
    """The deployment that a host is to work for."""

    deployment_id: Name
    edition: Edition
    token_serial: Name
    """Empty: not known yet; only a host started for `init` takes that."""
    objects: Annotated[tuple[CustodyItem, ...], msgspec.Meta(max_length=_MOST_ITEMS)]

    @classmethod
    def of(cls, deployment: Deployment) -> Place:
        """Return the wire form of `deployment`."""
        return cls(
            deployment_id=deployment.deployment_id,
            edition=deployment.edition,
            token_serial=deployment.token_serial,
            objects=tuple(map(CustodyItem.of, deployment.objects)),
        )


# --- verbs ---------------------------------------------------------------------------------------------


class Attach(_Message, frozen=True):
    """Find the deployment's objects, compare their attributes and have each prove itself."""

    place: Place


class Initialise(_Message, frozen=True):
    """Make the deployment's objects; only a host started for `init` obeys."""

    place: Place


class Probe(_Message, frozen=True):
    """Find out by round trips what the token does."""


class MakePair(_Message, frozen=True):
    """Generate a wrapping pair."""

    identity: Identity
    bits: Count


class ImportMaterial(_Message, frozen=True):
    """Unwrap, prove the length, fingerprint, seal, read back and bind."""

    owner: Identity
    pair: Identity
    pair_record: Blob
    algorithm: WrappingAlgorithm
    ciphertext: Ciphertext


class GenerateMaterial(_Message, frozen=True):
    """Generate material of the edition's length; then as an import goes on."""

    owner: Identity


class InspectMaterial(_Message, frozen=True):
    """Unseal material for its owner and read back what the token says of it."""

    owner: Identity
    record: Blob


class ProtectSecret(_Message, frozen=True):
    """Encrypt a credential's secret and bind it to its access id; only a host of a command obeys."""

    identity: Identity
    secret: SecretValue


class OpenSecret(_Message, frozen=True):
    """Decrypt a credential's secret for its access id."""

    identity: Identity
    record: Blob


Verb: TypeAlias = (
    Attach
    | Initialise
    | Probe
    | MakePair
    | ImportMaterial
    | GenerateMaterial
    | InspectMaterial
    | ProtectSecret
    | OpenSecret
)


# --- answers -------------------------------------------------------------------------------------------


class FaultKind(StrEnum):
    """Why a host did not do what it was asked."""

    UNDECRYPTABLE = "material undecryptable"
    LENGTH_WRONG = "material length wrong"
    RECORD_BROKEN = "record broken"
    SICK = "token sick"
    """Nothing was judged; the host ends itself after this answer."""
    UNUSABLE = "token unusable"
    """The message is a sentence for the operator."""
    REFUSED = "verb refused"
    """Not of this host's purpose, before Attach, or for another edition: a defect of the caller."""
    INTERNAL = "internal"


class Fault(_Message, frozen=True):
    """The verb was not carried out."""

    kind: FaultKind
    message: str = ""
    needed_bits: int = 0


class Attached(_Message, frozen=True):
    """Every object was found and proved itself."""


class Initialised(_Message, frozen=True):
    """The objects as made, each with its known answer."""

    objects: tuple[CustodyItem, ...]


class Probed(_Message, frozen=True):
    """What the token does."""

    report: TokenReport


class PairMade(_Message, frozen=True):
    """A wrapping pair: its public half, and its private half sealed and bound."""

    public_key: bytes
    record: bytes


class MaterialSealed(_Message, frozen=True):
    """Material, sealed and bound, and its fingerprint."""

    record: bytes
    fingerprint_algorithm: str
    fingerprint: bytes


class MaterialInspected(_Message, frozen=True):
    """What the token says of a key's material."""

    attributes: dict[str, bool | int | str | None]
    length_bits: int
    length_proof: str
    fingerprint_algorithm: str
    fingerprint: bytes


class SecretProtected(_Message, frozen=True):
    """A credential's secret as a record."""

    record: bytes


class SecretOpened(_Message, frozen=True):
    """A credential's secret."""

    secret: bytes


Answer: TypeAlias = (
    Fault
    | Attached
    | Initialised
    | Probed
    | PairMade
    | MaterialSealed
    | MaterialInspected
    | SecretProtected
    | SecretOpened
)


# --- envelopes --------------------------------------------------------------------------------------------


class Request(_Part, frozen=True):
    """A verb, the number by which its reply is known, and the API request it serves."""

    number: Count
    verb: Verb
    request_id: Name | None = None


class Reply(_Part, frozen=True):
    """The answer to the request of the same number."""

    number: int
    answer: Answer


class ReadyLine(_Part, frozen=True):
    """The one line of JSON that a host writes on its standard output: the token, or why it cannot start."""

    token: TokenDescription | None = None
    pin_refused: bool = False
    unusable: str = ""
