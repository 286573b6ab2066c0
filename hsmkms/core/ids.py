"""Identifiers and instants: distinct types, so that one cannot stand where another belongs.

- A key id is a lower-case UUID of 36 characters, as both clouds show it.
- An account name matches `^[0-9a-z][0-9a-z_-]{0,63}$`; its number is what integer fields of an API show.
- An `Instant` is Unix time in milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NewType

from hsmkms.core.errors import AccountInvalid, KeyIdMalformed

KeyId = NewType("KeyId", str)
TicketId = NewType("TicketId", str)
PairId = NewType("PairId", str)
AccessId = NewType("AccessId", str)
AccountName = NewType("AccountName", str)
RequestId = NewType("RequestId", str)
Instant = NewType("Instant", int)

MILLISECONDS_PER_SECOND: Final = 1000

_KEY_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ACCOUNT: Final = re.compile(r"[0-9a-z][0-9a-z_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant: owns keys and credentials; another account's key does not exist for it."""

    number: int
    name: AccountName


def key_id(text: str) -> KeyId:
    """Return `text` as a key id.

    Raises:
        KeyIdMalformed: it is not a lower-case UUID.
    """
    if not _KEY_ID.fullmatch(text):
        raise KeyIdMalformed
    return KeyId(text)


def account_name(text: str) -> AccountName:
    """Return `text` as an account name.

    Raises:
        AccountInvalid: it does not match `^[0-9a-z][0-9a-z_-]{0,63}$`.
    """
    if not _ACCOUNT.fullmatch(text):
        raise AccountInvalid
    return AccountName(text)


def from_seconds(seconds: int) -> Instant:
    """Return the instant at which Unix second `seconds` begins."""
    return Instant(seconds * MILLISECONDS_PER_SECOND)


def to_seconds(instant: Instant) -> int:
    """Return the Unix second that `instant` lies in."""
    return instant // MILLISECONDS_PER_SECOND


def later(instant: Instant, *, seconds: int) -> Instant:
    """Return the instant `seconds` after `instant`."""
    return Instant(instant + seconds * MILLISECONDS_PER_SECOND)
