"""The long-lived objects of a deployment in the token, and what proves each to be the one it was.

Laws:

- each role has exactly one object, and each sealing role one for each version; it is found by its CKA_ID, and its
  CKA_LABEL names the deployment, so that two deployments on one token never touch each other's objects;
- what is sealed anew is sealed under the newest version; an older one opens what it sealed, until it is retired;
- an object is proved by its known answer: the token answers `challenge` with `answer` only if it holds that very key;
- a deployment is ready only after all objects were proved and flushed to disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import TokenUnusable

if TYPE_CHECKING:
    from hsmkms.core.ids import Instant
    from hsmkms.core.material import Edition


class CustodyRole(StrEnum):
    """What a long-lived object is for."""

    MATERIAL_SEALING = "material-sealing"
    PAIR_SEALING = "pair-sealing"
    RECORD = "record"
    CREDENTIAL = "credential"
    MAC = "mac"


SEALING_ROLES: Final = (CustodyRole.MATERIAL_SEALING, CustodyRole.PAIR_SEALING)
"""Those whose keys are rotated."""
FIRST_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class CustodyObject:
    """One long-lived object, as the database names it."""

    role: CustodyRole
    object_id: bytes
    """CKA_ID, 16 random bytes."""
    challenge: bytes = field(repr=False, default=b"")
    answer: bytes = field(repr=False, default=b"")
    version: int = FIRST_VERSION
    transferable: bool = False
    """Of a material sealing key: by leave of the security officer what it sealed can be sealed anew, in the token,
    under a later version (CKA_WRAP_WITH_TRUSTED, PKCS#11 2.40, table 10)."""
    made_at: Instant | None = None
    """When it became the newest version; None: with the deployment, or it is planned only."""

    def label(self, deployment_id: str) -> str:
        """Return the CKA_LABEL of the object."""
        return label_of(deployment_id, self.role, self.version)

    @property
    def proved(self) -> bool:
        """Tell whether a known answer has been recorded."""
        return bool(self.answer)


def label_of(deployment_id: str, role: CustodyRole, version: int = FIRST_VERSION) -> str:
    """Return the CKA_LABEL of a deployment's object of `role`; the first version is not named in it."""
    name = f"hsmkms {deployment_id} {role.value}"
    return name if version == FIRST_VERSION else f"{name} v{version}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What this database and this token are to each other."""

    deployment_id: str
    """A random UUID, part of every object's label."""
    edition: Edition
    ready: bool
    """Whether the objects were made and proved; until then their answers are empty."""
    created_at: Instant
    token_serial: str
    objects: tuple[CustodyObject, ...]

    @property
    def sealing_keys(self) -> tuple[CustodyObject, ...]:
        """Those of its objects that are rotated, of all versions."""
        return tuple(each for each in self.objects if each.role in SEALING_ROLES)

    @property
    def sealing_version(self) -> int:
        """The version of the sealing keys that seal what is sealed now."""
        return max((each.version for each in self.sealing_keys), default=FIRST_VERSION)

    @property
    def sealing_versions(self) -> tuple[int, ...]:
        """The versions of the sealing keys that there are, the oldest first."""
        return tuple(sorted({each.version for each in self.sealing_keys}))

    def require_fits(self, edition: Edition, token_serial: str) -> None:
        """As `require_fits`, for the edition and the token that this deployment was made with."""
        require_fits((self.edition, self.token_serial), (edition, token_serial))


def require_fits(made_with: tuple[Edition, str], found: tuple[Edition, str]) -> None:
    """Return if edition and token serial number are those that a deployment was made with.

    Raises:
        TokenUnusable: the configuration asks for another edition, or it is another token.
    """
    if made_with[0] is not found[0]:
        raise TokenUnusable(
            f"The database belongs to a deployment of the edition {made_with[0].value}, and the configuration says "
            f"{found[0].value}: set edition to {made_with[0].value}, or name another database in store.url."
        )
    if made_with[1] != found[1]:
        raise TokenUnusable(
            f"The database belongs to the token with serial number {made_with[1]}, and this token's is {found[1]}: "
            "point hsm.token_label and [hsm.env] at the token it belongs to, or name another database in store.url."
        )
