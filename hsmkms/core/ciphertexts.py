"""Ciphertexts that clients keep: one form for every cloud's API.

    offset  bytes  field
         0      4  magic, b"HKMS"
         4      1  version, 1
         5      1  algorithm: 1 AES-256-GCM, 2 SM4-GCM
         6     16  key id, the UUID's bytes
        22      4  generation of the key's material, big-endian
        26     12  IV, from the token's random generator
        38      n  the padded plaintext, encrypted
    38 + n     16  tag

Laws:

- authenticated beside the plaintext: the record identity of the key's material (account, key id, edition, generation),
  the first 26 bytes, and the canonical context, each with its length before it; the IV is GCM's own;
- so a ciphertext decrypts under the key that made it and no other, also where two keys hold the same material;
- a plaintext is its length (2 bytes, big-endian), itself, and zeros up to `LEAST_PADDED_BYTES`: a short secret does
  not show its length, and every ciphertext has the 96 to 4236 bytes that Huawei's decrypt-data documents;
- contexts of different kinds, and none, are never equal; the order of pairs does not matter;
- a key encrypts at most `MOST_USES` times: half of GCM's bound for random IVs, 2^32 (NIST SP 800-38D, 8.3), so that a
  database restored from a backup, which forgets uses, does not pass that bound at once;
- every bound of what can be sent to a token is declared here, once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import CiphertextInvalid
from hsmkms.core.ids import KeyId
from hsmkms.core.material import Edition
from hsmkms.core.secrets import Plaintext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.records import RecordIdentity

MOST_PLAINTEXT_BYTES: Final = 4096
IV_BYTES: Final = 12
TAG_BYTES: Final = 16
LEAST_PADDED_BYTES: Final = 64
MOST_DATA_KEY_BYTES: Final = 1024
"""Of a data key, and of random bytes."""
MOST_CONTEXT_BYTES: Final = 16384
"""Of a canonical context."""
MOST_USES: Final = 2**31
NO_CONTEXT: Final = b""

_HEAD: Final = struct.Struct(">4sBB16sI")
_LENGTH: Final = struct.Struct(">H")
_BEFORE_SEALED_BYTES: Final = _HEAD.size + IV_BYTES
_LEAST_CIPHERTEXT_BYTES: Final = _BEFORE_SEALED_BYTES + LEAST_PADDED_BYTES + TAG_BYTES
MOST_CIPHERTEXT_BYTES: Final = _BEFORE_SEALED_BYTES + _LENGTH.size + MOST_PLAINTEXT_BYTES + TAG_BYTES
_MAGIC: Final = b"HKMS"
_VERSION: Final = 1
_DOMAIN: Final = b"hsmkms ciphertext v1"
_PAIRS_KIND: Final = b"pairs"
_TEXT_KIND: Final = b"text"


class CipherAlgorithm(StrEnum):
    """How the material of a key encrypts."""

    AES_256_GCM = "AES_256_GCM"
    SM4_GCM = "SM4_GCM"


_NUMBERS: Final[Mapping[CipherAlgorithm, int]] = {CipherAlgorithm.AES_256_GCM: 1, CipherAlgorithm.SM4_GCM: 2}
_ALGORITHMS: Final[Mapping[int, CipherAlgorithm]] = {number: each for each, number in _NUMBERS.items()}
OF_EDITION: Final[Mapping[Edition, CipherAlgorithm]] = {
    Edition.FIPS: CipherAlgorithm.AES_256_GCM,
    Edition.SM: CipherAlgorithm.SM4_GCM,
}


@dataclass(frozen=True, slots=True)
class Head:
    """What a ciphertext says of itself before its IV."""

    algorithm: CipherAlgorithm
    key_id: KeyId
    generation: int

    def packed(self) -> bytes:
        """Return it as the first 26 bytes of a ciphertext."""
        key = bytes.fromhex(self.key_id.replace("-", ""))
        return _HEAD.pack(_MAGIC, _VERSION, _NUMBERS[self.algorithm], key, self.generation)


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """A ciphertext taken apart; nothing of it is believed before the token has verified the tag."""

    head: Head
    iv: bytes
    sealed: bytes = field(repr=False)
    """The encrypted padded plaintext with the tag behind it."""

    def packed(self) -> bytes:
        """Return the bytes that a client keeps."""
        return self.head.packed() + self.iv + self.sealed


def head_of(owner: RecordIdentity) -> Head:
    """Return the head of what the material of `owner` encrypts."""
    return Head(OF_EDITION[owner.edition], KeyId(owner.owner), owner.generation)


def parse(raw: bytes) -> Ciphertext:
    """Take a ciphertext apart.

    Raises:
        CiphertextInvalid: not of this form.
    """
    if not _LEAST_CIPHERTEXT_BYTES <= len(raw) <= MOST_CIPHERTEXT_BYTES:
        raise CiphertextInvalid
    magic, version, number, key, generation = _HEAD.unpack_from(raw)
    if magic != _MAGIC or version != _VERSION or number not in _ALGORITHMS:
        raise CiphertextInvalid
    head = Head(_ALGORITHMS[number], _key_id(key), generation)
    return Ciphertext(head, raw[_HEAD.size : _BEFORE_SEALED_BYTES], raw[_BEFORE_SEALED_BYTES:])


def authenticated(owner: RecordIdentity, head: Head, context: bytes) -> bytes:
    """Return GCM's additional authenticated data."""
    return _parts(_DOMAIN, owner.canonical(), head.packed(), context)


def padded(plaintext: Plaintext) -> bytes:
    """Return what is encrypted in place of `plaintext`, which has at most `MOST_PLAINTEXT_BYTES`."""
    value = plaintext.reveal()
    return (_LENGTH.pack(len(value)) + value).ljust(LEAST_PADDED_BYTES, b"\0")


def unpadded(value: bytes) -> Plaintext:
    """Return the plaintext of what `padded` made.

    Raises:
        CiphertextInvalid: `padded` did not make it.
    """
    if len(value) < LEAST_PADDED_BYTES:
        raise CiphertextInvalid
    (length,) = _LENGTH.unpack_from(value)
    plaintext = Plaintext(value[_LENGTH.size : _LENGTH.size + length])
    if padded(plaintext) != value:
        raise CiphertextInvalid
    return plaintext


def context_of_pairs(pairs: Mapping[str, str]) -> bytes:
    """Return the canonical context of named values; no pairs are no context."""
    if not pairs:
        return NO_CONTEXT
    ordered = [part.encode() for name in sorted(pairs) for part in (name, pairs[name])]
    return _parts(_PAIRS_KIND, *ordered)


def context_of_text(text: str) -> bytes:
    """Return the canonical context of a free text; an empty one is no context."""
    return _parts(_TEXT_KIND, text.encode()) if text else NO_CONTEXT


def _key_id(raw: bytes) -> KeyId:
    digits = raw.hex()
    return KeyId("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))


def _parts(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
