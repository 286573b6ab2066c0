"""Credentials and callers: who asks, and with which roles.

Laws:

- the secret of a credential that signs is a record under the credential key; only the token opens it;
- a credential that shows an auth token is known by the SHA-256 of that token, which is nowhere stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsmkms.core.ids import AccessId, Account, Instant, RequestId


class Role(StrEnum):
    """What a credential is for; recorded and audited, and not enforced yet."""

    ADMIN = "admin"
    IMPORTER = "importer"
    USER = "user"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Credential:
    """An access id, and what proves it: a sealed secret to sign with, or an auth token."""

    access_id: AccessId
    account: Account
    roles: frozenset[Role]
    created_at: Instant
    record: bytes | None = field(default=None, repr=False)
    """The sealed secret of a credential that signs."""
    token_digest: bytes | None = field(default=None, repr=False)
    """SHA-256 of the auth token of a credential that shows one (32 bytes)."""
    switched_on: bool = True

    def __post_init__(self) -> None:
        """Hold exactly one proof.

        Raises:
            ValueError: there is none, or there are two.
        """
        if (self.record is None) == (self.token_digest is None):
            raise ValueError("a credential has a sealed secret or an auth token")


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated origin of one request."""

    account: Account
    access_id: AccessId
    roles: frozenset[Role]
    request_id: RequestId
