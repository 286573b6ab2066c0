"""Key material: how long it must be, and how it is known again.

Laws:

- one edition per deployment: `fips` takes exactly 256 bits, `sm` exactly 128 bits;
- the blob that AES-KW (RFC 3394 2.2.1) makes of a key is 8 bytes longer than the key;
- fingerprints of two algorithms, or of two lengths, are never equal; the comparison takes constant time.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

KEY_WRAP_OVERHEAD_BYTES: Final = 8


class Edition(StrEnum):
    """What a deployment imports."""

    FIPS = "fips"
    SM = "sm"

    @property
    def material_bits(self) -> int:
        """The one length that material may have, in bits."""
        return 256 if self is Edition.FIPS else 128

    @property
    def material_bytes(self) -> int:
        """The one length that material may have, in bytes."""
        return self.material_bits // 8

    @property
    def sealed_bytes(self) -> int:
        """The size of such material under AES-KW, in bytes."""
        return self.material_bytes + KEY_WRAP_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells two materials of one key apart, and tells nothing else; it never leaves the service."""

    algorithm: str
    digest: bytes = field(repr=False)

    def matches(self, other: Fingerprint) -> bool:
        """Tell in constant time whether both were made of the same material, for the same key."""
        return self.algorithm == other.algorithm and hmac.compare_digest(self.digest, other.digest)


@dataclass(frozen=True, slots=True)
class SealedMaterial:
    """What the token gives for imported or generated material."""

    record: bytes = field(repr=False)
    fingerprint: Fingerprint
