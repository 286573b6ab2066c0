"""What the web process counts, and shows on the listener that `[metrics]` names."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import hsmkms
from hsmkms.metrics.counting import Counting
from hsmkms.metrics.levels import Levels
from hsmkms.web.metrics import Metrics
from hsmkms.web.server import serve
from hsmkms.wiring.adapters import LoopTimer, SystemClock

if TYPE_CHECKING:
    import socket

    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Inspection
    from hsmkms.hsm.client import HostPool
    from hsmkms.metrics.tally import Tally
    from hsmkms.service.admission import Admission
    from hsmkms.service.auditing import Trail
    from hsmkms.service.pairs import PairPool
    from hsmkms.service.sealing import Sealer

_SHUTDOWN_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at when somebody asks."""

    admission: Admission
    pairs: PairPool
    trail: Trail
    sealer: Sealer
    hosts: HostPool

    def levels(self, counting: Counting) -> Levels:
        """Return the state of all at this moment."""
        return Levels(
            commands={lane.name.lower(): line for lane, line in self.admission.lines.items()},
            hosts={duty.value: number for duty, number in self.hosts.duties.items()},
            pairs_ready=self.pairs.level,
            pairs_wanted=self.pairs.wanted,
            events_waiting=self.trail.waiting,
            seals=self.sealer.level,
            counted=counting.taken,
        )


async def show(listening: socket.socket, edition: Edition, tally: Tally, watched: Watched, store: Inspection) -> None:
    """Count what the database holds, and answer whoever asks; runs until it is cancelled, after the last request."""
    from hsmkms.metrics.exposition import Build, Exposition  # noqa: PLC0415 - prometheus_client: most do without

    timer = LoopTimer()
    counting = Counting(store, SystemClock(), timer)
    build = Build(hsmkms.__version__, edition.value)
    metrics = Metrics(Exposition(build, tally, lambda: watched.levels(counting), timer).text)
    async with asyncio.TaskGroup() as group:
        group.create_task(counting.keep_counting())
        group.create_task(serve(metrics, listening, None, _SHUTDOWN_SECONDS, asyncio.Event()))
