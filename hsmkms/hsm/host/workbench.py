"""All that one thread of a host works with.

Law: each thread has a workbench of its own, because an object of python-pkcs11 belongs to the session that found it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hsmkms.core.custody import SEALING_ROLES, CustodyRole
from hsmkms.hsm.host.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.custody import CustodyObject
    from hsmkms.core.material import Edition
    from hsmkms.hsm.host.adopting import Standing
    from hsmkms.hsm.host.canary import Canary
    from hsmkms.hsm.host.pairs import WrappingPair
    from hsmkms.hsm.host.profiles import Profile
    from hsmkms.hsm.host.session import TokenObject, TokenSession

MOST_PAIRS: Final = 64
MOST_MATERIALS: Final = 256
UNSEALED_KEPT_SECONDS: Final = 60.0
"""For so long, and until the call in hand is done, a host may still hold what was deleted from the database."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key that seals, of one version."""

    key: TokenObject
    version: int
    transferable: bool
    """See `CustodyObject`."""


class Custody:
    """The long-lived objects of a deployment, each found and proved."""

    __slots__ = (
        "_sealing",
        "credential",
        "deployment_id",
        "found",
        "mac",
        "material_sealing",
        "objects",
        "pair_sealing",
        "record",
    )

    def __init__(self, deployment_id: str, objects: Mapping[CustodyObject, TokenObject]) -> None:
        """Take every object of the deployment."""
        self.deployment_id = deployment_id
        self.objects = objects
        self._sealing: dict[tuple[CustodyRole, int], SealingKey] = {
            (item.role, item.version): SealingKey(key, item.version, item.transferable)
            for item, key in objects.items()
            if item.role in SEALING_ROLES
        }
        self.found: dict[tuple[CustodyRole, int], SealingKey] = {}
        """Of versions above the newest that we were told of: they open, and seal nothing."""
        newest = max(version for _, version in self._sealing)
        self.material_sealing = self._sealing[CustodyRole.MATERIAL_SEALING, newest]
        """The key that seals material."""
        self.pair_sealing = self._sealing[CustodyRole.PAIR_SEALING, newest]
        """The key that seals wrapping pairs."""
        of_role = {item.role: key for item, key in objects.items()}
        self.record = of_role[CustodyRole.RECORD]
        """The key that encrypts records of material and pairs."""
        self.credential = of_role[CustodyRole.CREDENTIAL]
        """The key that encrypts credentials' secrets."""
        self.mac = of_role[CustodyRole.MAC]
        """The key that authenticates records, blinds fingerprints and seals the audit trail."""

    @property
    def materials_sealing(self) -> tuple[SealingKey, ...]:
        """The keys that material is sealed under, of every version."""
        return tuple(key for (role, _), key in self._sealing.items() if role is CustodyRole.MATERIAL_SEALING)

    def of_version(self, role: CustodyRole, version: int) -> SealingKey | None:
        """Return the sealing key of `role` that opens what this version sealed, if it is at hand."""
        return self._sealing.get((role, version)) or self.found.get((role, version))


@dataclass(slots=True)
class Workbench:
    """A session, the deployment's objects in it, and what is kept at hand."""

    session: TokenSession
    custody: Custody
    edition: Edition
    profile: Profile
    canary: Canary = field(init=False)
    standing: Standing | None = field(init=False, default=None)
    """What was adopted last; None before."""
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
