"""From a verb to its answer.

Laws:

- every way in which wrapped material can fail to unwrap is one answer; which it was goes to the log;
- what the token refused once, with an error that may be its own, is tried once more before anybody is blamed;
- for an algorithm whose refusals are merged, a wrong length is that same answer (padding oracle), and nothing is tried
  again after C_UnwrapKey: a token that makes a random key of what it refuses (RFC 8017, 7.2.2, note) makes another one
  each time, and sooner or later one that passes;
- what a lost answer left in the token is destroyed before the verb's own answer is given;
- a cipher that did not work when the host started is refused, not tried;
- a record opens only for an identity of this host's edition and the verb's kind.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, assert_never

import pkcs11

from hsmkms.core.ciphertexts import OF_EDITION
from hsmkms.core.errors import CiphertextInvalid, NotTransferable, TokenUnusable
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import RecordKind
from hsmkms.core.secrets import Plaintext
from hsmkms.core.wrapping import WRAPPING
from hsmkms.hsm import messages
from hsmkms.hsm.host import canary, ciphering, faults, materials, pairs, records, resealing, seals
from hsmkms.hsm.host.faults import ErrorClass, TokenSick
from hsmkms.hsm.host.fingerprints import fingerprint
from hsmkms.hsm.host.materials import Step, StepFailed
from hsmkms.hsm.host.probe import probe
from hsmkms.hsm.host.records import RecordMismatch
from hsmkms.hsm.messages import Answer, Fault, FaultKind

if TYPE_CHECKING:
    from hsmkms.core.material import SealedMaterial
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.workbench import Workbench
    from hsmkms.hsm.parts import Held, Identity
    from hsmkms.hsm.report import TokenDescription

_logger = logging.getLogger(__name__)
_PAIR_BITS: Final = range(2048, 4097)


class VerbRefused(Exception):
    """The caller asked what this host does not do: a defect of the caller."""


def answer(bench: Workbench, verb: messages.Verb, token: TokenDescription) -> Answer:
    """Carry out one verb.

    Raises:
        TokenSick: nothing was judged; the host must end.
    """
    judged = _judged(bench, verb, token)
    bench.destroy_unknown()
    return judged


def _judged(bench: Workbench, verb: messages.Verb, token: TokenDescription) -> Answer:
    try:
        return _carried_out(bench, verb, token)
    except RecordMismatch:
        return Fault(kind=FaultKind.RECORD_BROKEN)
    except CiphertextInvalid:
        return Fault(kind=FaultKind.CIPHERTEXT_INVALID)
    except VerbRefused as refused:
        _logger.error("verb refused", extra={"verb": type(verb).__name__, "why": str(refused)})
        return Fault(kind=FaultKind.REFUSED)
    except TokenUnusable as unusable:
        return Fault(kind=FaultKind.UNUSABLE, message=unusable.message)
    except (pkcs11.PKCS11Error, StepFailed) as error:
        _require_well(bench, error)
        return Fault(kind=FaultKind.INTERNAL)


def _carried_out(bench: Workbench, verb: messages.Verb, token: TokenDescription) -> Answer:
    """Carry out one verb; again, if the token refused it for no reason that it still has."""
    try:
        return _carry_out(bench, verb, token)
    except (pkcs11.PKCS11Error, StepFailed) as error:
        _require_well(bench, error)
    return _carry_out(bench, verb, token)


def _require_well(bench: Workbench, error: pkcs11.PKCS11Error | StepFailed) -> None:
    """Return if the token is well after an error that no data of the caller's explains.

    Raises:
        TokenSick: it is not, by its own word or because the canary does not come through.
    """
    cause = error.error if isinstance(error, StepFailed) else error
    word = faults.word(cause) if cause is not None else str(error)
    of_the_token = cause is not None and faults.classify(cause) is ErrorClass.TOKEN
    if of_the_token or not bench.canary.sings(bench, None):
        raise TokenSick(word) from error
    _logger.error("the token refused a step that it can do", extra={"answer": word})


def _carry_out(bench: Workbench, verb: messages.Verb, token: TokenDescription) -> Answer:
    match verb:
        case (
            messages.ImportMaterial()
            | messages.GenerateMaterial()
            | messages.ResealMaterial()
            | messages.InspectMaterial()
        ):
            return _of_material(bench, verb)
        case messages.MakePair():
            return _make_pair(bench, verb)
        case (
            messages.Encrypt()
            | messages.MakeDataKey()
            | messages.Decrypt()
            | messages.RequireDecryptable()
            | messages.ReEncrypt()
        ):
            return _with_material(bench, verb)
        case messages.Random() | messages.Probe():
            return _of_token(bench, verb, token)
        case messages.SealHead() | messages.HoldsSeal() | messages.CutAfter() | messages.HoldsCut():
            return _of_trail(bench, verb)
        case messages.ProtectSecret() | messages.OpenSecret():
            return _of_secret(bench, verb)
        case (
            messages.Attach()
            | messages.Initialise()
            | messages.MakeSealingKeys()
            | messages.DestroySealingKeys()
            | messages.Adopt()
        ):
            raise VerbRefused("this host is attached already")
        case _:
            assert_never(verb)


def _of_token(bench: Workbench, verb: messages.Random | messages.Probe, token: TokenDescription) -> Answer:
    match verb:
        case messages.Random():
            return messages.RandomMade(content=bench.session.random(verb.size))
        case messages.Probe():
            return messages.Probed(report=probe(bench, token))


def _of_material(
    bench: Workbench,
    verb: messages.ImportMaterial | messages.GenerateMaterial | messages.ResealMaterial | messages.InspectMaterial,
) -> Answer:
    owner = _owner(bench, verb.owner, RecordKind.MATERIAL)
    match verb:
        case messages.ImportMaterial():
            return _import(bench, verb, owner)
        case messages.GenerateMaterial():
            return _sealed(materials.generate_and_seal(bench, owner))
        case messages.ResealMaterial():
            return _reseal(bench, owner, verb.record)
        case messages.InspectMaterial():
            return _inspect(bench, owner, verb.record)


def _with_material(
    bench: Workbench,
    verb: messages.Encrypt | messages.MakeDataKey | messages.Decrypt | messages.RequireDecryptable | messages.ReEncrypt,
) -> Answer:
    cipher = OF_EDITION[bench.edition]
    if cipher not in bench.canary.ciphers:
        raise VerbRefused(f"{cipher}, which this token does not do")
    if isinstance(verb, messages.Encrypt | messages.MakeDataKey):
        return _to_encrypt(bench, verb)
    return _to_decrypt(bench, verb)


def _to_encrypt(bench: Workbench, verb: messages.Encrypt | messages.MakeDataKey) -> Answer:
    material = _held(bench, verb.material)
    match verb:
        case messages.Encrypt():
            made = ciphering.encrypt(bench, material, Plaintext(verb.plaintext), verb.context)
            return messages.Encrypted(ciphertext=made)
        case messages.MakeDataKey():
            plaintext, made = ciphering.make_data_key(bench, material, verb.size, verb.context)
            return messages.DataKeyMade(ciphertext=made, plaintext=plaintext.reveal() if verb.shown else None)


def _to_decrypt(bench: Workbench, verb: messages.Decrypt | messages.RequireDecryptable | messages.ReEncrypt) -> Answer:
    material = _held(bench, verb.source if isinstance(verb, messages.ReEncrypt) else verb.material)
    plaintext = ciphering.decrypt(bench, material, verb.ciphertext, verb.context)
    match verb:
        case messages.Decrypt():
            return messages.Decrypted(plaintext=plaintext.reveal())
        case messages.RequireDecryptable():
            return messages.Decryptable()
        case messages.ReEncrypt():
            made = ciphering.encrypt(bench, _held(bench, verb.target), plaintext, verb.target_context)
            return messages.Encrypted(ciphertext=made)


def _held(bench: Workbench, wire: Held) -> HeldMaterial:
    return HeldMaterial(_owner(bench, wire.owner, RecordKind.MATERIAL), wire.record)


def _of_trail(
    bench: Workbench, verb: messages.SealHead | messages.HoldsSeal | messages.CutAfter | messages.HoldsCut
) -> Answer:
    head = verb.head.core()
    match verb:
        case messages.SealHead():
            return messages.HeadSealed(mac=seals.make(bench, verb.deployment_id, head))
        case messages.HoldsSeal():
            return messages.SealCompared(holds=seals.holds(bench, verb.deployment_id, head, verb.mac))
        case messages.CutAfter():
            return messages.HeadSealed(mac=seals.cut_after(bench, verb.deployment_id, head))
        case messages.HoldsCut():
            return messages.SealCompared(holds=seals.holds_cut(bench, verb.deployment_id, head, verb.mac))


def _of_secret(bench: Workbench, verb: messages.ProtectSecret | messages.OpenSecret) -> Answer:
    identity = _owner(bench, verb.identity, RecordKind.CREDENTIAL)
    if isinstance(verb, messages.ProtectSecret):
        return messages.SecretProtected(record=records.bind(bench, identity, verb.secret))
    return messages.SecretOpened(secret=records.unbind(bench, identity, verb.record).content)


def _owner(bench: Workbench, wire: Identity, kind: RecordKind) -> RecordIdentity:
    identity = wire.core()
    if identity.kind is not kind:
        raise VerbRefused(f"an identity of kind {identity.kind}, not {kind}")
    if identity.edition is not bench.edition:
        raise VerbRefused(f"an identity of edition {identity.edition}, not {bench.edition}")
    return identity


def _sealed(sealed: SealedMaterial) -> messages.MaterialSealed:
    return messages.MaterialSealed(
        record=sealed.record,
        fingerprint_algorithm=sealed.fingerprint.algorithm,
        fingerprint=sealed.fingerprint.digest,
    )


def _make_pair(bench: Workbench, verb: messages.MakePair) -> Answer:
    if verb.bits not in _PAIR_BITS:
        raise VerbRefused(f"a pair of {verb.bits} bits")
    public_key, record = pairs.make_pair(bench, _owner(bench, verb.identity, RecordKind.PAIR), verb.bits)
    return messages.PairMade(public_key=public_key, record=record)


def _import(bench: Workbench, verb: messages.ImportMaterial, owner: RecordIdentity) -> Answer:
    if verb.algorithm not in bench.canary.ciphertexts:
        raise VerbRefused(f"{verb.algorithm}, which this token does not do")
    pair = pairs.open_pair(bench, _owner(bench, verb.pair, RecordKind.PAIR), verb.pair_record)
    for _ in range(2):
        try:
            return _sealed(materials.unwrap_and_seal(bench, pair, verb.algorithm, verb.ciphertext, owner))
        except StepFailed as failed:
            kind = canary.judge(bench, failed, verb.algorithm)
            facts = {"algorithm": verb.algorithm, "step": failed.step.value, "answer": canary.word_of(failed)}
            if canary.taken_at_its_word(failed) or WRAPPING[verb.algorithm].merges_refusals:
                break
    _logger.info("import refused", extra=facts)
    if kind is FaultKind.LENGTH_WRONG and WRAPPING[verb.algorithm].merges_refusals:
        kind = FaultKind.UNDECRYPTABLE
    needed = owner.edition.material_bits if kind is FaultKind.LENGTH_WRONG else 0
    return Fault(kind=kind, needed_bits=needed)


def _reseal(bench: Workbench, owner: RecordIdentity, record: bytes) -> Answer:
    """Seal anew; what fails twice while the token is well is the record's fault, if it was its part that failed."""
    for _ in range(2):
        try:
            return _sealed(resealing.reseal(bench, owner, record))
        except NotTransferable:
            return Fault(kind=FaultKind.NOT_TRANSFERABLE)
        except StepFailed as failed:
            _require_well(bench, failed)
            facts = {"step": failed.step.value, "answer": canary.word_of(failed)}
            broken = failed.step in resealing.OF_THE_RECORD
    _logger.error("material was not sealed anew", extra=facts)
    return Fault(kind=FaultKind.RECORD_BROKEN if broken else FaultKind.INTERNAL)


def _inspect(bench: Workbench, owner: RecordIdentity, record: bytes) -> Answer:
    sealed = records.unbind(bench, owner, record)
    bits = owner.edition.material_bits
    with materials.unsealed(bench, sealed) as key:
        attributes = materials.attributes_of(bench, key)
        mark = fingerprint(bench, key, owner)
    if len(sealed.content) != owner.edition.sealed_bytes:
        raise StepFailed(Step.SEALED_SIZE)
    return messages.MaterialInspected(
        attributes=attributes,
        length_bits=bits,
        length_proof=(
            "The token made AES-CMACs with it, which works only with keys of 16, 24 or 32 bytes, and its AES key wrap "
            f"has {len(sealed.content)} bytes, of which RFC 3394 adds 8: the key has {bits // 8} bytes."
        ),
        fingerprint_algorithm=mark.algorithm,
        fingerprint=mark.digest,
    )
