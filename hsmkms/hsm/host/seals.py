"""Seals and cuts of the audit trail: MACs of the token, which nobody makes or compares without it.

Laws:

- what a seal is the MAC of begins as no other input of the MAC key does (`AuditHead.as_sealed`), and so with a cut
  (`AuditHead.as_cut`): the one never passes for the other;
- a MAC is compared in here and in constant time: whoever asks about a wrong one does not learn the right one.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from pkcs11 import Mechanism

if TYPE_CHECKING:
    from hsmkms.core.events import AuditHead
    from hsmkms.hsm.host.workbench import Workbench


def make(bench: Workbench, deployment_id: str, head: AuditHead) -> bytes:
    """Return the HMAC-SHA256 (32 bytes) over the head of the deployment's trail."""
    return _mac(bench, head.as_sealed(deployment_id))


def holds(bench: Workbench, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
    """Tell whether `mac` is the one over this head."""
    return hmac.compare_digest(make(bench, deployment_id, head), mac)


def cut_after(bench: Workbench, deployment_id: str, head: AuditHead) -> bytes:
    """Return the HMAC-SHA256 (32 bytes) that says that the deployment's trail up to this head was archived."""
    return _mac(bench, head.as_cut(deployment_id))


def holds_cut(bench: Workbench, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
    """Tell whether `mac` is the one of a cut after this head."""
    return hmac.compare_digest(cut_after(bench, deployment_id, head), mac)


def _mac(bench: Workbench, content: bytes) -> bytes:
    return bench.session.mac(bench.custody.mac, content, Mechanism.SHA256_HMAC)
