"""How a service that runs goes along with its deployment: sealing keys come and go while it serves.

Laws:

- the database says which versions there are; a service looks once a second and has its hosts adopt what changed;
- what fails is tried again each second, and costs no host that is well: until it succeeds, they go on with what they
  had, and an older version seals, which is why one that was superseded stays for a time (`rotating.GRACE_SECONDS`);
- that all hosts have the new keys is said when each has answered that it has.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import HsmkmsError, TemporarilyUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.custody import Deployment
    from hsmkms.core.ports import Adopter, DeploymentStore, Timer
    from hsmkms.service.pairs import PairPool

_logger = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 1.0
_SAID_AGAIN_SECONDS: Final = 60.0


class Follower:
    """Has the hosts of a service adopt the deployment as the database has it."""

    def __init__(
        self, store: DeploymentStore, hosts: Adopter, pairs: PairPool, timer: Timer, deployment: Deployment
    ) -> None:
        """Start from `deployment`, with which the hosts were attached."""
        self._store = store
        self._hosts = hosts
        self._pairs = pairs
        self._timer = timer
        self._adopted = deployment
        self._silent_until = 0.0

    async def keep_following(self) -> None:
        """Look once a second; runs until it is cancelled."""
        while True:
            await self.follow()
            await self._timer.sleep_until(self._timer.seconds() + _EVERY_SECONDS)

    async def follow(self) -> None:
        """Adopt what changed; what fails is said in the log and is tried again."""
        try:
            found = await self._store.deployment()
            if found is not None and found != self._adopted:
                await self._adopt(found)
        except TemporarilyUnavailable as fault:
            self._say(logging.WARNING, {"fault": type(fault).__name__})
        except HsmkmsError as fault:
            self._say(logging.ERROR, {"fault": type(fault).__name__, "reason": fault.message})
        except Exception as fault:  # noqa: BLE001 - it must not end, and must not end the service
            self._say(logging.ERROR, {"fault": type(fault).__name__}, fault)

    async def _adopt(self, found: Deployment) -> None:
        await self._hosts.adopt(found)
        # Not before: until every host has the new keys, one may still seal a pair under the old.
        self._pairs.require_version(found.sealing_version)
        self._adopted = found
        self._silent_until = 0.0
        facts = {"seals": found.sealing_version, "opens": list(found.sealing_versions)}
        _logger.info("the sealing keys changed, and all hosts have them", extra=facts)

    def _say(self, level: int, facts: Mapping[str, object], unexpected: BaseException | None = None) -> None:
        if self._timer.seconds() >= self._silent_until:
            self._silent_until = self._timer.seconds() + _SAID_AGAIN_SECONDS
            event = "the sealing keys could not be looked at or adopted; it is tried again each second"
            _logger.log(level, event, extra=facts, exc_info=unexpected)
