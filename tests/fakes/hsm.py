"""A token in software, which keeps every promise of `core.ports.Hsm` but the one that it is a token.

It really wraps, unwraps and seals (with `cryptography`), so that whatever a client may send can be sent to it. Its
hooks let a test hold, break or kill a call before and after the material was judged.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from hsmkms.core import ciphertexts
from hsmkms.core.ciphertexts import OF_EDITION, CipherAlgorithm, Ciphertext
from hsmkms.core.custody import FIRST_VERSION
from hsmkms.core.errors import (
    CiphertextInvalid,
    InternalFault,
    MaterialLengthWrong,
    MaterialUndecryptable,
    NotTransferable,
    RecordBroken,
    TokenGaveNoAnswer,
)
from hsmkms.core.ids import PairId
from hsmkms.core.material import Edition, Fingerprint, SealedMaterial
from hsmkms.core.ports import DataKey, MaterialEvidence
from hsmkms.core.records import RecordKind, head_of, split_head
from hsmkms.core.secrets import Plaintext, SecretKey
from hsmkms.core.tickets import FreshPair
from hsmkms.core.wrapping import WRAPPING, WrappingAlgorithm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.custody import Deployment
    from hsmkms.core.events import AuditHead
    from hsmkms.core.ports import HeldMaterial, ImportOrder
    from hsmkms.core.records import RecordIdentity

_NONCE_BYTES = 12


async def _nothing() -> None:
    pass


class FakeHsm:
    """`core.ports.Hsm` with counters and hooks."""

    def __init__(self, edition: Edition = Edition.FIPS) -> None:
        self.edition = edition
        self.algorithms = frozenset(WrappingAlgorithm)
        self.ciphers = frozenset({CipherAlgorithm.AES_256_GCM}) & {OF_EDITION[edition]}
        """Empty it for a token that lacks the cipher; there is none for the edition `sm`, as with the tests' tokens."""
        self.orders: list[ImportOrder] = []
        self.sealed: list[AuditHead] = []
        self.sick = False
        self.sealing_version = FIRST_VERSION
        self.retired: set[int] = set()
        self.transferable = True
        self.before_judging: Callable[[], Awaitable[None]] = _nothing
        """Raise `TokenGaveNoAnswer` here for a host that dies before it has judged."""
        self.after_judging: Callable[[], Awaitable[None]] = _nothing
        """Raise `TokenGaveNoAnswer` here for a host that dies after it has judged."""
        self._sealing = AESGCM(os.urandom(32))
        self._mac_key = os.urandom(32)

    @property
    def calls(self) -> int:
        """How often material was to be unwrapped."""
        return len(self.orders)

    async def make_pair(self, identity: RecordIdentity, bits: int) -> FreshPair:
        self._require_well()
        private = rsa.generate_private_key(65537, bits)
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        sealed = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return FreshPair(PairId(identity.owner), public, self._seal(identity, sealed))

    async def import_material(self, order: ImportOrder) -> SealedMaterial:
        self.orders.append(order)
        await self.before_judging()
        self._require_well()
        sealed_pair = self._unseal(order.pair, order.pair_record)
        # made by this object, so its arithmetic need not be checked again (20 ms each time)
        loaded = load_der_private_key(sealed_pair, None, unsafe_skip_rsa_key_validation=True)
        private = cast("rsa.RSAPrivateKey", loaded)
        row = WRAPPING[order.algorithm]
        try:
            material = private.decrypt(order.ciphertext, _padding(row.oaep_hash))
        except ValueError as error:
            raise MaterialUndecryptable from error
        if len(material) != self.edition.material_bytes:
            if row.merges_refusals:
                raise MaterialUndecryptable
            raise MaterialLengthWrong(self.edition.material_bits)
        sealed = self._sealed(order.owner, material)
        await self.after_judging()
        return sealed

    async def generate_material(self, owner: RecordIdentity) -> SealedMaterial:
        self._require_well()
        return self._sealed(owner, os.urandom(self.edition.material_bytes))

    async def reseal_material(self, owner: RecordIdentity, record: bytes) -> SealedMaterial:
        await self.before_judging()
        self._require_well()
        material = self._unseal(owner, record)
        if not self.transferable:
            raise NotTransferable
        return self._sealed(owner, material)

    async def adopt(self, deployment: Deployment) -> None:
        self._require_well()
        self.sealing_version = deployment.sealing_version
        self.retired = set(range(FIRST_VERSION, self.sealing_version)) - {each.version for each in deployment.objects}

    async def inspect_material(self, owner: RecordIdentity, record: bytes) -> MaterialEvidence:
        self._require_well()
        material = self._unseal(owner, record)
        attributes = {"SENSITIVE": True, "EXTRACTABLE": False, "LOCAL": False}
        return MaterialEvidence(attributes, len(material) * 8, "It was counted.", self._fingerprint(owner, material))

    async def encrypt(self, material: HeldMaterial, plaintext: Plaintext, context: bytes) -> bytes:
        self._require_well()
        return self._encrypt(material, plaintext, context)

    async def decrypt(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> Plaintext:
        self._require_well()
        return self._decrypt(material, ciphertext, context)

    async def require_decryptable(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> None:
        self._require_well()
        self._decrypt(material, ciphertext, context)

    async def re_encrypt(
        self, source: HeldMaterial, ciphertext: bytes, context: bytes, target: HeldMaterial, target_context: bytes
    ) -> bytes:
        self._require_well()
        _require_bounded(target_context)
        return self._encrypt(target, self._decrypt(source, ciphertext, context), target_context)

    async def make_data_key(self, material: HeldMaterial, size: int, context: bytes, *, shown: bool) -> DataKey:
        plaintext = await self.random(size)
        return DataKey(self._encrypt(material, plaintext, context), plaintext if shown else None)

    async def random(self, size: int) -> Plaintext:
        self._require_well()
        return Plaintext(os.urandom(size))

    async def seal_head(self, deployment_id: str, head: AuditHead) -> bytes:
        self._require_well()
        self.sealed.append(head)
        return hmac.digest(self._mac_key, head.as_sealed(deployment_id), hashlib.sha256)

    async def holds_seal(self, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
        self._require_well()
        return hmac.compare_digest(hmac.digest(self._mac_key, head.as_sealed(deployment_id), hashlib.sha256), mac)

    async def cut_after(self, deployment_id: str, head: AuditHead) -> bytes:
        self._require_well()
        return hmac.digest(self._mac_key, head.as_cut(deployment_id), hashlib.sha256)

    async def holds_cut(self, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
        self._require_well()
        return hmac.compare_digest(hmac.digest(self._mac_key, head.as_cut(deployment_id), hashlib.sha256), mac)

    async def protect_secret(self, identity: RecordIdentity, secret: SecretKey) -> bytes:
        self._require_well()
        return self._seal(identity, secret.reveal())

    async def open_secret(self, identity: RecordIdentity, record: bytes) -> SecretKey:
        self._require_well()
        return SecretKey(self._unseal(identity, record))

    def _require_well(self) -> None:
        if self.sick:
            raise TokenGaveNoAnswer

    def _sealed(self, owner: RecordIdentity, material: bytes) -> SealedMaterial:
        return SealedMaterial(self._seal(owner, material), self._fingerprint(owner, material))

    def _encrypt(self, material: HeldMaterial, plaintext: Plaintext, context: bytes) -> bytes:
        _require_bounded(context)
        head = ciphertexts.head_of(material.owner)
        iv = os.urandom(ciphertexts.IV_BYTES)
        authenticated = ciphertexts.authenticated(material.owner, head, context)
        sealed = self._cipher(material).encrypt(iv, ciphertexts.padded(plaintext), authenticated)
        return Ciphertext(head, iv, sealed).packed()

    def _decrypt(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> Plaintext:
        _require_bounded(context)
        parsed, head = ciphertexts.parse(ciphertext), ciphertexts.head_of(material.owner)
        if parsed.head != head:
            raise CiphertextInvalid
        authenticated = ciphertexts.authenticated(material.owner, head, context)
        try:
            return ciphertexts.unpadded(self._cipher(material).decrypt(parsed.iv, parsed.sealed, authenticated))
        except InvalidTag as error:
            raise CiphertextInvalid from error

    def _cipher(self, material: HeldMaterial) -> AESGCM:
        if OF_EDITION[self.edition] not in self.ciphers:
            raise InternalFault
        return AESGCM(self._unseal(material.owner, material.record))

    def _seal(self, identity: RecordIdentity, content: bytes) -> bytes:
        head, nonce = head_of(self._version_of(identity)), os.urandom(_NONCE_BYTES)
        return head + nonce + self._sealing.encrypt(nonce, content, head + identity.canonical())

    def _unseal(self, identity: RecordIdentity, record: bytes) -> bytes:
        try:
            version, head = split_head(record)
            if version in self.retired:
                raise RecordBroken
            nonce, sealed = record[len(head) :][:_NONCE_BYTES], record[len(head) + _NONCE_BYTES :]
            return self._sealing.decrypt(nonce, sealed, head + identity.canonical())
        except (InvalidTag, ValueError) as error:
            raise RecordBroken from error

    def _version_of(self, identity: RecordIdentity) -> int:
        return FIRST_VERSION if identity.kind is RecordKind.CREDENTIAL else self.sealing_version

    def _fingerprint(self, owner: RecordIdentity, material: bytes) -> Fingerprint:
        bound = f"{owner.account}\0{owner.owner}\0{len(material)}\0".encode() + material
        return Fingerprint("fake", hmac.digest(self._mac_key, bound, hashlib.sha256))


def _require_bounded(context: bytes) -> None:
    if len(context) > ciphertexts.MOST_CONTEXT_BYTES:
        raise InternalFault


def _padding(oaep_hash: str | None) -> padding.AsymmetricPadding:
    if oaep_hash is None:
        return padding.PKCS1v15()
    digest = hashes.SHA256() if oaep_hash == "sha256" else hashes.SHA1()  # noqa: S303 - RFC 8017 OAEP with SHA-1
    return padding.OAEP(padding.MGF1(digest), digest, None)
