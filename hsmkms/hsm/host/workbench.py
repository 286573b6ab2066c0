"""All that one thread of a host works with.

Law: each thread has a workbench of its own, because an object of python-pkcs11 belongs to the session that found it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hsmkms.core.custody import CustodyRole

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pkcs11

    from hsmkms.core.material import Edition
    from hsmkms.hsm.host.canary import Canary
    from hsmkms.hsm.host.pairs import PairCache
    from hsmkms.hsm.host.profiles import Profile
    from hsmkms.hsm.host.session import TokenSession


@dataclass(frozen=True, slots=True)
class Custody:
    """The long-lived objects of a deployment, each found and proved."""

    objects: Mapping[CustodyRole, pkcs11.Object]

    @property
    def material_sealing(self) -> pkcs11.Object:
        """The key that seals material."""
        return self.objects[CustodyRole.MATERIAL_SEALING]

    @property
    def pair_sealing(self) -> pkcs11.Object:
        """The key that seals wrapping pairs."""
        return self.objects[CustodyRole.PAIR_SEALING]

    @property
    def record(self) -> pkcs11.Object:
        """The key that encrypts records of material and pairs."""
        return self.objects[CustodyRole.RECORD]

    @property
    def credential(self) -> pkcs11.Object:
        """The key that encrypts credentials' secrets."""
        return self.objects[CustodyRole.CREDENTIAL]

    @property
    def mac(self) -> pkcs11.Object:
        """The key that authenticates records and blinds fingerprints."""
        return self.objects[CustodyRole.MAC]


@dataclass(slots=True)
class Workbench:
    """A session, the deployment's objects in it, and what is kept at hand."""

    session: TokenSession
    custody: Custody
    edition: Edition
    profile: Profile
    pairs: PairCache
    canary: Canary = field(init=False)
