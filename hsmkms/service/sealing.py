"""Seals on the audit trail: the token's MAC over its head, again and again.

Laws:

- only what follows unbroken from what was sealed last is sealed: who changes an event and makes the later digests anew
  does not get the change sealed, here or after a restart, while the seal is there. Only a head kept elsewhere tells
  that one was deleted: so a start says how much it found without a seal;
- a break is said at error level each minute, with its sequence, and nothing is sealed any more: it is for the operator;
- a token or a database that does not answer delays seals, and no answer to a caller.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from hsmkms.audit.chain import GENESIS
from hsmkms.audit.verification import Break, BreakReason, Walk, beginning
from hsmkms.core.errors import EventUnreadable, HsmkmsError, TemporarilyUnavailable
from hsmkms.core.events import SEAL_BLOCK, AuditHead, AuditSeal, block_of
from hsmkms.core.metering import SealLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ports import Hsm, Store, Timer, TrailReading

_logger = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 1.0
_SAID_AGAIN_SECONDS: Final = 60.0
_USUAL_AFTER_A_SEAL: Final = 1000
"""Events that a process which is killed leaves without a seal."""
_USUAL_BEFORE_THE_FIRST: Final = 100
"""Events that commands make before a new deployment is served for the first time."""


@dataclass(slots=True)
class Unsealed:
    """The events that a process found without a seal when it began, and sealed."""

    after: int
    """The sequence of the last event that was sealed; 0: none was."""
    events: int = 0

    def tell(self) -> None:
        """Say in the log how many they are, and from what is usual on what that can mean."""
        usual = _USUAL_AFTER_A_SEAL if self.after else _USUAL_BEFORE_THE_FIRST
        facts = {"events": self.events, "after": self.after}
        if self.events <= usual:
            _logger.info("events without a seal were found and are sealed now", extra=facts)
        else:
            _logger.warning(
                "many events without a seal were found and are sealed now: unless the token was away before, or this "
                "is the first start of a version that seals, seals were deleted; compare with a head kept elsewhere",
                extra=facts,
            )


class Sealer:
    """What seals the trail of one node; one process does at a time."""

    def __init__(self, store: Store, trail: TrailReading, hsm: Hsm, timer: Timer, deployment_id: str) -> None:
        """Read the events of `trail`, and keep the seals that `hsm` makes in `store`."""
        self._store = store
        self._trail = trail
        self._hsm = hsm
        self._timer = timer
        self._deployment_id = deployment_id
        self._sealed: AuditHead | None = None
        """The last head sealed; None: it is still to be found out."""
        self._unsealed: Unsealed | None = None
        """What was there before this process; None: it is not known yet, or was told."""
        self._broken: Break | None = None
        self._silent_until = 0.0
        self._last_seal_at: float | None = None
        self._all_sealed_at: float | None = None

    @property
    def level(self) -> SealLevel:
        """How far the trail is sealed."""
        now, sealed = self._timer.seconds(), self._sealed
        return SealLevel(
            sequence=None if sealed is None else sealed.sequence,
            last_seal_seconds=None if self._last_seal_at is None else now - self._last_seal_at,
            all_sealed_seconds=None if self._all_sealed_at is None else now - self._all_sealed_at,
            broken=self._broken is not None,
        )

    async def keep_sealing(self) -> None:
        """Seal what is new, once a second; runs until it is cancelled."""
        while True:
            await self.seal_new()
            await self._timer.sleep_until(self._timer.seconds() + _EVERY_SECONDS)

    async def seal_new(self) -> None:
        """Seal the trail as it is now, unless it is broken; what fails is said in the log and is tried again."""
        try:
            if self._broken is None:
                await self._seal_new()
        except EventUnreadable as unreadable:
            self._broken = Break(unreadable.sequence, BreakReason.UNREADABLE)
        except TemporarilyUnavailable as fault:
            self._say(logging.WARNING, "the audit trail could not be sealed", {"fault": type(fault).__name__})
        except HsmkmsError as fault:
            self._say(logging.ERROR, "the audit trail cannot be sealed", {"fault": type(fault).__name__})
        except Exception as fault:  # noqa: BLE001 - the sealer must not end, and must not end the service
            self._say(logging.ERROR, "the audit trail cannot be sealed", {"fault": type(fault).__name__}, fault)
        if self._broken is not None:
            facts = {"sequence": self._broken.sequence, "reason": self._broken.reason.value}
            self._say(logging.ERROR, "the audit trail is broken; nothing is sealed any more", facts)

    async def _seal_new(self) -> None:
        sealed = self._sealed if self._sealed is not None else await self._found_sealed()
        while sealed is not None and (head := await self._next_head(sealed)) is not None:
            await self._seal(head)
            sealed = self._sealed
        if self._broken is not None:
            return
        self._all_sealed_at = self._timer.seconds()
        if self._unsealed is not None:
            self._unsealed.tell()
            self._unsealed = None

    async def _found_sealed(self) -> AuditHead | None:
        """Return the head under the last seal, if that is genuine."""
        seal, cut = await self._trail.last_seal(), await self._trail.cut()
        if cut is not None and (seal is None or seal.head.sequence <= cut.head.sequence):
            # Archiving leaves a newer one. What followed the cut was deleted, even if its own seal was put back.
            self._broken = Break(cut.head.sequence, BreakReason.ALL_GONE)
        elif seal is None:
            self._sealed = AuditHead(0, GENESIS, self._trail.node)
        elif await self._hsm.holds_seal(self._deployment_id, seal.head, seal.mac):
            self._sealed = seal.head
        else:
            self._broken = Break(seal.head.sequence, BreakReason.SEAL_FORGED)
        if self._sealed is not None:
            self._unsealed = Unsealed(self._sealed.sequence)
        return self._sealed

    async def _next_head(self, sealed: AuditHead) -> AuditHead | None:
        """Return the head to seal after `sealed`, at most the last of its block; None if there is none."""
        # From the event sealed last, which must still be there: or the trail was cut short below it.
        events = list(await self._trail.events(max(0, sealed.sequence - 1), SEAL_BLOCK + 1))
        if sealed.sequence:
            if not events or AuditHead(events[0].sequence, events[0].digest, self._trail.node) != sealed:
                self._broken = Break(sealed.sequence, BreakReason.SEALED_AND_GONE)
                return None
            # Alone it may be because the next one cannot be read, which is only said of the first that is asked for.
            events = events[1:] or list(await self._trail.events(sealed.sequence, 1))
        else:
            self._broken = beginning(events[0] if events else None, self._trail.node)
        if not events or self._broken is not None:
            return None
        block = block_of(events[0].sequence)
        walk = Walk(sealed.digest, sealed.sequence)
        self._broken = walk.follow(takewhile(lambda each: block_of(each.sequence) == block, events))
        if self._unsealed is not None:
            self._unsealed.events += walk.length
        return AuditHead(walk.sequence, walk.head, sealed.node) if self._broken is None else None

    async def _seal(self, head: AuditHead) -> None:
        mac = await self._hsm.seal_head(self._deployment_id, head)
        await self._store.write(lambda writing: writing.seal(AuditSeal(head, mac)))
        self._sealed = head
        self._last_seal_at = self._timer.seconds()
        _logger.info("audit head sealed", extra={"head": str(head)})

    def _say(
        self, level: int, event: str, facts: Mapping[str, object], unexpected: BaseException | None = None
    ) -> None:
        if self._timer.seconds() >= self._silent_until:
            self._silent_until = self._timer.seconds() + _SAID_AGAIN_SECONDS
            _logger.log(level, event, extra=facts, exc_info=unexpected)
