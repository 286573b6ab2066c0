"""Reading base64 (RFC 4648 4) so that every byte string has exactly one spelling."""

from __future__ import annotations

import base64
import binascii

from hsmkms.core.errors import CiphertextInvalid


def decode(text: str) -> bytes:
    """Return the bytes that `text` spells.

    Raises:
        ValueError: another alphabet, white space, padding absent or too much, or stray bits before the padding
            (RFC 4648 3.5).
    """
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # `from None`: nothing of the text may reach a log.
        raise ValueError("not base64") from None
    if base64.b64encode(value).decode("ascii") != text:
        raise ValueError("not canonical base64")
    return value


def decode_ciphertext(text: str) -> bytes:
    """Return the ciphertext that `text` spells.

    Raises:
        CiphertextInvalid: it is no canonical base64, and so no ciphertext that this service returned.
    """
    try:
        return decode(text)
    except ValueError:
        raise CiphertextInvalid from None


def encode(value: bytes) -> str:
    """Return `value` as base64 with padding."""
    return base64.b64encode(value).decode("ascii")
