"""Which verbs a host obeys: those of its purpose and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.hsm import messages
from hsmkms.hsm.settings import HostPurpose

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVING: Final[frozenset[type[messages.Verb]]] = frozenset(
    (
        messages.Attach,
        messages.Adopt,
        messages.Probe,
        messages.MakePair,
        messages.ImportMaterial,
        messages.GenerateMaterial,
        messages.InspectMaterial,
        messages.Encrypt,
        messages.Decrypt,
        messages.RequireDecryptable,
        messages.ReEncrypt,
        messages.MakeDataKey,
        messages.Random,
        messages.SealHead,
        messages.HoldsSeal,
        messages.OpenSecret,
    )
)
OBEYED: Final[Mapping[HostPurpose, frozenset[type[messages.Verb]]]] = {
    HostPurpose.SERVE: _SERVING,
    HostPurpose.OPERATE: _SERVING | {messages.ProtectSecret, messages.CutAfter, messages.HoldsCut},
    HostPurpose.INIT: frozenset(
        (messages.Initialise, messages.Attach, messages.MakeSealingKeys, messages.DestroySealingKeys)
    ),
    HostPurpose.TRANSFER: frozenset((messages.Attach, messages.ResealMaterial)),
}
"""Whoever takes over the web process could otherwise make a credential of its own for any account, and do away with the
audit trail as if it had been archived."""


def allowed(verb: messages.Verb, purpose: HostPurpose) -> bool:
    """Tell whether a host of this purpose obeys `verb`."""
    return type(verb) in OBEYED[purpose]
