"""Whose a record is.

A record is a sealed blob, or a credential's secret, encrypted and authenticated by the token together with the
identity of its owner. Laws:

- two different identities never have the same canonical form (every part is length-prefixed);
- a record opens for the identity it was made for and for no other;
- its head, which is authenticated with the rest, says under which version of the sealing key its content is sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hsmkms.core.custody import FIRST_VERSION

if TYPE_CHECKING:
    from hsmkms.core.ids import AccessId, AccountName, KeyId, PairId
    from hsmkms.core.material import Edition

_DOMAIN: Final = b"hsmkms record v1"
_FIRST_FORM: Final = b"\x01"
"""Of what the first version sealed, and of credentials' secrets, which are under no sealing key."""
_VERSIONED_FORM: Final = b"\x02"
_VERSION_BYTES: Final = 4
MOST_VERSION: Final = 2**31 - 1


def head_of(version: int) -> bytes:
    """Return how a record begins whose content is sealed under this version (1 to `MOST_VERSION`)."""
    if version == FIRST_VERSION:
        return _FIRST_FORM
    return _VERSIONED_FORM + version.to_bytes(_VERSION_BYTES, "big")


def split_head(record: bytes) -> tuple[int, bytes]:
    """Return the version that a record's head names, and the head.

    Raises:
        ValueError: it begins as no record does.
    """
    if record.startswith(_FIRST_FORM):
        return FIRST_VERSION, _FIRST_FORM
    head = record[: len(_VERSIONED_FORM) + _VERSION_BYTES]
    version = int.from_bytes(head[len(_VERSIONED_FORM) :], "big")
    if not FIRST_VERSION < version <= MOST_VERSION or head != head_of(version):
        raise ValueError("no record begins like this")
    return version, head


class RecordKind(StrEnum):
    """What a record holds."""

    MATERIAL = "material"
    PAIR = "pair"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class RecordIdentity:
    """The owner of a record; all of it is authenticated with the record."""

    kind: RecordKind
    account: str
    owner: str
    edition: Edition
    generation: int

    def canonical(self) -> bytes:
        """Return the bytes that the token authenticates: each part with its length as 4 bytes, big-endian."""
        parts = (
            _DOMAIN,
            self.kind.value.encode(),
            self.account.encode(),
            self.owner.encode(),
            self.edition.value.encode(),
            self.generation.to_bytes(8, "big"),
        )
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def of_material(account: AccountName, key_id: KeyId, edition: Edition, generation: int) -> RecordIdentity:
    """Return the identity of a key's material of one generation."""
    return RecordIdentity(RecordKind.MATERIAL, account, key_id, edition, generation)


def of_pair(pair_id: PairId, edition: Edition) -> RecordIdentity:
    """Return the identity of a wrapping pair, which belongs to no account until a ticket takes it."""
    return RecordIdentity(RecordKind.PAIR, "", pair_id, edition, 0)


def of_credential(account: AccountName, access_id: AccessId, edition: Edition) -> RecordIdentity:
    """Return the identity of a credential's secret."""
    return RecordIdentity(RecordKind.CREDENTIAL, account, access_id, edition, 0)
