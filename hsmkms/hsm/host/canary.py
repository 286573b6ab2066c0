"""A good ciphertext at hand, which tells a bad ciphertext from a sick token.

Law: when an error says nothing, the canary goes through the same import; if it does not come through, nothing was
judged and the host ends. If it does, and the caller's data is refused again, it is the data that was at fault.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pkcs11

from hsmkms.core.ids import AccountName, KeyId, PairId
from hsmkms.core.records import of_material, of_pair
from hsmkms.core.wrapping import WRAPPING_KEY_BITS, WrappingAlgorithm
from hsmkms.hsm.host import ciphering, faults, outside
from hsmkms.hsm.host.faults import ErrorClass, TokenSick
from hsmkms.hsm.host.materials import Step, StepFailed, generate_and_seal, unwrap_and_seal
from hsmkms.hsm.host.pairs import make_pair, open_pair
from hsmkms.hsm.host.records import RecordMismatch
from hsmkms.hsm.messages import FaultKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ciphertexts import CipherAlgorithm
    from hsmkms.core.material import Edition
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.pairs import WrappingPair
    from hsmkms.hsm.host.workbench import Workbench

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Canary:
    """A pair, sealed, and a good ciphertext for each algorithm that worked when the host started."""

    pair: RecordIdentity
    pair_record: bytes = field(repr=False)
    owner: RecordIdentity
    ciphertexts: Mapping[WrappingAlgorithm, bytes] = field(repr=False)
    ciphers: frozenset[CipherAlgorithm]
    """What worked with material of the edition when the host started."""

    def sings(self, bench: Workbench, algorithm: WrappingAlgorithm | None) -> bool:
        """Tell whether the token carries a good import through; without an algorithm, whether it seals at all."""
        try:
            if algorithm is None:
                generate_and_seal(bench, self.owner)
                return True
            pair = open_pair(bench, self.pair, self.pair_record)
            unwrap_and_seal(bench, pair, algorithm, self.ciphertexts[algorithm], self.owner)
        except (pkcs11.PKCS11Error, StepFailed, RecordMismatch) as error:
            _logger.error("canary failed", extra={"algorithm": algorithm, "exception": type(error).__name__})
            return False
        return True


def hatch(bench: Workbench) -> Canary:
    """Make the canary of a host with its first workbench."""
    edition: Edition = bench.edition
    identity = of_pair(PairId(f"canary-{uuid.uuid4()}"), edition)
    owner = of_material(AccountName("canary"), KeyId(str(uuid.uuid4())), edition, 0)
    public_key, record = make_pair(bench, identity, WRAPPING_KEY_BITS)
    pair = open_pair(bench, identity, record)
    good = {}
    for algorithm in WrappingAlgorithm:
        ciphertext = outside.wrap(public_key, algorithm, outside.throw_away(edition.material_bytes))
        if _comes_through(bench, pair, algorithm, ciphertext, owner):  # if not, the probe says why
            good[algorithm] = ciphertext
    return Canary(identity, record, owner, good, ciphering.working(bench, owner))


def _comes_through(
    bench: Workbench, pair: WrappingPair, algorithm: WrappingAlgorithm, ciphertext: bytes, owner: RecordIdentity
) -> bool:
    """Tell whether the token does an algorithm; a host that took one failure for its word would never do it again."""
    for _ in range(2):
        try:
            unwrap_and_seal(bench, pair, algorithm, ciphertext, owner)
        except StepFailed as failed:
            if failed.error is not None and faults.classify(failed.error) is ErrorClass.TOKEN:
                raise TokenSick(faults.word(failed.error)) from failed
        else:
            return True
    return False


def taken_at_its_word(failed: StepFailed) -> bool:
    """Tell whether a failure of the caller's import cannot be the token's.

    Only C_UnwrapKey sees the caller's bytes as they came; an error of a later step is never taken at its word.
    """
    if failed.error is None:
        return True
    return failed.step is Step.UNWRAP and faults.classify(failed.error) is ErrorClass.DATA


def word_of(failed: StepFailed) -> str:
    """Return the operator's word for a failure."""
    return failed.step.value if failed.error is None else faults.word(failed.error)


def judge(bench: Workbench, failed: StepFailed, algorithm: WrappingAlgorithm) -> FaultKind:
    """Return what was wrong with the caller's data, if it was the data.

    Raises:
        TokenSick: it was the token.
    """
    kind = ErrorClass.DATA if failed.error is None else faults.classify(failed.error)
    word = word_of(failed)
    if kind is ErrorClass.TOKEN or failed.step is Step.BIND:
        raise TokenSick(word) from failed
    if not taken_at_its_word(failed) and not bench.canary.sings(bench, algorithm):
        raise TokenSick(word) from failed
    if failed.step is Step.CIPHERTEXT:
        return FaultKind.UNDECRYPTABLE
    if failed.step is Step.UNWRAP and not isinstance(failed.error, pkcs11.KeySizeRange):
        return FaultKind.UNDECRYPTABLE
    return FaultKind.LENGTH_WRONG
