"""What is known of single tokens: the named exceptions that a deployment may serve with.

Law: an exception names the subject and the finding; whatever the probe finds beyond the profile's list is a refusal to
serve. A token without a profile gets none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of one kind of token."""

    name: str
    manufacturer: str
    """The beginning of CK_TOKEN_INFO.manufacturerID."""
    exceptions: Mapping[str, str] = field(default_factory=dict)
    """Finding (`subject: what`) -> why it is let pass."""
    stores_allowed_mechanisms: bool = True
    """Whether CKA_ALLOWED_MECHANISMS may be in the template of a token object."""
    writes_softhsm_directory: bool = False
    """Whether token objects are files that nobody flushes to the disk."""

    def excuse(self, finding: str) -> str:
        """Return why `finding` is let pass; an empty string if it is not."""
        return self.exceptions.get(finding, "")


GENERATED_PAIR: Final = "wrapping pair as generated"
NARROWED_PAIR: Final = "wrapping pair as kept"
UNSEALED_PAIR: Final = "wrapping pair unsealed"
GENERATED_MATERIAL: Final = "generated material before sealing"
IMPORTED_MATERIAL: Final = "imported material before sealing"
UNSEALED_MATERIAL: Final = "material unsealed"
CIPHERING_MATERIAL: Final = "material unsealed to encrypt"
CUSTODY: Final = "long-lived object"

REFUSES_WRAPPING: Final = "refuses to wrap a key that is not EXTRACTABLE"
REFUSES_WIDENING: Final = "refuses to copy a key to EXTRACTABLE"
REFUSES_UNSEALING_EXTRACTABLE: Final = "enforces UNWRAP_TEMPLATE: EXTRACTABLE"
REFUSES_UNSEALING_IN_ANOTHER_ROLE: Final = "enforces UNWRAP_TEMPLATE: DERIVE"
REFUSES_UNSEALING_DECRYPTING_PAIR: Final = "enforces UNWRAP_TEMPLATE: DECRYPT of a pair"
REFUSES_ANOTHER_MECHANISM: Final = "enforces ALLOWED_MECHANISMS"
REFUSES_CHANGES: Final = "enforces MODIFIABLE"
CHECKS_INTEGRITY: Final = "refuses a damaged sealed key"

NOT_ENFORCED: Final = "not enforced"

_NSS_IS_A_TEST_TOKEN: Final = "NSS softoken does not enforce it: use this token for tests only."  # noqa: S105
_NSS_NEVER_LOCAL: Final = "NSS softoken reports LOCAL false of every generated key."
_NSS_PRIVATE_KEY_USES: Final = (
    "NSS softoken ignores the uses in an unwrap template for private keys: use this token for tests only."
)

SOFTHSM: Final = Profile("SoftHSM", "SoftHSM", writes_softhsm_directory=True)
NSS: Final = Profile(
    "NSS",
    "Mozilla",
    {
        f"{REFUSES_WRAPPING}: {NOT_ENFORCED}": _NSS_IS_A_TEST_TOKEN,
        f"{REFUSES_WIDENING}: {NOT_ENFORCED}": _NSS_IS_A_TEST_TOKEN,
        f"{REFUSES_UNSEALING_EXTRACTABLE}: {NOT_ENFORCED}": _NSS_IS_A_TEST_TOKEN,
        f"{REFUSES_UNSEALING_IN_ANOTHER_ROLE}: {NOT_ENFORCED}": _NSS_IS_A_TEST_TOKEN,
        f"{REFUSES_UNSEALING_DECRYPTING_PAIR}: {NOT_ENFORCED}": _NSS_IS_A_TEST_TOKEN,
        f"{REFUSES_ANOTHER_MECHANISM}: {NOT_ENFORCED}": _NSS_IS_A_TEST_TOKEN,
        f"{GENERATED_PAIR}: LOCAL is False": _NSS_NEVER_LOCAL,
        f"{CUSTODY}: LOCAL is False": _NSS_NEVER_LOCAL,
        f"{UNSEALED_PAIR}: DECRYPT is True": _NSS_PRIVATE_KEY_USES,
        f"{UNSEALED_PAIR}: SIGN is True": _NSS_PRIVATE_KEY_USES,
        f"{UNSEALED_PAIR}: SIGN_RECOVER is True": _NSS_PRIVATE_KEY_USES,
    },
    stores_allowed_mechanisms=False,  # CKR_GENERAL_ERROR
)
UNKNOWN: Final = Profile("default", "")


def profile_of(manufacturer: str) -> Profile:
    """Return the profile of the token of this manufacturerID."""
    known = (SOFTHSM, NSS)
    return next((each for each in known if manufacturer.startswith(each.manufacturer)), UNKNOWN)
