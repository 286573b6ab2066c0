"""The start-up probe: real round trips for every wrapping algorithm and every doubtful length.

Law: the material goes through the very code of an import; nothing is concluded from the list of mechanisms.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import pkcs11
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from pkcs11 import Attribute

from hsmkms.core.ids import AccountName, KeyId, PairId
from hsmkms.core.material import Edition
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import of_material, of_pair
from hsmkms.core.wrapping import WRAPPING_KEY_BITS, WrappingAlgorithm
from hsmkms.hsm.host import behaviour, ciphers, faults, outside, templates, unknown
from hsmkms.hsm.host.faults import ErrorClass, TokenSick
from hsmkms.hsm.host.fingerprints import ALGORITHM, blind, cmac_inputs
from hsmkms.hsm.host.materials import UNWRAPPING, Step, StepFailed, unwrap_and_seal
from hsmkms.hsm.host.pairs import make_pair, open_pair
from hsmkms.hsm.report import RANDOM, ZERO_PADDED, AlgorithmFinding, LengthFinding, TokenDescription, TokenReport

if TYPE_CHECKING:
    from hsmkms.core.material import Fingerprint, SealedMaterial
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.ciphers import Ciphers
    from hsmkms.hsm.host.pairs import WrappingPair
    from hsmkms.hsm.host.workbench import Workbench
    from hsmkms.hsm.report import CheckFinding

LENGTHS: Final = (0, 1, 15, 16, 17, 24, 31, 32, 33, 48, 64)
"""In bytes: where tokens were seen to pad, truncate or take anything."""

_FINGERPRINT_NOTES: Final = {
    Edition.FIPS: "AES-CMAC of the 256-bit material",
    Edition.SM: "the material is held as an AES key and the CMAC is AES's: this token has no SM4 profile",
}


class _Round:
    """Round trips under one pair."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.owner: RecordIdentity = of_material(AccountName("probe"), KeyId(str(uuid.uuid4())), bench.edition, 0)
        identity = of_pair(PairId(f"probe-{uuid.uuid4()}"), bench.edition)
        self.public_key, record = make_pair(bench, identity, WRAPPING_KEY_BITS)
        self.pair: WrappingPair = open_pair(bench, identity, record)

    def go(self, algorithm: WrappingAlgorithm, ciphertext: bytes) -> SealedMaterial:
        """Import once.

        Raises:
            StepFailed: refused at a step.
            TokenSick: the token itself failed.
        """
        try:
            return unwrap_and_seal(self.bench, self.pair, algorithm, ciphertext, self.owner)
        except StepFailed as failed:
            if failed.error is not None and faults.classify(failed.error) is ErrorClass.TOKEN:
                raise TokenSick(faults.word(failed.error)) from failed
            raise

    def expected(self, plaintext: bytes) -> Fingerprint:
        """Return the fingerprint of known material, its CMACs made outside the token."""
        cmacs = b""
        for data in cmac_inputs(self.owner):
            cmac = CMAC(AES(plaintext))
            cmac.update(data)
            cmacs += cmac.finalize()
        return blind(self.bench, cmacs)


def _detail(failed: StepFailed) -> str:
    return "" if failed.error is None else faults.word(failed.error)


def _of_length(rounds: _Round, algorithm: WrappingAlgorithm, plaintext: bytes, kind: str) -> LengthFinding:
    ciphertext = outside.wrap(rounds.public_key, algorithm, plaintext)
    try:
        rounds.go(algorithm, ciphertext)
    except StepFailed as failed:
        step, detail = failed.step.value, _detail(failed)
    else:
        step, detail = "", ""
    return LengthFinding(length_bytes=len(plaintext), plaintext=kind, accepted=not step, refused_by=step, detail=detail)


def _plaintexts(right: int) -> list[tuple[bytes, str]]:
    """Return what to try: random bytes of every length, and every wrong length's twin.

    Two plaintexts are twins if zero-padding turns one into the other. Below the right length, the twin of the bytes
    tried is K followed by zeros; above it, what is tried is itself a K of the right length followed by zeros.
    """
    tried = [(outside.throw_away(length), RANDOM) for length in LENGTHS]
    for length in LENGTHS:
        if length < right:
            tried.append((outside.throw_away(length).ljust(right, b"\0"), ZERO_PADDED))
        elif length > right:
            tried.append((outside.throw_away(right).ljust(length, b"\0"), ZERO_PADDED))
    return tried


