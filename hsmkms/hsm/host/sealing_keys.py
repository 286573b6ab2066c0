"""Which sealing key opens what.

Laws:

- the newest version that was proved seals; each version opens what it sealed;
- a version above the newest that this host was told of is looked for in the token, because another node may be a
  second ahead: it opens, and never seals;
- one that is not above it, and not the deployment's, was retired: it opens nothing, also while the token still has it;
- what is looked for was named by a record that the token has authenticated.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pkcs11 import Attribute

from hsmkms.core.custody import CustodyObject, CustodyRole, label_of
from hsmkms.hsm.host import custody, templates, transferability
from hsmkms.hsm.host.records import RecordMismatch
from hsmkms.hsm.host.workbench import SealingKey

if TYPE_CHECKING:
    from hsmkms.hsm.host.workbench import Workbench

_logger = logging.getLogger(__name__)


def opening(bench: Workbench, role: CustodyRole, version: int) -> SealingKey:
    """Return the key of `role` that opens what was sealed under `version`.

    Raises:
        RecordMismatch: there is none, or not as such a key is made; the operator's log says so.
    """
    known = bench.custody.of_version(role, version)
    if known is None:
        _require_ahead(bench, role, version)
        known = bench.custody.found[role, version] = _found(bench, role, version)
    return known


def _require_ahead(bench: Workbench, role: CustodyRole, version: int) -> None:
    newest = bench.custody.material_sealing.version
    if version > newest:
        return
    facts = {"label": label_of(bench.custody.deployment_id, role, version), "newest": newest}
    _logger.error("a record is under a sealing key that was retired", extra=facts)
    raise RecordMismatch


def _found(bench: Workbench, role: CustodyRole, version: int) -> SealingKey:
    label = label_of(bench.custody.deployment_id, role, version)
    keys = bench.session.find(templates.find_by_label(label))
    facts = {"label": label, "count": len(keys)}
    if len(keys) != 1:
        _logger.error("a record is under a sealing key that is not there, or not once", extra=facts)
        raise RecordMismatch
    key = keys[0]
    item = CustodyObject(role, bench.session.read(key, Attribute.ID), version=version)
    differences = custody.differences(bench.session, key, item, label, bench.profile)
    if differences:
        _logger.error("a sealing key is not as it was made", extra={**facts, "differences": differences})
        raise RecordMismatch
    transferable = role is CustodyRole.MATERIAL_SEALING and transferability.is_transferable(bench.session, key)
    _logger.info("a sealing key of another version was found", extra=facts)
    return SealingKey(key, version, transferable)
