"""A token in software for the use cases: it wraps and seals nothing, but refuses what a real one refuses.

Ciphertexts are 256 bytes that only the pair they were made for takes; records open only for the identity they were
made for. Its hooks let a test stop, break or kill a call before and after the token has judged.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from hsmkms.core.errors import MaterialLengthWrong, MaterialUndecryptable, RecordBroken, TokenUnavailable
from hsmkms.core.ids import PairId
from hsmkms.core.material import Edition, Fingerprint, SealedMaterial
from hsmkms.core.ports import MaterialEvidence
from hsmkms.core.secrets import SecretKey
from hsmkms.core.tickets import FreshPair
from hsmkms.core.wrapping import WRAPPING_KEY_BYTES, WrappingAlgorithm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.ports import ImportOrder
    from hsmkms.core.records import RecordIdentity

UNDECRYPTABLE = bytes(WRAPPING_KEY_BYTES)
_PUBLIC = b"public key of "


def wrapped(public_key: bytes, material: bytes) -> bytes:
    """Wrap as a client does: different on every call, exactly as long as the modulus."""
    head = b"\1" + public_key.removeprefix(_PUBLIC) + bytes([len(material)]) + material
    return head + os.urandom(WRAPPING_KEY_BYTES - len(head))


async def _nothing() -> None:
    pass


class SoftwareHsm:
    """`core.ports.Hsm` with counters and hooks."""

    def __init__(self, edition: Edition = Edition.FIPS) -> None:
        self.edition = edition
        self.algorithms = frozenset(WrappingAlgorithm)
        self.orders: list[ImportOrder] = []
        self.pairs_made: list[PairId] = []
        self.secrets_opened = 0
        self.down = False
        self.before_pair: Callable[[], Awaitable[None]] = _nothing
        self.before_judging: Callable[[], Awaitable[None]] = _nothing
        self.after_judging: Callable[[], Awaitable[None]] = _nothing

    @property
    def calls(self) -> int:
        """How often material was to be unwrapped."""
        return len(self.orders)

    def require_up(self) -> None:
        if self.down:
            raise TokenUnavailable

    async def make_pair(self, identity: RecordIdentity, bits: int) -> FreshPair:
        await self.before_pair()
        self.require_up()
        assert bits == 2048
        pair_id = PairId(identity.owner)
        self.pairs_made.append(pair_id)
        return FreshPair(pair_id, _PUBLIC + pair_id.encode(), _sealed(identity, b"private"))

    async def import_material(self, order: ImportOrder) -> SealedMaterial:
        self.orders.append(order)
        await self.before_judging()
        self.require_up()
        _unsealed(order.pair, order.pair_record)
        ours = b"\1" + order.pair.owner.encode()
        assert len(order.ciphertext) == WRAPPING_KEY_BYTES
        if not order.ciphertext.startswith(ours):
            raise MaterialUndecryptable
        rest = order.ciphertext[len(ours) :]
        material = rest[1 : 1 + rest[0]]
        if len(material) != self.edition.material_bytes:
            raise MaterialLengthWrong(self.edition.material_bits)
        result = SealedMaterial(_sealed(order.owner, material), _fingerprint(order.owner, material))
        await self.after_judging()
        return result

    async def generate_material(self, owner: RecordIdentity) -> SealedMaterial:
        self.require_up()
        material = os.urandom(self.edition.material_bytes)
        return SealedMaterial(_sealed(owner, material), _fingerprint(owner, material))

    async def inspect_material(self, owner: RecordIdentity, record: bytes) -> MaterialEvidence:
        material = _unsealed(owner, record)
        return MaterialEvidence({}, len(material) * 8, "counted", _fingerprint(owner, material))

    async def protect_secret(self, identity: RecordIdentity, secret: SecretKey) -> bytes:
        self.require_up()
        return _sealed(identity, secret.reveal())

    async def open_secret(self, identity: RecordIdentity, record: bytes) -> SecretKey:
        self.require_up()
        self.secrets_opened += 1
        return SecretKey(_unsealed(identity, record))


def _sealed(identity: RecordIdentity, content: bytes) -> bytes:
    return hashlib.sha256(identity.canonical()).digest() + os.urandom(16) + content


def _unsealed(identity: RecordIdentity, record: bytes) -> bytes:
    if record[:32] != hashlib.sha256(identity.canonical()).digest():
        raise RecordBroken
    return record[48:]


def _fingerprint(owner: RecordIdentity, material: bytes) -> Fingerprint:
    return Fingerprint("software", hashlib.sha256(owner.canonical() + material).digest())
