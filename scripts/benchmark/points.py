"""A whole run, in its order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scripts.benchmark import disk, growth, openbao, openbao_points, pair_points, service_points
from scripts.benchmark.customer import Customer
from scripts.benchmark.measurements import TOKEN_GCM, TOKEN_KEYGEN, TOKEN_UNWRAP, Measurement, Results
from scripts.benchmark.service import MANY_PAIRS, Instance
from scripts.benchmark.stand import Stand
from scripts.benchmark.token_rates import BareToken, make_token

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.benchmark.plan import Plan, Watcher

_DISK_SECONDS: Final = 1.0
_MACHINE_STEPS: Final = 4
_PAIR_HOSTS: Final = 1
"""What makes wrapping pairs, in the service: compared with as many processes that do nothing else."""


async def run(plan: Plan, folder: Path, watcher: Watcher) -> Results:
    """Measure everything in `folder`, which is empty.

    Raises:
        BenchError: there are no figures.
    """
    peer_steps = 0 if plan.openbao is None else 1 + openbao_points.steps(plan)
    own_steps = 1 + service_points.steps(plan) + 1 + pair_points.STEPS + growth.steps(plan)
    watcher.begin(1 + 2 * _MACHINE_STEPS + own_steps + peer_steps)
    watcher.step("make a token, and an instance")
    instance = await Instance.make(folder / "service")
    bare = await asyncio.to_thread(make_token, folder / "bare")
    bench = _Bench(plan, folder, watcher, BareToken(bare, instance.hosts), BareToken(bare, _PAIR_HOSTS))
    found = await bench.machine()
    found += await bench.service(instance)
    if plan.openbao is not None:
        found += await bench.openbao(plan.openbao)
    found += await bench.pairs()
    grown, figures = await growth.measure(plan, folder, watcher)
    return Results((*found, *grown, *await bench.machine()), tuple(figures))


@dataclass(frozen=True, slots=True)
class _Bench:
    plan: Plan
    folder: Path
    watcher: Watcher
    token: BareToken
    token_for_pairs: BareToken

    async def machine(self) -> list[Measurement]:
        """Measure token and disk by themselves."""
        plan, found = self.plan, []
        for operation, token, seconds in (
            (TOKEN_UNWRAP, self.token, plan.seconds),
            (TOKEN_GCM, self.token, plan.seconds),
            (TOKEN_KEYGEN, self.token_for_pairs, plan.keygen_seconds),
        ):
            self.watcher.step(f"the token by itself: {operation}")
            found.append(await token.measure(operation, plan.warm_up_seconds, seconds))
        self.watcher.step("the disk by itself")
        return [*found, await asyncio.to_thread(disk.measure, self.folder, min(plan.seconds, _DISK_SECONDS))]

    async def service(self, instance: Instance) -> list[Measurement]:
        """Measure the service with many import tokens for each wrapping pair."""
        self.watcher.step("start the service")
        async with instance.serving() as service:
            return await service_points.measure(Stand(self.plan, service, self.watcher), Customer.of(instance))

    async def pairs(self) -> list[Measurement]:
        """Measure the service with a wrapping pair for each import token."""
        self.watcher.step("start the service with a wrapping pair for each import token")
        instance = await Instance.make(self.folder / "pairs", tickets_per_pair=1, ready_pairs=MANY_PAIRS)
        async with instance.serving() as service:
            return await pair_points.measure(Stand(self.plan, service, self.watcher), Customer.of(instance))

    async def openbao(self, program: Path) -> list[Measurement]:
        """Measure the peer."""
        self.watcher.step("start OpenBao")
        async with openbao.serving(program, self.folder / "openbao") as server:
            return await openbao_points.measure(Stand(self.plan, server, self.watcher), server)
