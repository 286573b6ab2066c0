"""Credentials and callers: who asks, and with which roles.

Laws:

- the secret of a credential that signs is a record under the credential key; only the token opens it;
- a credential that shows an auth token is known by the SHA-256 of that token, which is nowhere stored;
- what a credential may do is the union of its roles, on the keys of its scope and on no others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import AccessId, Account, AccountName, Instant, KeyId, RequestId


class Role(StrEnum):
    """What a credential is for; `service.permissions` says which commands each may give."""

    ADMIN = "admin"
    IMPORTER = "importer"
    USER = "user"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class KeyScope:
    """The keys that a credential is limited to: those of the ids, and those with one of the tags."""

    key_ids: frozenset[KeyId] = frozenset()
    tags: frozenset[tuple[str, str]] = frozenset()
    """Name and value; a key with any of them is in the scope."""

    @property
    def limited(self) -> bool:
        """Tell whether there is a key of the account that it does not hold."""
        return bool(self.key_ids or self.tags)

    def holds(self, key_id: KeyId, tags: Mapping[str, str]) -> bool:
        """Tell whether a key of this id, with these tags, is in the scope."""
        return not self.limited or key_id in self.key_ids or not self.tags.isdisjoint(tags.items())

    def text(self) -> str:
        """Return it as canonical JSON: equal scopes are equal texts."""
        members = {"keys": sorted(self.key_ids), "tags": [list(each) for each in sorted(self.tags)]}
        return json.dumps(members, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Return the scope whose `text` this is."""
        members = json.loads(text)
        return cls(frozenset(members["keys"]), frozenset((name, value) for name, value in members["tags"]))


EVERY_KEY: Final = KeyScope()
"""The scope of a credential that is not limited."""
MOST_IN_SCOPE: Final = 100
"""Key ids, and tags, of one scope: all of them are in each statement that lists keys."""


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
    scope: KeyScope = EVERY_KEY
    valid_to: Instant | None = None
    """From then on it proves nothing; None: it does not end by itself."""
    replaced_by: AccessId | None = None
    """The one that was made in its place, from when on `valid_to` is the end of their overlap; None: there is none."""

    def good(self, now: Instant) -> bool:
        """Tell whether it proves anything at `now`."""
        return self.switched_on and (self.valid_to is None or now < self.valid_to)

    def __post_init__(self) -> None:
        """Hold exactly one proof.

        Raises:
            ValueError: there is none, or there are two.
        """
        if (self.record is None) == (self.token_digest is None):
            raise ValueError("a credential has a sealed secret or an auth token")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential that is to be made is for."""

    account: AccountName
    roles: frozenset[Role]
    scope: KeyScope = EVERY_KEY
    valid_seconds: int | None = None
    """How long it proves anything; None: until it is withdrawn."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A new access id, and what proves it; one of both, as in `Credential`."""

    access_id: AccessId
    record: bytes | None = field(default=None, repr=False)
    token_digest: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated origin of one request."""

    account: Account
    access_id: AccessId
    roles: frozenset[Role]
    request_id: RequestId
    scope: KeyScope = EVERY_KEY
    received: float = 0.0
    """When the last byte of the request arrived, in the seconds of the event loop's clock."""
