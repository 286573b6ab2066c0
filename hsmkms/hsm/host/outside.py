"""What is done outside the token: wrapping as a client does, and encrypting as a token should.

Law: only throw-away material of the canary and the probe is ever here.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsmkms.core.wrapping import WRAPPING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from hsmkms.core.wrapping import WrappingAlgorithm


def wrap(public_key: bytes, algorithm: WrappingAlgorithm, plaintext: bytes) -> bytes:
    """Return `plaintext` wrapped for the pair of this SubjectPublicKeyInfo (RFC 8017 7.1.1 or 7.2.1)."""
    key = cast("RSAPublicKey", load_der_public_key(public_key))
    oaep_hash = WRAPPING[algorithm].oaep_hash
    if oaep_hash is None:
        return key.encrypt(plaintext, padding.PKCS1v15())
    digest = hashes.SHA256() if oaep_hash == "sha256" else hashes.SHA1()  # noqa: S303 - RFC 8017 OAEP with SHA-1
    return key.encrypt(plaintext, padding.OAEP(padding.MGF1(digest), digest, None))


def seal_gcm(key: bytes, data: bytes, iv: bytes, authenticated: bytes) -> bytes:
    """Return `data` under AES-GCM with the tag behind it (NIST SP 800-38D)."""
    return AESGCM(key).encrypt(iv, data, authenticated)


def damage(ciphertext: bytes) -> bytes:
    """Return `ciphertext` with the last bit flipped, so that it stays below a modulus."""
    return ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,))


def throw_away(size: int) -> bytes:
    """Return `size` random bytes, none of them zero, so that zero-padding always shows."""
    return bytes(secrets.choice(range(1, 256)) for _ in range(size))
