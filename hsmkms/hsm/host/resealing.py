"""Transfer: from a sealing key to its successor, all on session objects, all inside the token.

Laws:

- on its way the material is an object that nothing but a trusted key wraps (CKA_WRAP_WITH_TRUSTED), then a blob under
  the transit key, then the temporary object of an import, and sealed as any other;
- what comes of it has the fingerprint of what was there;
- a sealing key that was not made for it lets nothing go, and is not asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.core.custody import CustodyRole
from hsmkms.core.errors import NotTransferable
from hsmkms.core.material import SealedMaterial
from hsmkms.hsm.host import materials, records, sealing_keys, templates
from hsmkms.hsm.host.fingerprints import fingerprint
from hsmkms.hsm.host.materials import Step, StepFailed, step_of

if TYPE_CHECKING:
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.host.workbench import Workbench

OF_THE_RECORD: Final = frozenset((Step.UNSEAL, Step.SEALED_SIZE, Step.SAME))
"""The steps that fail because of what was sealed, if they fail while the token is well."""
_MECHANISM: Final = templates.MATERIAL_SEALING_MECHANISM


def reseal(bench: Workbench, owner: RecordIdentity, record: bytes) -> SealedMaterial:
    """Return a record's material sealed under the newest version; what is there already is returned as it is.

    Raises:
        RecordMismatch: the record is not its owner's.
        NotTransferable: the sealing key that it is under does not let it go.
        StepFailed: naming the step.
    """
    session, sealed = bench.session, records.unbind(bench, owner, record)
    if sealed.version >= bench.custody.material_sealing.version:
        with materials.unsealed(bench, sealed) as key:
            return SealedMaterial(record, fingerprint(bench, key, owner))
    old = sealing_keys.opening(bench, CustodyRole.MATERIAL_SEALING, sealed.version)
    if not old.transferable:
        raise NotTransferable
    wide = templates.material(extractable=True, transferable=True)
    with step_of(Step.UNSEAL):
        unsealed = session.unwrap(old.key, sealed.content, wide, _MECHANISM)
    with session.temporary(unsealed):
        with step_of(Step.FINGERPRINT):
            first = fingerprint(bench, unsealed, owner)
        with step_of(Step.TRANSIT):
            moving = session.wrap(session.transit_key, unsealed, _MECHANISM)
    with step_of(Step.TRANSIT):
        temporary = session.unwrap(session.transit_key, moving, templates.material(extractable=True), _MECHANISM)
    with session.temporary(temporary):
        made = materials.seal(bench, temporary, owner)
    if not first.matches(made.fingerprint):
        raise StepFailed(Step.SAME)
    return made
