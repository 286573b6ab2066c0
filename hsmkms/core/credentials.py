"""Credentials and callers: who asks, and with which roles.

Law: the secret of a credential is a record under the credential key; only the token opens it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsmkms.core.ids import AccessId, Account, Instant, RequestId


class Role(StrEnum):
    """What a credential may do."""

    ADMIN = "admin"
    IMPORTER = "importer"
    USER = "user"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Credential:
    """An access id and its sealed secret."""

    access_id: AccessId
    account: Account
    roles: frozenset[Role]
    record: bytes = field(repr=False)
    created_at: Instant
    switched_on: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated origin of one request."""

    account: Account
    access_id: AccessId
    roles: frozenset[Role]
    request_id: RequestId
