"""What a host is asked and what it answers: plain values on a Unix socket pair.

Laws:

- the verbs are the classes named in `Verb`; there is no verb for a PKCS#11 function;
- a message's `repr` shows no value;
- no value of a request is sent or read beyond its bounds (`parts`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from hsmkms.core.ciphertexts import CipherAlgorithm  # noqa: TC001 - as below
from hsmkms.core.wrapping import WrappingAlgorithm  # noqa: TC001 - msgspec reads annotations at run time
from hsmkms.hsm.parts import (
    Blob,
    Ciphertext,
    Context,
    Count,
    CustodyItem,
    CustodyItems,
    Head,
    Held,
    Identity,
    Mac,
    Name,
    Part,
    Place,
    PlaintextValue,
    SecretValue,
    Size,
    WrappedMaterial,
)
from hsmkms.hsm.report import HostProtection, TokenDescription, TokenReport  # noqa: TC001 - as above


class _Message(Part, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """One alternative of a request or of a reply."""


# --- verbs ---------------------------------------------------------------------------------------------


class Attach(_Message, frozen=True):
    """Find the deployment's objects, compare their attributes and have each prove itself."""

    place: Place


class Initialise(_Message, frozen=True):
    """Make the deployment's objects; only a host started for `init` obeys."""

    place: Place


class Adopt(_Message, frozen=True):
    """Go on with the sealing keys that the deployment has now: prove what is new, let go of what is gone."""

    place: Place


class MakeSealingKeys(_Message, frozen=True):
    """Make the next version's sealing keys; only a host started for `init` obeys."""

    place: Place
    """As it is before."""
    planned: CustodyItems
    replace_unknown: bool
    """Whether what has one of their labels already is destroyed."""


class DestroySealingKeys(_Message, frozen=True):
    """Destroy sealing keys that the deployment does without; only a host started for `init` obeys."""

    place: Place
    retired: CustodyItems


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
    ciphertext: WrappedMaterial


class GenerateMaterial(_Message, frozen=True):
    """Generate material of the edition's length; then as an import goes on."""

    owner: Identity


class ResealMaterial(_Message, frozen=True):
    """Seal material anew under the newest version; only a host started for `transfer` obeys."""

    owner: Identity
    record: Blob


class InspectMaterial(_Message, frozen=True):
    """Unseal material for its owner and read back what the token says of it."""

    owner: Identity
    record: Blob


class Encrypt(_Message, frozen=True):
    """Encrypt with a key's material; the host chooses the IV and composes the ciphertext."""

    material: Held
    plaintext: PlaintextValue
    context: Context


class Decrypt(_Message, frozen=True):
    """Decrypt what `Encrypt` made of the same material and context."""

    material: Held
    ciphertext: Ciphertext
    context: Context


class RequireDecryptable(_Message, frozen=True):
    """Decrypt like `Decrypt`; the answer holds nothing."""

    material: Held
    ciphertext: Ciphertext
    context: Context


class ReEncrypt(_Message, frozen=True):
    """Decrypt and encrypt anew; the answer holds no plaintext."""

    source: Held
    ciphertext: Ciphertext
    context: Context
    target: Held
    target_context: Context


class MakeDataKey(_Message, frozen=True):
    """Make random bytes in the token and encrypt them."""

    material: Held
    size: Size
    context: Context
    shown: bool
    """Whether the answer holds them, too."""


class Random(_Message, frozen=True):
    """Return bytes of the token's random generator."""

    size: Size


class SealHead(_Message, frozen=True):
    """Make a MAC over a head of the deployment's audit trail."""

    deployment_id: Name
    head: Head


class HoldsSeal(_Message, frozen=True):
    """Compare a MAC with the one that `SealHead` makes."""

    deployment_id: Name
    head: Head
    mac: Mac


class CutAfter(_Message, frozen=True):
    """Make a MAC that says that the trail up to a head was archived; only a host of a command obeys."""

    deployment_id: Name
    head: Head


