"""The token, behind its hosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ciphertexts import CipherAlgorithm
    from hsmkms.core.custody import CustodyObject, Deployment
    from hsmkms.core.events import AuditHead
    from hsmkms.core.material import Fingerprint, SealedMaterial
    from hsmkms.core.records import RecordIdentity
    from hsmkms.core.secrets import Plaintext, SecretKey
    from hsmkms.core.tickets import FreshPair
    from hsmkms.core.wrapping import WrappingAlgorithm


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
    `TokenNotAsked`: no host was free in time, or those that it was sent to ahead of its turn were gone before they can
    have begun it; nothing reached the token. `TokenGaveNoAnswer`: the host died or missed its deadline, or the token is
    sick; what the token did with it is not known.
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

    async def cut_after(self, deployment_id: str, head: AuditHead) -> bytes:
        """Return the token's MAC (32 bytes) that says that the deployment's trail up to `head` was archived.

        Raises:
            InternalFault: this is a host of the service, and no command's.
        """

    async def holds_cut(self, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
        """Tell whether the token made `mac` as such a cut after this head; only of a command's host.

        Raises:
            InternalFault: as `cut_after`.
        """

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

    async def make_sealing_keys(
        self, deployment: Deployment, planned: tuple[CustodyObject, ...]
    ) -> tuple[CustodyObject, ...]:
        """Make and prove the next version's sealing keys, and flush the token to disk; or leave nothing of them.

        Args:
            deployment: with the objects that it has.
            planned: one for each of `SEALING_ROLES`, of one version, which is above all of the deployment's.

        Raises:
            TokenUnusable: the token did not make what it was asked for, or has objects with their labels already.
        """

    async def destroy_sealing_keys(self, deployment: Deployment, retired: tuple[CustodyObject, ...]) -> int:
        """Destroy sealing keys that nothing is sealed under any more; those that are gone are no error.

        Returns:
            How many were there and are destroyed.

        Raises:
            TokenUnusable: the token did not destroy one.
        """


class Adopter(Protocol):
    """Hosts that go along when the sealing keys of their deployment change."""

    async def adopt(self, deployment: Deployment) -> None:
        """Seal under the newest version from now on, and open nothing under one that is gone; harmless to repeat.

        Raises:
            TokenUnusable, TokenUnavailable: it is to be tried again; what is sealed may be under an older version yet.
        """


class Transferer(Protocol):
    """A host that may seal material anew while the security officer's transit key is in the token."""

    async def reseal_material(self, owner: RecordIdentity, record: bytes) -> SealedMaterial:
        """Seal a record's material under the newest version, all inside the token.

        Raises:
            RecordBroken: the record does not open for this owner, or what came of it is not the same material.
            NotTransferable: the sealing key that it is under does not let it go.
            TokenUnavailable: the token did not do it.
        """
