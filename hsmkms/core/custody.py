"""The long-lived objects of a deployment in the token, and what proves each to be the one it was.

Laws:

- each role has exactly one object, found by its CKA_ID; its CKA_LABEL names the deployment, so that two deployments
  on one token never touch each other's objects;
- an object is proved by its known answer: the token answers `challenge` with `answer` only if it holds that very key;
- a deployment is ready only after all objects were proved and flushed to disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from hsmkms.core.errors import StoreUnusable, TokenUnusable

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


@dataclass(frozen=True, slots=True)
class CustodyObject:
    """One long-lived object, as the database names it."""

    role: CustodyRole
    object_id: bytes
    """CKA_ID, 16 random bytes."""
    challenge: bytes = field(repr=False, default=b"")
    answer: bytes = field(repr=False, default=b"")

    def label(self, deployment_id: str) -> str:
        """Return the CKA_LABEL of the object."""
        return f"hsmkms {deployment_id} {self.role.value}"

    @property
    def proved(self) -> bool:
        """Tell whether a known answer has been recorded."""
        return bool(self.answer)


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

    def require_fits(self, edition: Edition, token_serial: str) -> None:
        """Return if a token and a configuration are those that this deployment was made with.

        Raises:
            StoreUnusable: the configuration asks for another edition.
            TokenUnusable: it is another token.
        """
        if self.edition is not edition:
            message = (
                f"The database belongs to a deployment of the edition {self.edition.value}, and the configuration says "
                f"{edition.value}; set edition to {self.edition.value}, or name another database."
            )
            raise StoreUnusable(message)
        if self.token_serial != token_serial:
            message = (
                f"The database belongs to the token with serial number {self.token_serial}, and this token's is "
                f"{token_serial}; configure the token that belongs to it, or name another database."
            )
            raise TokenUnusable(message)
