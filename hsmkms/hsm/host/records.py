"""Records: encrypt-then-MAC inside the token, bound to the identity of the owner.

Form: head (`core.records.head_of`) | IV (16) | AES-CBC ciphertext | HMAC-SHA256 (32) over canonical identity | head |
IV | ciphertext. One construction for all tokens: AES-GCM does not work on each.

Laws:

- the IV comes from the token's random generator;
- the MAC is compared in constant time before anything is decrypted, and before a head is believed;
- inputs of the MAC key are apart by their first bytes: `RecordIdentity.canonical`, fingerprints, proofs, and
  `AuditHead.canonical`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pkcs11 import Mechanism

from hsmkms.core.custody import FIRST_VERSION
from hsmkms.core.records import RecordKind, head_of, split_head
from hsmkms.hsm.host.session import AES_BLOCK_BYTES

if TYPE_CHECKING:
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench

_MAC_BYTES: Final = 32
_LEAST_BYTES: Final = 2 * AES_BLOCK_BYTES + _MAC_BYTES
"""Behind the head."""


class RecordMismatch(Exception):
    """The record was not made for this identity, or was changed since, or the key that sealed it is gone."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a record holds."""

    version: int
    """Of the sealing key that it is under; the first one of a credential's secret, which is under none."""
    content: bytes = field(repr=False)


def _encrypting_key(bench: Workbench, identity: RecordIdentity) -> TokenObject:
    return bench.custody.credential if identity.kind is RecordKind.CREDENTIAL else bench.custody.record


def _mac(bench: Workbench, identity: RecordIdentity, body: bytes) -> bytes:
    return bench.session.mac(bench.custody.mac, identity.canonical() + body, Mechanism.SHA256_HMAC)


def bind(bench: Workbench, identity: RecordIdentity, content: bytes, version: int = FIRST_VERSION) -> bytes:
    """Return `content`, encrypted and authenticated together with `identity` and what sealed it.

    Args:
        bench: what to work with.
        identity: whose it is.
        content: a sealed blob, or a credential's secret.
        version: of the sealing key that the blob is under.
    """
    iv = bench.session.random(AES_BLOCK_BYTES)
    body = head_of(version) + iv + bench.session.encrypt(_encrypting_key(bench, identity), content, iv)
    return body + _mac(bench, identity, body)


def unbind(bench: Workbench, identity: RecordIdentity, record: bytes) -> Content:
    """Return the content of a record of `identity`.

    Raises:
        RecordMismatch: it is not one.
    """
    try:
        version, head = split_head(record)
    except ValueError:
        raise RecordMismatch from None
    body, tag = record[:-_MAC_BYTES], record[-_MAC_BYTES:]
    if len(record) < len(head) + _LEAST_BYTES:
        raise RecordMismatch
    if identity.kind is RecordKind.CREDENTIAL and version != FIRST_VERSION:
        raise RecordMismatch
    if not hmac.compare_digest(_mac(bench, identity, body), tag):
        raise RecordMismatch
    start = len(head)
    iv, encrypted = body[start : start + AES_BLOCK_BYTES], body[start + AES_BLOCK_BYTES :]
    return Content(version, bench.session.decrypt(_encrypting_key(bench, identity), encrypted, iv))
