"""Use cases on credentials that sign: create one, open one to verify a signature.

Laws:

- the secret is shown once, when it is created; the database holds it as a record that only the token opens;
- an opened secret stays in this process at most `SECRET_KEPT_SECONDS`, of which it is used `SECRET_USED_SECONDS`: the
  background pass that drops it comes at least once a minute;
- a credential made elsewhere holds here at once, and one switched off stops within `ROW_TRUSTED_SECONDS`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hsmkms.core import records
from hsmkms.core.credentials import Credential
from hsmkms.core.ids import later
from hsmkms.core.secrets import SecretKey
from hsmkms.service.commands import OpenCredential
from hsmkms.service.minting import add_credential, new_access_id, new_secret

if TYPE_CHECKING:
    from hsmkms.core.credentials import Role
    from hsmkms.core.ids import AccessId, AccountName, Instant
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock, Hsm, Store

SECRET_KEPT_SECONDS: Final = 300
SECRET_USED_SECONDS: Final = SECRET_KEPT_SECONDS - 60
ROW_TRUSTED_SECONDS: Final = 5
MOST_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """A credential at the only moment when its secret is shown."""

    account: AccountName
    access_id: AccessId
    secret: SecretKey


@dataclass(frozen=True, slots=True)
class _Kept:
    credential: Credential
    secret: SecretKey
    opened_at: Instant
    checked_at: Instant


class CredentialUseCases:
    """Credentials and their secrets."""

    def __init__(self, store: Store, hsm: Hsm, clock: Clock, edition: Edition) -> None:
        """Work on `store` and `hsm`."""
        self._store = store
        self._hsm = hsm
        self._clock = clock
        self._edition = edition
        self._kept: dict[AccessId, _Kept] = {}
        self._checks: dict[AccessId, asyncio.Task[_Kept | None]] = {}

    async def create(self, account: AccountName, roles: frozenset[Role]) -> IssuedCredential:
        """Create a credential, and its account if that is new."""
        access_id, secret = new_access_id(), SecretKey(new_secret())
        record = await self._hsm.protect_secret(records.of_credential(account, access_id, self._edition), secret)
        await add_credential(
            self._store,
            self._clock,
            account,
            lambda owner, now: Credential(access_id, owner, roles, now, record=record),
        )
        return IssuedCredential(account, access_id, secret)

    async def open(self, access_id: AccessId) -> OpenCredential | None:
        """Return the credential with its secret, or None if there is none that is switched on."""
        now = self._clock.now()
        kept = self._fresh(access_id, now)
        if kept is None or not kept.checked_at <= now < later(kept.checked_at, seconds=ROW_TRUSTED_SECONDS):
            kept = await self._checked_once(access_id)
        if kept is None:
            return None
        return OpenCredential(kept.credential.account, kept.credential.roles, kept.secret)

    def forget_stale(self) -> None:
        """Drop every secret that was opened too long ago."""
        now = self._clock.now()
        for access_id in [each for each in self._kept if self._fresh(each, now) is None]:
            del self._kept[access_id]

    def _fresh(self, access_id: AccessId, now: Instant) -> _Kept | None:
        kept = self._kept.get(access_id)
        if kept is None or not kept.opened_at <= now < later(kept.opened_at, seconds=SECRET_USED_SECONDS):
            return None
        return kept

    async def _checked_once(self, access_id: AccessId) -> _Kept | None:
        """Check a credential for all who ask at the same time: anybody can ask, before any signature was verified."""
        check = self._checks.get(access_id)
        if check is None:
            check = self._checks[access_id] = asyncio.create_task(self._checked(access_id))
            check.add_done_callback(lambda _: self._checks.pop(access_id, None))
        return await asyncio.shield(check)

    async def _checked(self, access_id: AccessId) -> _Kept | None:
        now = self._clock.now()
        kept = self._fresh(access_id, now)
        async with self._store.reading() as reading:
            credential = await reading.credential(access_id)
        if credential is None or credential.record is None or not credential.switched_on:
            self._kept.pop(access_id, None)
            return None
        if kept is not None and kept.credential.record == credential.record:
            kept = replace(kept, credential=credential, checked_at=now)
        else:
            identity = records.of_credential(credential.account.name, access_id, self._edition)
            secret = await self._hsm.open_secret(identity, credential.record)
            kept = _Kept(credential, secret, opened_at=now, checked_at=now)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[access_id] = kept
        return kept
