"""Use cases on auth tokens: create one, find whose one is; the token device has no part in either.

Laws:

- an auth token is shown once, when it is created; the database holds its SHA-256 only, which is enough for 256 random
  bits: there is nothing to guess;
- what has not the form of one is nobody's, and costs the database nothing;
- one switched off stops at once: nothing is kept in this process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.credentials import Credential
from hsmkms.core.secrets import AuthToken
from hsmkms.service.commands import TokenHolder
from hsmkms.service.minting import SECRET_CHARACTERS, add_credential, new_access_id, new_secret

if TYPE_CHECKING:
    from hsmkms.core.credentials import Role
    from hsmkms.core.ids import AccessId, AccountName
    from hsmkms.core.ports import Clock, Store

_FORM: Final = re.compile(rb"[A-Za-z0-9]{%d}" % SECRET_CHARACTERS)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A credential with an auth token, at the only moment when that is shown."""

    account: AccountName
    access_id: AccessId
    token: AuthToken


class AuthTokenUseCases:
    """Credentials that show an auth token."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Work on `store`."""
        self._store = store
        self._clock = clock

    async def create(self, account: AccountName, roles: frozenset[Role]) -> IssuedToken:
        """Create a credential with an auth token, and its account if that is new."""
        access_id, token = new_access_id(), AuthToken(new_secret())
        digest = token.digest()
        await add_credential(
            self._store,
            self._clock,
            account,
            lambda owner, now: Credential(access_id, owner, roles, now, token_digest=digest),
        )
        return IssuedToken(account, access_id, token)

    async def holder_of(self, token: AuthToken) -> TokenHolder | None:
        """Return whose the auth token is, or None if it is nobody's who is switched on."""
        if not _FORM.fullmatch(token.reveal()):
            return None
        async with self._store.reading() as reading:
            credential = await reading.credential_of_token(token.digest())
        if credential is None or not credential.switched_on:
            return None
        return TokenHolder(credential.access_id, credential.account, credential.roles)
