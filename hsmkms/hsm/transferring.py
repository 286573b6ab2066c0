"""`core.ports.Transferer` over the one host of a transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.core.material import Fingerprint, SealedMaterial
from hsmkms.hsm import messages
from hsmkms.hsm.parts import Identity

if TYPE_CHECKING:
    from hsmkms.core.records import RecordIdentity
    from hsmkms.hsm.channel import HostChannel


class TransferHost:
    """A host that was started for `transfer`, and attached."""

    def __init__(self, channel: HostChannel, verb_timeout_seconds: float) -> None:
        """Take the host's channel, and how long it may take for one key's material."""
        self._channel = channel
        self._seconds = verb_timeout_seconds

    async def reseal_material(self, owner: RecordIdentity, record: bytes) -> SealedMaterial:
        """See `core.ports.Transferer`."""
        verb = messages.ResealMaterial(owner=Identity.of(owner), record=record)
        sealed = await self._channel.call(verb, messages.MaterialSealed, self._seconds)
        return SealedMaterial(sealed.record, Fingerprint(sealed.fingerprint_algorithm, sealed.fingerprint))
