"""Use cases on auth tokens: create one, replace one, find whose one is; the token device has no part in any.

Laws:

- an auth token is shown once, when it is created; the database holds its SHA-256 only, which is enough for 256 random
  bits: there is nothing to guess;
- what has not the form of one is nobody's, and costs the database nothing;
- one switched off, or whose time is over, stops at once: nothing is kept in this process but the
  digests of those that were good, which prove nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.credentials import Proof
from hsmkms.core.secrets import AuthToken
from hsmkms.service.commands import TokenHolder
from hsmkms.service.lookups import LookUps
from hsmkms.service.minting import SECRET_CHARACTERS, add_credential, add_successor, new_access_id, new_secret

if TYPE_CHECKING:
    from hsmkms.core.credentials import Credential, Grant
    from hsmkms.core.ids import AccessId, AccountName, Instant
    from hsmkms.core.ports import Clock, Store

_FORM: Final = re.compile(rb"[A-Za-z0-9]{%d}" % SECRET_CHARACTERS)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A credential with an auth token, at the only moment when that is shown."""

    account: AccountName
    access_id: AccessId
    token: AuthToken
    valid_to: Instant | None = None


class AuthTokenUseCases:
    """Credentials that show an auth token."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Work on `store`."""
        self._store = store
        self._clock = clock
        self._lookups: LookUps[bytes, TokenHolder | None] = LookUps()

    async def create(self, grant: Grant) -> IssuedToken:
        """Create a credential with an auth token, and its account if that is new.

        Raises:
            FieldInvalid: the scope names a key that the account does not have, or too many.
        """
        token, proof = _new_token()
        made = await add_credential(self._store, self._clock, grant, proof)
        return IssuedToken(grant.account, proof.access_id, token, made.valid_to)

    async def rotate(self, replaced: Credential, overlap_seconds: int) -> IssuedToken:
        """Create one that may do what another may, which ends after `overlap_seconds` at the latest.

        Raises:
            FieldInvalid: the other was replaced before, or proves nothing any more.
        """
        token, proof = _new_token()
        made = await add_successor(self._store, self._clock, replaced.access_id, overlap_seconds, proof)
        return IssuedToken(replaced.account.name, proof.access_id, token, made.valid_to)

    async def holder_of(self, token: AuthToken, source: str = "") -> TokenHolder | None:
        """Return whose the auth token is, or None if it is nobody's whose proves anything now.

        Args:
            token: what was shown.
            source: the address it came from.

        Raises:
            ServiceOverloaded: too many auth tokens not seen before came from there.
        """
        if not _FORM.fullmatch(token.reveal()):
            return None
        digest = token.digest()
        return await self._lookups.once(digest, source, lambda: self._holder(digest, source))

    async def _holder(self, digest: bytes, source: str) -> TokenHolder | None:
        async with self._lookups.of(digest, source):
            credential = await self._store.read(lambda reading: reading.credential_of_token(digest))
        good = credential is not None and credential.good(self._clock.now())
        self._lookups.found(digest, good=good)
        if credential is None or not good:
            return None
        return TokenHolder(credential.access_id, credential.account, credential.roles, credential.scope)


def _new_token() -> tuple[AuthToken, Proof]:
    token = AuthToken(new_secret())
    return token, Proof(new_access_id(), token_digest=token.digest())
