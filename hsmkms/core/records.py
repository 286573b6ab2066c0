"""Whose a record is.

A record is a sealed blob, or a credential's secret, encrypted and authenticated by the token together with the
identity of its owner. Laws:

- two different identities never have the same canonical form (every part is length-prefixed);
- a record opens for the identity it was made for and for no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hsmkms.core.ids import AccessId, AccountName, KeyId, PairId
    from hsmkms.core.material import Edition

_DOMAIN: Final = b"hsmkms record v1"


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