def _damaged(rounds: _Round, algorithm: WrappingAlgorithm, right: int) -> str:
    ciphertext = outside.wrap(rounds.public_key, algorithm, outside.throw_away(right))
    try:
        rounds.go(algorithm, outside.damage(ciphertext))
    except StepFailed as failed:
        refusal = f"refused by {failed.step.value} ({_detail(failed) or 'wrong length'})"
        unwrapped = failed.step is not Step.UNWRAP or isinstance(failed.error, pkcs11.KeySizeRange)
        return f"{refusal}, after it unwrapped to a random key" if unwrapped else refusal
    return "accepted as a random key"


def _of_algorithm(rounds: _Round, algorithm: WrappingAlgorithm) -> AlgorithmFinding:
    right = rounds.bench.edition.material_bytes
    known = outside.throw_away(right)
    why_not = ""
    try:
        came = rounds.go(algorithm, outside.wrap(rounds.public_key, algorithm, known))
    except StepFailed as failed:
        why_not = f"material of the right length is refused by {failed.step.value} ({_detail(failed)})"
    else:
        if not came.fingerprint.matches(rounds.expected(known)):
            why_not = "what came through is not what was wrapped"
    lengths = tuple(_of_length(rounds, algorithm, *each) for each in _plaintexts(right)) if not why_not else ()
    return AlgorithmFinding(
        algorithm=algorithm,
        works=not why_not,
        why_not=why_not,
        damaged="" if why_not else _damaged(rounds, algorithm, right),
        lengths=lengths,
    )


def _of_imported(rounds: _Round, algorithm: WrappingAlgorithm) -> tuple[str, tuple[CheckFinding, ...]]:
    """Return how truthfully CKA_VALUE_LEN speaks of unwrapped keys, and whether their attributes are as asked for."""
    said: dict[int, object] = {}
    checks: tuple[CheckFinding, ...] = ()
    for length in (16, 24, 32):
        ciphertext = outside.wrap(rounds.public_key, algorithm, outside.throw_away(length))
        template = templates.material(extractable=True)
        session = rounds.bench.session
        key = session.unwrap(rounds.pair.private, ciphertext, template, UNWRAPPING[algorithm])
        with session.temporary(key):
            said[length] = session.read(key, Attribute.VALUE_LEN)
            checks = behaviour.of_imported(rounds.bench, key)
    if all(length == value for length, value in said.items()):
        return "truthful for 16, 24 and 32 bytes", checks
    readings = ", ".join(f"{length} bytes read {value}" for length, value in said.items())
    return f"not to be relied on: {readings}", checks


def _of_ciphers(rounds: _Round, working: WrappingAlgorithm | None) -> Ciphers:
    """Find out what keys can be used for, with known material that came in as every customer's does."""
    if working is None:
        return ciphers.untried(
            rounds.bench.edition, "no wrapping algorithm works, so no known material could be brought in"
        )
    known = outside.throw_away(rounds.bench.edition.material_bytes)
    sealed = rounds.go(working, outside.wrap(rounds.public_key, working, known))
    return ciphers.tried(rounds.bench, HeldMaterial(rounds.owner, sealed.record), known)


def probe(bench: Workbench, token: TokenDescription) -> TokenReport:
    """Find out what the token does.

    Raises:
        TokenSick: it failed meanwhile.
    """
    rounds = _Round(bench)
    algorithms = tuple(_of_algorithm(rounds, algorithm) for algorithm in WrappingAlgorithm)
    working = next((finding.algorithm for finding in algorithms if finding.works), None)
    checks = (*behaviour.of_custody(bench), *behaviour.of_pairs(bench), *behaviour.of_material(bench))
    value_len, of_imported = _of_imported(rounds, working) if working else ("not known: no algorithm works", ())
    found, of_ciphers = _of_ciphers(rounds, working)
    return TokenReport(
        token=token,
        edition=bench.edition,
        algorithms=algorithms,
        ciphers=found,
        checks=checks + of_imported + of_ciphers,
        value_len=value_len,
        fingerprint_algorithm=ALGORITHM,
        fingerprint_note=_FINGERPRINT_NOTES[bench.edition],
        unknown_keys=unknown.sealing_keys(bench.session, bench.custody.deployment_id, bench.custody.objects),
    )
