"""What credentials of every kind have in common: random names and secrets, and the transaction that adds one."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Final

from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import AccessId

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.credentials import Credential
    from hsmkms.core.ids import Account, AccountName, Instant
    from hsmkms.core.ports import Clock, Store

ACCESS_ID_PREFIX: Final = "AKID"
SECRET_CHARACTERS: Final = 43
"""43 of 62 letters and digits: 256 bits."""

_ALPHABET: Final = string.ascii_letters + string.digits
_ACCESS_ID_CHARACTERS: Final = 32


def new_access_id() -> AccessId:
    """Return an access id that nobody has."""
    return AccessId(ACCESS_ID_PREFIX + _random_text(_ACCESS_ID_CHARACTERS))


def new_secret() -> bytes:
    """Return `SECRET_CHARACTERS` letters and digits that nobody can guess."""
    return _random_text(SECRET_CHARACTERS).encode()


async def add_credential(
    store: Store, clock: Clock, account: AccountName, made: Callable[[Account, Instant], Credential]
) -> None:
    """Add the credential that `made` returns, its account if that is new, and the event, in one transaction."""
    now = clock.now()
    async with store.writing() as writing:
        credential = made(await writing.ensure_account(account), now)
        await writing.add_credential(credential)
        detail: dict[str, str | bool] = {
            "access_id": credential.access_id,
            "roles": ",".join(sorted(credential.roles)),
            "auth_token": credential.token_digest is not None,
        }
        await writing.append(Event(EventTag.CREDENTIAL_CREATED, now, account, "operator", detail=detail))


def _random_text(characters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))
