"""Hosts in a pool, and how many calls each of them is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from hsmkms.hsm import messages
    from hsmkms.hsm.channel import HostChannel
    from hsmkms.hsm.settings import Duty

AHEAD_SECONDS: Final = 0.005
"""More than anything holds up the event loop, in which a host with nothing ahead would wait: some imports of SoftHSM,
but less than one call of most network HSMs."""
MOST_AHEAD: Final = 7
_LEAST_PACE: Final = 1e-6
"""As good as nothing, to divide by."""
_WEIGHT: Final = 1 / 8
"""Of a host's last call, in what its calls take."""


@dataclass(slots=True)
class Seat:
    """A host in the pool."""

    channel: HostChannel
    sessions: int
    duties: frozenset[Duty]
    attached: messages.Attached
    deployment: Deployment
    """With whose sealing keys it works."""
    taken: int = 0
    last_taken: int = 0
    """When, as a number that grows with every place taken in the pool."""
    pace: float | None = None
    """How many seconds its calls take, the last ones above all; None: not known yet."""

    @property
    def most_ahead(self) -> int:
        """How many calls it is given beyond those that it works on, at its pace."""
        if self.pace is None:
            return 0
        return min(MOST_AHEAD, math.ceil(AHEAD_SECONDS * self.sessions / max(self.pace, _LEAST_PACE)) - 1)

    @property
    def room(self) -> bool:
        """Whether one more call can be sent."""
        return self.taken < self.sessions or self.taken < self.sessions + self.most_ahead

    def took(self, seconds: float) -> None:
        """Know how long a call took."""
        self.pace = seconds if self.pace is None else self.pace + _WEIGHT * (seconds - self.pace)
