"""Records: encrypt-then-MAC inside the token, bound to the identity of the owner.

Form: version (1 byte) | IV (16) | AES-CBC ciphertext | HMAC-SHA256 (32) over canonical identity | version | IV |
ciphertext. One construction for all tokens: AES-GCM does not work on each.

Laws:

- the IV comes from the token's random generator;
- the MAC is compared in constant time before anything is decrypted;
- inputs of the MAC key are apart by their first bytes: `RecordIdentity.canonical`, fingerprints, proofs, and
  `AuditHead.canonical`.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from pkcs11 import Mechanism

from hsmkms.core.records import RecordKind
from hsmkms.hsm.host.session import AES_BLOCK_BYTES

if TYPE_CHECKING:
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench

_VERSION: Final = b"\x01"
_MAC_BYTES: Final = 32
_LEAST_BYTES: Final = len(_VERSION) + 2 * AES_BLOCK_BYTES + _MAC_BYTES


class RecordMismatch(Exception):
    """The record was not made for this identity, or was changed since."""


def _encrypting_key(bench: Workbench, identity: RecordIdentity) -> TokenObject:
    return bench.custody.credential if identity.kind is RecordKind.CREDENTIAL else bench.custody.record


def _mac(bench: Workbench, identity: RecordIdentity, body: bytes) -> bytes:
    return bench.session.mac(bench.custody.mac, identity.canonical() + body, Mechanism.SHA256_HMAC)


def bind(bench: Workbench, identity: RecordIdentity, content: bytes) -> bytes:
    """Return `content`, encrypted and authenticated together with `identity`."""
    iv = bench.session.random(AES_BLOCK_BYTES)
    body = _VERSION + iv + bench.session.encrypt(_encrypting_key(bench, identity), content, iv)
    return body + _mac(bench, identity, body)


def unbind(bench: Workbench, identity: RecordIdentity, record: bytes) -> bytes:
    """Return the content of a record of `identity`.

    Raises:
        RecordMismatch: it is not one.
    """
    body, tag = record[:-_MAC_BYTES], record[-_MAC_BYTES:]
    if len(record) < _LEAST_BYTES or not record.startswith(_VERSION):
        raise RecordMismatch
    if not hmac.compare_digest(_mac(bench, identity, body), tag):
        raise RecordMismatch
    start = len(_VERSION)
    iv, encrypted = body[start : start + AES_BLOCK_BYTES], body[start + AES_BLOCK_BYTES :]
    return bench.session.decrypt(_encrypting_key(bench, identity), encrypted, iv)
