"""All that one thread of a host works with.

Law: each thread has a workbench of its own, because an object of python-pkcs11 belongs to the session that found it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hsmkms.core.custody import CustodyRole
from hsmkms.hsm.host.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.material import Edition
    from hsmkms.hsm.host.canary import Canary
    from hsmkms.hsm.host.pairs import WrappingPair
    from hsmkms.hsm.host.profiles import Profile
    from hsmkms.hsm.host.session import TokenObject, TokenSession

MOST_PAIRS: Final = 64
MOST_MATERIALS: Final = 256
UNSEALED_KEPT_SECONDS: Final = 60.0
"""For so long, and until the call in hand is done, a host may still hold what was deleted from the database."""


@dataclass(frozen=True, slots=True)
class Custody:
    """The long-lived objects of a deployment, each found and proved."""

    objects: Mapping[CustodyRole, TokenObject]

    @property
    def material_sealing(self) -> TokenObject:
        """The key that seals material."""
        return self.objects[CustodyRole.MATERIAL_SEALING]

    @property
    def pair_sealing(self) -> TokenObject:
        """The key that seals wrapping pairs."""
        return self.objects[CustodyRole.PAIR_SEALING]

    @property
    def record(self) -> TokenObject:
        """The key that encrypts records of material and pairs."""
        return self.objects[CustodyRole.RECORD]

    @property
    def credential(self) -> TokenObject:
        """The key that encrypts credentials' secrets."""
        return self.objects[CustodyRole.CREDENTIAL]

    @property
    def mac(self) -> TokenObject:
        """The key that authenticates records, blinds fingerprints and seals the audit trail."""
        return self.objects[CustodyRole.MAC]


@dataclass(slots=True)
class Workbench:
    """A session, the deployment's objects in it, and what is kept at hand."""

    session: TokenSession
    custody: Custody
    edition: Edition
    profile: Profile
    canary: Canary = field(init=False)
    pairs: Kept[WrappingPair] = field(init=False, default_factory=lambda: Kept(MOST_PAIRS, UNSEALED_KEPT_SECONDS))
    materials: Kept[TokenObject] = field(
        init=False, default_factory=lambda: Kept(MOST_MATERIALS, UNSEALED_KEPT_SECONDS)
    )
    """Unsealed to encrypt and decrypt."""

    def destroy_unknown(self) -> None:
        """Destroy what a lost answer left in the session; no call may be in hand.

        Raises:
            TokenSick: it stays, and the host must end.
        """
        if not self.session.may_hold_unknown:
            return
        kept = (*self.materials.contents, *(pair.private for pair in self.pairs.contents))
        self.session.destroy_unknown({key.handle for key in kept})
