"""The wrapping algorithms of the cloud APIs: frozen rows and a derived table.

Sources: Tencent GetParametersForImport (WrappingAlgorithm, WrappingKeySpec), Huawei get-parameters-for-import;
RFC 8017 7.1 (OAEP) and 7.2 (PKCS#1 v1.5); NIST SP 800-131A r2 disallows the latter for key transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WRAPPING_KEY_BITS: Final = 2048
WRAPPING_KEY_BYTES: Final = WRAPPING_KEY_BITS // 8
WRAPPING_KEY_SPEC: Final = "RSA_2048"


class WrappingAlgorithm(StrEnum):
    """How a client wraps its material, in the names that all the clouds use."""

    RSAES_OAEP_SHA_256 = "RSAES_OAEP_SHA_256"
    RSAES_OAEP_SHA_1 = "RSAES_OAEP_SHA_1"
    RSAES_PKCS1_V1_5 = "RSAES_PKCS1_V1_5"


@dataclass(frozen=True, slots=True)
class WrappingRow:
    """What else is true of one algorithm."""

    algorithm: WrappingAlgorithm
    oaep_hash: str | None
    """Hash of OAEP and of its MGF1, as `hashlib` names it; None for PKCS#1 v1.5."""
    shares_pairs: bool
    """Whether several tickets may share a pair."""
    merges_refusals: bool
    """Whether a wrong length or other material must look like a failed decryption (padding oracle)."""
    on_by_default: bool


_ROWS: Final = (
    WrappingRow(
        WrappingAlgorithm.RSAES_OAEP_SHA_256,
        "sha256",
        shares_pairs=True,
        merges_refusals=False,
        on_by_default=True,
    ),
    WrappingRow(
        WrappingAlgorithm.RSAES_OAEP_SHA_1,
        "sha1",
        shares_pairs=True,
        merges_refusals=False,
        on_by_default=True,
    ),
    WrappingRow(
        WrappingAlgorithm.RSAES_PKCS1_V1_5,
        None,
        shares_pairs=False,
        merges_refusals=True,
        on_by_default=False,
    ),
)

WRAPPING: Final[Mapping[WrappingAlgorithm, WrappingRow]] = {row.algorithm: row for row in _ROWS}
