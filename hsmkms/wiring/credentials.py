"""What the commands do with credentials: the token is asked only where a secret must be sealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsmkms.service.auth_tokens import AuthTokenUseCases
from hsmkms.service.credentials import CredentialUseCases
from hsmkms.service.deploying import ready_deployment
from hsmkms.service.rows import existing_credential
from hsmkms.service.withdrawing import switch_credential
from hsmkms.wiring.adapters import SystemClock, opened_store
from hsmkms.wiring.commands import attached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.config import Settings
    from hsmkms.core.credentials import Credential, Grant
    from hsmkms.core.ids import AccessId
    from hsmkms.service.auth_tokens import IssuedToken
    from hsmkms.service.credentials import IssuedCredential


@dataclass(frozen=True, slots=True)
class ListedCredential:
    """A credential as the database has it, and whether it proves anything at present."""

    credential: Credential
    good: bool


async def create_credential(settings: Settings, grant: Grant) -> IssuedCredential:
    """Make a credential that signs, and its account if that is new.

    Raises:
        FieldInvalid: the scope names a key that the account does not have, or too many.
    """
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        return await CredentialUseCases(store, hsm, SystemClock(), settings.edition).create(grant)


async def create_auth_token(settings: Settings, grant: Grant) -> IssuedToken:
    """Make a credential with an auth token, and its account if that is new; no host is started.

    Raises:
        StoreUnusable: `init` was never run to its end.
        FieldInvalid: the scope names a key that the account does not have, or too many.
    """
    async with opened_store(settings) as store:
        await ready_deployment(store)
        return await AuthTokenUseCases(store, SystemClock()).create(grant)


async def rotate_credential(
    settings: Settings, access_id: AccessId, overlap_seconds: int
) -> IssuedCredential | IssuedToken:
    """Make a credential that may do what another may, which ends after `overlap_seconds` at the latest.

    Raises:
        FieldInvalid: there is no such credential, it was replaced before, or it proves nothing any more.
    """
    clock = SystemClock()
    async with opened_store(settings) as store:
        replaced = await store.read(lambda reading: existing_credential(reading, access_id))
        if replaced.token_digest is not None:
            return await AuthTokenUseCases(store, clock).rotate(replaced, overlap_seconds)
        async with attached(settings, store) as hsm:
            return await CredentialUseCases(store, hsm, clock, settings.edition).rotate(replaced, overlap_seconds)


async def turn_credential(settings: Settings, access_id: AccessId, *, on: bool) -> bool:
    """Switch a credential on or off, and tell whether it was otherwise before.

    Raises:
        FieldInvalid: there is no such credential; or it is to be switched on, and its time is over.
    """
    async with opened_store(settings) as store:
        return await switch_credential(store, SystemClock(), access_id, on=on)


async def list_credentials(settings: Settings) -> Sequence[ListedCredential]:
    """Return every credential, by account and creation time."""
    async with opened_store(settings) as store:
        found = await store.credentials()
    now = SystemClock().now()
    return [ListedCredential(each, each.good(now)) for each in found]
