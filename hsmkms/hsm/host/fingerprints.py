"""What tells two materials of one key apart.

Two AES-CMACs (RFC 4493) under the material, over a domain, the account, the key id and the length, and an HMAC-SHA256
under the token's MAC key over both. Why: one block of an AES-ECB of a constant would be the hash key of GCM; 24 bits of
a check value can be hit; one CMAC collides after 2^64 tries; without the HMAC a copied database would test guesses;
without the key id, equal material in two keys would show; without the length, K and K followed by zeros could.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pkcs11 import Mechanism

from hsmkms.core.material import Fingerprint

if TYPE_CHECKING:
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench

ALGORITHM: Final = "aes-cmac-x2-hmac-sha256-v1"
_DOMAINS: Final = (b"hsmkms fingerprint 1", b"hsmkms fingerprint 2")
_BLINDING_DOMAIN: Final = b"hsmkms fingerprint v1"


def cmac_inputs(owner: RecordIdentity) -> tuple[bytes, ...]:
    """Return what each of the CMACs is over: every part with its length as 4 bytes, big-endian."""
    parts = (owner.account.encode(), owner.owner.encode(), owner.edition.material_bits.to_bytes(4, "big"))
    return tuple(b"".join(len(part).to_bytes(4, "big") + part for part in (domain, *parts)) for domain in _DOMAINS)


def blind(bench: Workbench, cmacs: bytes) -> Fingerprint:
    """Return the fingerprint made of both CMACs."""
    digest = bench.session.mac(bench.custody.mac, _BLINDING_DOMAIN + cmacs, Mechanism.SHA256_HMAC)
    return Fingerprint(ALGORITHM, digest)


def fingerprint(bench: Workbench, key: TokenObject, owner: RecordIdentity) -> Fingerprint:
    """Return the fingerprint of the material in `key` for its owner.

    The token refuses it unless the key has 16, 24 or 32 bytes: half of the proof of its length.
    """
    cmacs = b"".join(bench.session.mac(key, data, Mechanism.AES_CMAC) for data in cmac_inputs(owner))
    return blind(bench, cmacs)