class HoldsCut(_Message, frozen=True):
    """Compare a MAC with the one that `CutAfter` makes."""

    deployment_id: Name
    head: Head
    mac: Mac


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
    | Adopt
    | MakeSealingKeys
    | DestroySealingKeys
    | Probe
    | MakePair
    | ImportMaterial
    | GenerateMaterial
    | ResealMaterial
    | InspectMaterial
    | Encrypt
    | Decrypt
    | RequireDecryptable
    | ReEncrypt
    | MakeDataKey
    | Random
    | SealHead
    | HoldsSeal
    | CutAfter
    | HoldsCut
    | ProtectSecret
    | OpenSecret
)


# --- answers -------------------------------------------------------------------------------------------


class FaultKind(StrEnum):
    """Why a host did not do what it was asked."""

    UNDECRYPTABLE = "material undecryptable"
    LENGTH_WRONG = "material length wrong"
    RECORD_BROKEN = "record broken"
    CIPHERTEXT_INVALID = "ciphertext invalid"
    NOT_TRANSFERABLE = "not transferable"
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
    """Every object was found and proved itself; the answer to `Adopt`, too."""

    algorithms: frozenset[WrappingAlgorithm] = frozenset()
    """What a good value came through with, when this host tried."""
    ciphers: frozenset[CipherAlgorithm] = frozenset()


class Initialised(_Message, frozen=True):
    """The objects as made, each with its known answer; the answer to `MakeSealingKeys`, too."""

    objects: tuple[CustodyItem, ...]


class SealingKeysDestroyed(_Message, frozen=True):
    """None of them is in the token any more."""

    count: int
    """How many objects were destroyed; those that were gone before are not counted."""


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


class Encrypted(_Message, frozen=True):
    """A ciphertext of `core.ciphertexts`."""

    ciphertext: bytes


class Decrypted(_Message, frozen=True):
    """What a ciphertext was made of."""

    plaintext: bytes


class Decryptable(_Message, frozen=True):
    """The ciphertext decrypts."""


class DataKeyMade(_Message, frozen=True):
    """A data key, encrypted, and itself only if it was to be shown."""

    ciphertext: bytes
    plaintext: bytes | None


class RandomMade(_Message, frozen=True):
    """Bytes of the token's random generator."""

    content: bytes


class HeadSealed(_Message, frozen=True):
    """The MAC over a head: a seal or a cut."""

    mac: bytes


class SealCompared(_Message, frozen=True):
    """Whether the MAC is the one over the head."""

    holds: bool


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
    | SealingKeysDestroyed
    | Probed
    | PairMade
    | MaterialSealed
    | MaterialInspected
    | Encrypted
    | Decrypted
    | Decryptable
    | DataKeyMade
    | RandomMade
    | HeadSealed
    | SealCompared
    | SecretProtected
    | SecretOpened
)


# --- envelopes --------------------------------------------------------------------------------------------


class Request(Part, frozen=True):
    """A verb, the number by which its reply is known, and the API request it serves."""

    number: Count
    verb: Verb
    request_id: Name | None = None


class Reply(Part, frozen=True):
    """The answer to the request of the same number."""

    number: int
    answer: Answer
    microseconds: Count | None = None
    """How long the host worked on it; None: it does not say."""


class ReadyLine(Part, frozen=True):
    """A line of JSON that a host writes on its standard output as it starts.

    One that says `logging_in`, unless something was wrong before; then the token, or why the host cannot start.
    """

    logging_in: bool = False
    """The next thing that the host does is to send the PIN (C_Login): from here on it must not be taken for unsent."""
    token: TokenDescription | None = None
    protection: HostProtection | None = None
    pin_refused: bool = False
    """`unusable` says which."""
    pin_unanswered: bool = False
    """The token neither took nor refused the PIN; `unusable` says what it did."""
    unusable: str = ""
