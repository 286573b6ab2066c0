"""Use cases on credentials that sign: create one, replace one by another, open one to verify a signature.

Laws:

- the secret is shown once, when it is created; the database holds it as a record that only the token opens;
- an opened secret stays in this process at most `SECRET_KEPT_SECONDS`, of which it is used `SECRET_USED_SECONDS`: the
  background pass that drops it comes at least once a minute;
- a credential made elsewhere holds here at once, and one switched off stops within `ROW_TRUSTED_SECONDS`; one whose
  time is over stops at that instant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hsmkms.core import records
from hsmkms.core.credentials import Proof
from hsmkms.core.errors import ServiceOverloaded
from hsmkms.core.ids import later
from hsmkms.core.secrets import SecretKey
from hsmkms.service.commands import OpenCredential
from hsmkms.service.lookups import LookUps
from hsmkms.service.minting import add_credential, add_successor, new_access_id, new_secret

if TYPE_CHECKING:
    from hsmkms.core.credentials import Credential, Grant
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
    valid_to: Instant | None = None


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
        self._lookups: LookUps[AccessId, _Kept | None] = LookUps()

    async def create(self, grant: Grant) -> IssuedCredential:
        """Create a credential, and its account if that is new.

        Raises:
            FieldInvalid: the scope names a key that the account does not have, or too many.
        """
        secret, proof = await self._new_secret(grant.account)
        made = await add_credential(self._store, self._clock, grant, proof)
        return IssuedCredential(grant.account, proof.access_id, secret, made.valid_to)

    async def rotate(self, replaced: Credential, overlap_seconds: int) -> IssuedCredential:
        """Create one that may do what another may, which ends after `overlap_seconds` at the latest.

        Raises:
            FieldInvalid: the other was replaced before, or proves nothing any more.
        """
        account = replaced.account.name
        secret, proof = await self._new_secret(account)
        made = await add_successor(self._store, self._clock, replaced.access_id, overlap_seconds, proof)
        return IssuedCredential(account, proof.access_id, secret, made.valid_to)

    async def _new_secret(self, account: AccountName) -> tuple[SecretKey, Proof]:
        access_id, secret = new_access_id(), SecretKey(new_secret())
        record = await self._hsm.protect_secret(records.of_credential(account, access_id, self._edition), secret)
        return secret, Proof(access_id, record=record)

    async def open(self, access_id: AccessId, source: str = "") -> OpenCredential | None:
        """Return the credential with its secret, or None if there is none that proves anything now.

        Args:
            access_id: what is claimed.
            source: the address that the claim came from.

        Raises:
            TokenUnavailable: the token did not open its secret.
            RecordBroken: the secret's record is damaged, or another credential's.
            StoreUnavailable: the database did not answer.
            ServiceOverloaded: too many ask from there who are not known, or the database answers so slowly that what it
                says is old.
        """
        kept = self._fresh(access_id, self._clock.now())
        if kept is None or not self._trusted(kept):
            kept = await self._checked_once(access_id, source)
        if kept is not None and not self._trusted(kept):  # the token was slow, or the check that was joined is old
            kept = await self._checked_once(access_id, source)
        if kept is not None and not self._trusted(kept):
            raise ServiceOverloaded
        if kept is None or not kept.credential.good(self._clock.now()):
            return None
        credential = kept.credential
        return OpenCredential(credential.account, credential.roles, kept.secret, credential.scope)

    def forget_stale(self) -> None:
        """Drop every secret that was opened too long ago, or whose credential has ended."""
        now = self._clock.now()
        for access_id in [each for each in self._kept if self._fresh(each, now) is None]:
            del self._kept[access_id]

    def _fresh(self, access_id: AccessId, now: Instant) -> _Kept | None:
        kept = self._kept.get(access_id)
        if kept is None or not kept.credential.good(now):
            return None
        return kept if kept.opened_at <= now < later(kept.opened_at, seconds=SECRET_USED_SECONDS) else None

    def _trusted(self, kept: _Kept) -> bool:
        return kept.checked_at <= self._clock.now() < later(kept.checked_at, seconds=ROW_TRUSTED_SECONDS)

    async def _checked_once(self, access_id: AccessId, source: str) -> _Kept | None:
        """Check a credential for all who ask at the same time: anybody can ask, before any signature was verified."""
        return await self._lookups.once(access_id, source, lambda: self._checked(access_id, source))

    async def _checked(self, access_id: AccessId, source: str) -> _Kept | None:
        async with self._lookups.of(access_id, source):
            now = self._clock.now()
            kept = self._fresh(access_id, now)
            credential = await self._store.read(lambda reading: reading.credential(access_id))
        self._lookups.found(access_id, good=credential is not None and credential.good(now))
        if credential is None or credential.record is None or not credential.good(now):
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
