"""The fake token as the use cases' tests need it: it counts all that it is asked for, and its pairs cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from hsmkms.core.ids import PairId
from hsmkms.core.tickets import FreshPair
from hsmkms.core.wrapping import WRAPPING_KEY_BITS, WRAPPING_KEY_BYTES, WrappingAlgorithm
from tests.fakes.hsm import FakeHsm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.material import Edition, SealedMaterial
    from hsmkms.core.ports import DataKey, HeldMaterial
    from hsmkms.core.records import RecordIdentity
    from hsmkms.core.secrets import Plaintext, SecretKey

UNDECRYPTABLE: Final = bytes(WRAPPING_KEY_BYTES)

# RSA keys are dear to make; every token of this process makes the same ones in the same order, each of them once.
_PAIRS: Final[list[tuple[bytes, bytes]]] = []


def _pair(number: int) -> tuple[bytes, bytes]:
    while len(_PAIRS) <= number:
        private = rsa.generate_private_key(65537, WRAPPING_KEY_BITS)
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        _PAIRS.append((public, private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())))
    return _PAIRS[number]


def wrapped(
    public_key: bytes, material: bytes, algorithm: WrappingAlgorithm = WrappingAlgorithm.RSAES_OAEP_SHA_256
) -> bytes:
    """Wrap as a client does; the result is different on every call."""
    public = cast("rsa.RSAPublicKey", load_der_public_key(public_key))
    if algorithm is WrappingAlgorithm.RSAES_PKCS1_V1_5:
        return public.encrypt(material, padding.PKCS1v15())
    return public.encrypt(material, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))


class CountedHsm(FakeHsm):
    """`FakeHsm` with more counters and one more hook."""

    def __init__(self, edition: Edition) -> None:
        super().__init__(edition)
        self.pairs_made: list[PairId] = []
        self.secrets_opened = 0
        self.materials_generated = 0
        self.ciphered: list[str] = []
        """The names of the calls that used a key's material, or were to."""
        self.before_pair: Callable[[], Awaitable[None]] = self.before_judging

    def share_with(self, other: CountedHsm) -> None:
        """Become another way to the same token."""
        self._sealing, self._mac_key = other._sealing, other._mac_key

    async def encrypt(self, material: HeldMaterial, plaintext: Plaintext, context: bytes) -> bytes:
        self.ciphered.append("encrypt")
        return await super().encrypt(material, plaintext, context)

    async def decrypt(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> Plaintext:
        self.ciphered.append("decrypt")
        return await super().decrypt(material, ciphertext, context)

    async def require_decryptable(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> None:
        self.ciphered.append("require_decryptable")
        await super().require_decryptable(material, ciphertext, context)

    async def re_encrypt(
        self, source: HeldMaterial, ciphertext: bytes, context: bytes, target: HeldMaterial, target_context: bytes
    ) -> bytes:
        self.ciphered.append("re_encrypt")
        return await super().re_encrypt(source, ciphertext, context, target, target_context)

    async def make_data_key(self, material: HeldMaterial, size: int, context: bytes, *, shown: bool) -> DataKey:
        self.ciphered.append("make_data_key")
        return await super().make_data_key(material, size, context, shown=shown)

    async def make_pair(self, identity: RecordIdentity, bits: int) -> FreshPair:
        await self.before_pair()
        self._require_well()
        assert bits == WRAPPING_KEY_BITS
        pair_id = PairId(identity.owner)
        public, private = _pair(len(self.pairs_made))
        self.pairs_made.append(pair_id)
        return FreshPair(pair_id, public, self._seal(identity, private))

    async def generate_material(self, owner: RecordIdentity) -> SealedMaterial:
        self.materials_generated += 1
        return await super().generate_material(owner)

    async def open_secret(self, identity: RecordIdentity, record: bytes) -> SecretKey:
        self.secrets_opened += 1
        return await super().open_secret(identity, record)
