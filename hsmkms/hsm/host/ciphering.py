"""Encrypting and decrypting with a key's material, inside the token.

Laws:

- the whole ciphertext of `core.ciphertexts` is composed and taken apart here, and its IV comes from the token's random
  generator: whoever asks chooses neither IV nor form;
- the object that encrypts can encrypt, decrypt and nothing else; it is kept at hand for its record and no other;
- no refusal of a decryption is taken at the token's word: a known value must go through the same object, and the
  ciphertext be refused again;
- a cipher that did not work when the host started is refused; no other stands in for it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11 import Mechanism

from hsmkms.core import ciphertexts
from hsmkms.core.ciphertexts import IV_BYTES, OF_EDITION, CipherAlgorithm, Ciphertext
from hsmkms.core.custody import CustodyRole
from hsmkms.core.errors import CiphertextInvalid
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm.host import faults, records, sealing_keys, templates
from hsmkms.hsm.host.faults import ErrorClass, TokenSick
from hsmkms.hsm.host.materials import StepFailed, generate_and_seal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench

_logger = logging.getLogger(__name__)

MECHANISMS: Final[Mapping[CipherAlgorithm, Mechanism]] = {CipherAlgorithm.AES_256_GCM: Mechanism.AES_GCM}
"""Python-pkcs11 knows no mechanism of SM4."""

_KNOWN: Final = bytes(ciphertexts.LEAST_PADDED_BYTES)
_KNOWN_IV: Final = bytes(IV_BYTES)
"""Always the same: so is what it encrypts, and the result stays in here, where it uses up nothing of the key."""
_KNOWN_DOMAIN: Final = b"hsmkms known value v1"


def encrypt(bench: Workbench, material: HeldMaterial, plaintext: Plaintext, context: bytes) -> bytes:
    """Return `plaintext` as a ciphertext bound to the material's owner and to `context`.

    Raises:
        RecordMismatch: the record is not its owner's.
        TokenSick: the token does not encrypt a known value either.
    """
    key = _at_hand(bench, material)
    head = ciphertexts.head_of(material.owner)
    iv = bench.session.random(IV_BYTES)
    authenticated = ciphertexts.authenticated(material.owner, head, context)
    try:
        sealed = bench.session.seal_gcm(key, ciphertexts.padded(plaintext), iv, authenticated)
    except pkcs11.PKCS11Error as error:
        try:
            _require_well(bench, key, error)
        finally:
            with contextlib.suppress(pkcs11.PKCS11Error):  # the first one is what counts
                bench.materials.forget(material.owner, material.record)
        raise
    return Ciphertext(head, iv, sealed).packed()


def decrypt(bench: Workbench, material: HeldMaterial, ciphertext: bytes, context: bytes) -> Plaintext:
    """Return the plaintext of what `encrypt` made of the same material and context.

    Raises:
        CiphertextInvalid: it did not.
        RecordMismatch: the record is not its owner's.
        TokenSick: the token refuses what it must not, too.
    """
    parsed = ciphertexts.parse(ciphertext)
    head = ciphertexts.head_of(material.owner)
    if parsed.head != head:
        raise CiphertextInvalid
    key = _at_hand(bench, material)
    authenticated = ciphertexts.authenticated(material.owner, head, context)
    for _ in range(2):
        try:
            opened = bench.session.open_gcm(key, parsed.sealed, parsed.iv, authenticated)
        except pkcs11.PKCS11Error as error:
            _require_well(bench, key, error)
            _logger.debug("decryption refused", extra={"answer": faults.word(error)})
        else:
            return ciphertexts.unpadded(opened)
    raise CiphertextInvalid


def make_data_key(bench: Workbench, material: HeldMaterial, size: int, context: bytes) -> tuple[Plaintext, bytes]:
    """Return `size` bytes of the token's random generator, and their ciphertext as `encrypt` makes it.

    Raises:
        RecordMismatch: the record is not its owner's.
    """
    plaintext = Plaintext(bench.session.random(size))
    return plaintext, encrypt(bench, material, plaintext, context)


def unsealed(bench: Workbench, material: HeldMaterial) -> TokenObject:
    """Return a new object that encrypts and decrypts.

    Raises:
        RecordMismatch: the record is not its owner's.
    """
    sealed = records.unbind(bench, material.owner, material.record)
    sealing = sealing_keys.opening(bench, CustodyRole.MATERIAL_SEALING, sealed.version)
    template = templates.ciphering_material(transferable=sealing.transferable)
    return bench.session.unwrap(sealing.key, sealed.content, template, templates.MATERIAL_SEALING_MECHANISM)


def working(bench: Workbench, owner: RecordIdentity) -> frozenset[CipherAlgorithm]:
    """Return the edition's cipher if a known value goes through it, with throw-away material of `owner`.

    It is tried twice: a host that took one failure for the token's word would never encrypt.
    """
    algorithm = OF_EDITION[bench.edition]
    if algorithm not in MECHANISMS or not any(_works(bench, owner) for _ in range(2)):
        return frozenset()
    return frozenset((algorithm,))


def _works(bench: Workbench, owner: RecordIdentity) -> bool:
    try:
        material = HeldMaterial(owner, generate_and_seal(bench, owner).record)
        with bench.session.temporary(unsealed(bench, material)) as key:
            return _goes_through(bench, key)
    except (pkcs11.PKCS11Error, StepFailed):
        return False


def _at_hand(bench: Workbench, material: HeldMaterial) -> TokenObject:
    kept = bench.materials.get(material.owner, material.record)
    if kept is not None:
        return kept
    key = unsealed(bench, material)
    bench.materials.keep(material.owner, material.record, key)
    return key


def _require_well(bench: Workbench, key: TokenObject, error: pkcs11.PKCS11Error) -> None:
    """Return if a known value goes through `key` after an error.

    Raises:
        TokenSick: it does not, or the error says that it is the token's.
    """
    if faults.classify(error) is ErrorClass.TOKEN or not _goes_through(bench, key):
        raise TokenSick(faults.word(error)) from error


def _goes_through(bench: Workbench, key: TokenObject) -> bool:
    """Tell whether `key` encrypts a known value and decrypts it again."""
    try:
        sealed = bench.session.seal_gcm_as_announced(key, _KNOWN, _KNOWN_IV, _KNOWN_DOMAIN)
        return bench.session.open_gcm(key, sealed, _KNOWN_IV, _KNOWN_DOMAIN) == _KNOWN
    except pkcs11.PKCS11Error as error:
        _logger.info("a known value does not go through", extra={"answer": faults.word(error)})
        return False
