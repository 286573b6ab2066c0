"""What making credentials of every kind has in common: random names and secrets, and the transactions that add one.

Law: a credential made in the place of another may do what that one may, and no more.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hsmkms.core.credentials import MOST_IN_SCOPE, Credential
from hsmkms.core.errors import FieldInvalid
from hsmkms.core.events import EventTag
from hsmkms.core.ids import AccessId, Instant, later
from hsmkms.service.rows import ACCESS_ID, credential_event, existing_credential

if TYPE_CHECKING:
    from hsmkms.core.credentials import Grant, Proof
    from hsmkms.core.ports import Clock, Reading, Store, Writing

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


async def add_credential(store: Store, clock: Clock, grant: Grant, proof: Proof) -> Credential:
    """Add a credential, its account if that is new, and the event, in one transaction.

    Raises:
        FieldInvalid: the scope names a key that the account does not have, or too many.
    """
    now = clock.now()

    def add(writing: Writing) -> Credential:
        account = writing.ensure_account(grant.account)
        _require_scope(writing, grant)
        made = Credential(
            access_id=proof.access_id,
            account=account,
            roles=grant.roles,
            created_at=now,
            record=proof.record,
            token_digest=proof.token_digest,
            scope=grant.scope,
            valid_to=None if grant.valid_seconds is None else later(now, seconds=grant.valid_seconds),
        )
        _add(writing, made)
        return made

    return await store.write(add)


async def add_successor(
    store: Store, clock: Clock, replaced: AccessId, overlap_seconds: int, proof: Proof
) -> Credential:
    """Add a credential that may do what another may, let that one end, and append the events, in one transaction.

    Where the other was made for a time, the new one is made for as long.

    Raises:
        FieldInvalid: there is no such credential, it was replaced before, or it proves nothing any more.
    """
    now = clock.now()

    def add(writing: Writing) -> Credential:
        old = existing_credential(writing, replaced)
        _require_replaceable(old, now)
        made = replace(
            old,
            access_id=proof.access_id,
            created_at=now,
            record=proof.record,
            token_digest=proof.token_digest,
            valid_to=None if old.valid_to is None else Instant(now + old.valid_to - old.created_at),
        )
        end = later(now, seconds=overlap_seconds)
        end = end if old.valid_to is None else min(end, old.valid_to)
        ending = replace(old, valid_to=end, replaced_by=made.access_id)
        _add(writing, made)
        writing.replace_credential(ending)
        facts = {"successor": made.access_id, "valid_to": ending.valid_to}
        writing.append(credential_event(EventTag.CREDENTIAL_ROTATED, ending, now, **facts))
        return made

    return await store.write(add)


def _require_replaceable(old: Credential, now: Instant) -> None:
    # Its end is that of the overlap, which says nothing of how long a second successor should last.
    if old.replaced_by is not None:
        raise FieldInvalid(
            ACCESS_ID,
            f"this one was replaced by {old.replaced_by}; rotate that one, with --overlap-hours 0 if its secret was "
            "lost.",
        )
    if not old.good(now):
        why = "has ended" if old.switched_on else "is disabled"
        raise FieldInvalid(ACCESS_ID, f"this one {why}; 'hsmkms credential create' makes a new one.")


def _require_scope(reading: Reading, grant: Grant) -> None:
    for option, named in (("--key", grant.scope.key_ids), ("--tag", grant.scope.tags)):
        if len(named) > MOST_IN_SCOPE:
            raise FieldInvalid(option, f"give it at most {MOST_IN_SCOPE} times.")
    for key_id in sorted(grant.scope.key_ids):
        if reading.key(grant.account, key_id) is None:
            raise FieldInvalid("--key", f"the account {grant.account} has no key {key_id}.")


def _add(writing: Writing, made: Credential) -> None:
    writing.add_credential(made)
    facts: dict[str, str | int | bool] = {
        "roles": ",".join(sorted(made.roles)),
        "auth_token": made.token_digest is not None,
    }
    if made.scope.limited:
        facts["scope"] = made.scope.text()
    if made.valid_to is not None:
        facts["valid_to"] = made.valid_to
    writing.append(credential_event(EventTag.CREDENTIAL_CREATED, made, made.created_at, **facts))


def _random_text(characters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))
