"""A server under load: one point after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from scripts.benchmark.cpu import cpu_seconds, until_idle
from scripts.benchmark.load import connected, measured

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scripts.benchmark.cpu import Server
    from scripts.benchmark.load import Answered, Step, SubjectT
    from scripts.benchmark.measurements import Measurement
    from scripts.benchmark.plan import Plan, Watcher


@dataclass(frozen=True, slots=True)
class Stand:
    """A server, and how it is measured."""

    plan: Plan
    server: Server
    watcher: Watcher

    async def point(
        self, name: str, concurrency: int, stock: Iterable[Step[SubjectT]], seconds: float | None = None
    ) -> tuple[list[Answered[SubjectT]], Measurement]:
        """Measure how often a second steps of `stock` are taken, and return the answers, which are still to be checked.

        Args:
            name: of the measurement.
            concurrency: how many connections take a step each at the same time.
            stock: what to do.
            seconds: how long to do it; None: as long as the plan has it.
        """
        self.watcher.step(f"{name} at c = {concurrency}")
        await until_idle(self.server)
        return await self.point_at_once(name, concurrency, stock, seconds)

    async def point_at_once(
        self, name: str, concurrency: int, stock: Iterable[Step[SubjectT]], seconds: float | None = None
    ) -> tuple[list[Answered[SubjectT]], Measurement]:
        """Measure as `point` does, whatever the server is still at."""
        async with connected(self.server.port, concurrency) as load:
            answers, window = await load.timed(
                stock, self.plan.warm_up_seconds, seconds or self.plan.seconds, partial(cpu_seconds, self.server)
            )
        return answers, measured(name, concurrency, answers, window)
