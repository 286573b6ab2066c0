"""Import: unwrap, fingerprint, seal, read back, bind; all on session objects, all inside the token.

Laws:

- the material's only plaintext is an object of the token, extractable for the time between two PKCS#11 calls;
- its length is proved by two facts together, neither enough alone: a CMAC works only with 16, 24 or 32 bytes, and
  AES-KW makes exactly 8 bytes more of it; SoftHSM zero-pads odd lengths when it wraps, so the size alone would not do;
- what is sealed is what was unwrapped: unsealed again, it must have the same fingerprint;
- temporaries are destroyed on every path.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11 import MGF, Attribute, Mechanism

from hsmkms.core.custody import CustodyRole
from hsmkms.core.material import SealedMaterial
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm.host import packing, records, sealing_keys, templates
from hsmkms.hsm.host.fingerprints import fingerprint
from hsmkms.hsm.host.records import Content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.packing import Parameter
    from hsmkms.hsm.host.pairs import WrappingPair
    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench


UNWRAPPING: Final[Mapping[WrappingAlgorithm, Parameter]] = {
    WrappingAlgorithm.RSAES_OAEP_SHA_256: packing.oaep(Mechanism.SHA256, MGF.SHA256),
    WrappingAlgorithm.RSAES_OAEP_SHA_1: packing.oaep(Mechanism.SHA_1, MGF.SHA1),
    WrappingAlgorithm.RSAES_PKCS1_V1_5: packing.plain(Mechanism.RSA_PKCS),
}
"""C_UnwrapKey's mechanism with its parameter."""


class Step(StrEnum):
    """The steps of an import and of a transfer, by which a refusal is known."""

    CIPHERTEXT = "size and value of the ciphertext"
    UNWRAP = "unwrapping"
    UNSEAL = "unsealing"
    TRANSIT = "transit key"
    FINGERPRINT = "fingerprint (CMAC)"
    SEAL = "sealing (AES-KW)"
    SEALED_SIZE = "size of the sealed blob"
    READ_BACK = "reading back"
    SAME = "same material read back"
    BIND = "binding"


class StepFailed(Exception):
    """An import or a transfer went as far as `step`."""

    def __init__(self, step: Step, error: pkcs11.PKCS11Error | None = None) -> None:
        """Take the step, and the token's error if it was the token that refused."""
        self.step = step
        self.error = error
        super().__init__(step.value)


@contextmanager
def step_of(step: Step) -> Iterator[None]:
    """Raise StepFailed for an error of the token in the block."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        raise StepFailed(step, error) from error


def unwrap_and_seal(
    bench: Workbench, pair: WrappingPair, algorithm: WrappingAlgorithm, ciphertext: bytes, owner: RecordIdentity
) -> SealedMaterial:
    """Bring wrapped material into the token, prove its length, and return it sealed and bound.

    Raises:
        StepFailed: naming the step.
    """
    if len(ciphertext) != pair.size or int.from_bytes(ciphertext, "big") >= pair.modulus:
        raise StepFailed(Step.CIPHERTEXT)
    template = templates.material(extractable=True)
    with step_of(Step.UNWRAP):
        key = bench.session.unwrap(pair.private, ciphertext, template, UNWRAPPING[algorithm])
    with bench.session.temporary(key):
        return seal(bench, key, owner)


def generate_and_seal(bench: Workbench, owner: RecordIdentity) -> SealedMaterial:
    """Generate material of the edition's length in the token, and return it sealed and bound.

    Raises:
        StepFailed: naming the step.
    """
    key = bench.session.generate_secret(owner.edition.material_bits, templates.material(extractable=True))
    with bench.session.temporary(key):
        return seal(bench, key, owner)


def seal(bench: Workbench, key: TokenObject, owner: RecordIdentity) -> SealedMaterial:
    """Prove the length of a temporary object and return it sealed and bound.

    Raises:
        StepFailed: naming the step.
    """
    sealing = bench.custody.material_sealing
    with step_of(Step.FINGERPRINT):
        first = fingerprint(bench, key, owner)
    with step_of(Step.SEAL):
        blob = bench.session.wrap(sealing.key, key, templates.MATERIAL_SEALING_MECHANISM)
    if len(blob) != owner.edition.sealed_bytes:
        raise StepFailed(Step.SEALED_SIZE)
    with step_of(Step.READ_BACK), unsealed(bench, Content(sealing.version, blob)) as again:
        second = fingerprint(bench, again, owner)
    if not first.matches(second):
        raise StepFailed(Step.SAME)
    with step_of(Step.BIND):
        return SealedMaterial(records.bind(bench, owner, blob, sealing.version), first)


@contextmanager
def unsealed(bench: Workbench, sealed: Content) -> Iterator[TokenObject]:
    """Lend the material of a sealed blob as an object that is not extractable.

    Raises:
        RecordMismatch: the key that sealed it is gone.
    """
    sealing = sealing_keys.opening(bench, CustodyRole.MATERIAL_SEALING, sealed.version)
    template = templates.material(transferable=sealing.transferable)
    key = bench.session.unwrap(sealing.key, sealed.content, template, templates.MATERIAL_SEALING_MECHANISM)
    with bench.session.temporary(key):
        yield key


_READ: Final = (
    Attribute.CLASS,
    Attribute.KEY_TYPE,
    Attribute.TOKEN,
    Attribute.PRIVATE,
    Attribute.SENSITIVE,
    Attribute.EXTRACTABLE,
    Attribute.LOCAL,
    Attribute.ALWAYS_SENSITIVE,
    Attribute.NEVER_EXTRACTABLE,
    *templates.SECRET_KEY_USES,
    Attribute.MODIFIABLE,
    Attribute.VALUE_LEN,
)


def attributes_of(bench: Workbench, key: TokenObject) -> dict[str, bool | int | str | None]:
    """Return what the token says of `key`, by attribute names without CKA_; None where it says nothing."""
    said: dict[str, bool | int | str | None] = {}
    for attribute in _READ:
        value = bench.session.read(key, attribute)
        # CLASS and KEY_TYPE come as enumerations, whose names an auditor reads more easily than their numbers
        said[attribute.name] = value.name if hasattr(value, "name") else value
    return said
