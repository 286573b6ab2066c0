"""Wrapping pairs: generated extractable, sealed, narrowed, and never extractable again.

Laws:

- the private half as kept has EXTRACTABLE and MODIFIABLE false, and UNWRAP as its only use;
- a private half is kept at hand for its record and no other, and no longer than material is (`kept`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute

from hsmkms.core.custody import CustodyRole
from hsmkms.hsm.host import records, sealing_keys, templates

if TYPE_CHECKING:
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.session import TokenObject, TokenSession
    from hsmkms.hsm.host.workbench import Workbench


@dataclass(frozen=True, slots=True)
class WrappingPair:
    """The private half of a pair, at hand in this session."""

    private: TokenObject
    modulus: int

    @property
    def size(self) -> int:
        """The size of the modulus in bytes."""
        return (self.modulus.bit_length() + 7) // 8

    def destroy(self) -> None:
        """Destroy the private half."""
        self.private.destroy()


def modulus_of(session: TokenSession, key: TokenObject) -> int:
    """Return the modulus of either half of an RSA pair."""
    return int.from_bytes(session.read(key, Attribute.MODULUS), "big")


def subject_public_key_info(session: TokenSession, public: TokenObject) -> bytes:
    """Return the DER SubjectPublicKeyInfo (RFC 5280 4.1.2.7) of a public half."""
    exponent = int.from_bytes(session.read(public, Attribute.PUBLIC_EXPONENT), "big")
    numbers = RSAPublicNumbers(exponent, modulus_of(session, public))
    return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def narrowed(session: TokenSession, fresh: TokenObject) -> TokenObject:
    """Return a copy of a fresh private half that can neither leave the token nor be changed."""
    return session.copy(fresh, templates.narrowing())


def make_pair(bench: Workbench, identity: RecordIdentity, bits: int) -> tuple[bytes, bytes]:
    """Generate a pair of `bits`; return its SubjectPublicKeyInfo and its private half as a record."""
    session, sealing = bench.session, bench.custody.pair_sealing
    public, fresh = session.generate_pair(bits)
    with session.temporary(public), session.temporary(fresh):
        information = subject_public_key_info(session, public)
        blob = session.wrap(sealing.key, fresh, templates.PAIR_SEALING_MECHANISM)
        record = records.bind(bench, identity, blob, sealing.version)
        bench.pairs.keep(identity, record, WrappingPair(narrowed(session, fresh), modulus_of(session, public)))
    return information, record


def open_pair(bench: Workbench, identity: RecordIdentity, record: bytes) -> WrappingPair:
    """Return the pair of a record of `identity`, from what is at hand or unsealed.

    Raises:
        RecordMismatch: the record is not this identity's, or the key that sealed it is gone.
    """
    at_hand = bench.pairs.get(identity, record)
    if at_hand is not None:
        return at_hand
    sealed = records.unbind(bench, identity, record)
    sealing = sealing_keys.opening(bench, CustodyRole.PAIR_SEALING, sealed.version)
    private = bench.session.unwrap(
        sealing.key, sealed.content, templates.pair_private(), templates.PAIR_SEALING_MECHANISM
    )
    pair = WrappingPair(private, modulus_of(bench.session, private))
    bench.pairs.keep(identity, record, pair)
    return pair
