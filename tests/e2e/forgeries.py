"""Ciphertexts of this service's form that it never made: what is in its head anybody can write."""

from __future__ import annotations

import secrets
import uuid
from typing import Final

_MAGIC_VERSION_ALGORITHM: Final = b"HKMS\x01\x01"
_KEY_ID: Final = slice(6, 22)
_LEAST_BEHIND_THE_HEAD: Final = 12 + 64 + 16


def forged(key_id: str, generation: int = 1) -> bytes:
    """Return what says to be of a key, and is random."""
    head = _MAGIC_VERSION_ALGORITHM + uuid.UUID(key_id).bytes + generation.to_bytes(4, "big")
    return head + secrets.token_bytes(_LEAST_BEHIND_THE_HEAD)


def moved(ciphertext: bytes, key_id: str) -> bytes:
    """Return a ciphertext that says to be of another key than it is."""
    changed = bytearray(ciphertext)
    changed[_KEY_ID] = uuid.UUID(key_id).bytes
    return bytes(changed)


def flipped(ciphertext: bytes, position: int) -> bytes:
    """Return a ciphertext with one bit of a byte changed, another one in each of eight neighbours."""
    changed = bytearray(ciphertext)
    changed[position] ^= 1 << position % 8
    return bytes(changed)
