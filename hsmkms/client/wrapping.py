"""Wrapping material under the service's public key, as RFC 8017 says: 7.1 (OAEP) and 7.2 (PKCS#1 v1.5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hsmkms.core.errors import InputUnusable
from hsmkms.core.wrapping import WRAPPING, WRAPPING_KEY_BITS
from hsmkms.dialects import strict_base64

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

    from hsmkms.client.material import KeyMaterial
    from hsmkms.core.wrapping import WrappingAlgorithm

_MOST_PUBLIC_KEY_BYTES: Final = 16 * 1024
_PEM: Final = b"-----BEGIN "
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")
_HASHES: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {"sha256": hashes.SHA256, "sha1": hashes.SHA1}


def read_public_key(path: Path) -> rsa.RSAPublicKey:
    """Read a wrapping key from a file.

    Raises:
        InputUnusable: the file cannot be read, or is not an RSA-2048 public key.
    """
    try:
        with path.open("rb") as file:
            return public_key(file.read(_MOST_PUBLIC_KEY_BYTES))
    except OSError as error:
        raise InputUnusable(f"The public key {path} cannot be read ({error.strerror or error}).") from error


def public_key(text: bytes) -> rsa.RSAPublicKey:
    """Return the wrapping key that `text` is, in any of three forms.

    Args:
        text: a SubjectPublicKeyInfo (RFC 5280, 4.1) as DER, as PEM, or as base64, which is what the APIs return.

    Raises:
        InputUnusable: it is no public key, or not RSA-2048.
    """
    try:
        if text.lstrip().startswith(_PEM):
            key = serialization.load_pem_public_key(text)
        elif _BASE64.fullmatch(text):
            der = strict_base64.decode(b"".join(text.split()).decode("ascii"))
            key = serialization.load_der_public_key(der)
        else:
            key = serialization.load_der_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputUnusable(
            "The public key is not one: it must be a SubjectPublicKeyInfo as DER, PEM or base64, "
            "such as PublicKey of the import parameters."
        ) from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise InputUnusable(f"The public key must be RSA of {WRAPPING_KEY_BITS} bits; it is not RSA.")
    if key.key_size != WRAPPING_KEY_BITS:
        raise InputUnusable(f"The public key must be RSA of {WRAPPING_KEY_BITS} bits; it has {key.key_size}.")
    return key


def wrap(key: rsa.RSAPublicKey, material: KeyMaterial, algorithm: WrappingAlgorithm) -> str:
    """Return the material encrypted under `key`: base64 of 256 bytes, 344 characters."""
    # cryptography takes `bytes` only: the one copy that cannot be overwritten, freed when this returns.
    return strict_base64.encode(key.encrypt(bytes(material.reveal()), _padding(algorithm)))


def _padding(algorithm: WrappingAlgorithm) -> AsymmetricPadding:
    name = WRAPPING[algorithm].oaep_hash
    if name is None:
        return padding.PKCS1v15()
    digest = _HASHES[name]()
    return padding.OAEP(padding.MGF1(digest), digest, label=None)
