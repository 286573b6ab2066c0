"""The points of a run, in their order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from scripts.benchmark import disk
from scripts.benchmark.customer import Customer, check_imports
from scripts.benchmark.load import Load, measured
from scripts.benchmark.measurements import ENCRYPT, ENCRYPT_SPREAD, IMPORT, TOKEN_GCM, TOKEN_UNWRAP, Results
from scripts.benchmark.service import HOST, Instance
from scripts.benchmark.token_rates import BareToken, make_token
from scripts.benchmark.wire import Connection, Signer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from scripts.benchmark.customer import CustomerKey
    from scripts.benchmark.measurements import Measurement
    from scripts.benchmark.service import Service

SECONDS: Final = 5.0
CONCURRENCIES: Final = (1, 8, 32)
SPREAD_KEYS: Final = 64
"""Fewer than a host keeps at hand, so that they are unsealed once a minute and not with each use."""
_PREPARING_CONNECTIONS: Final = 16
_HEADROOM: Final = 1.6
"""How many more import tokens are issued for a point than the rate seen so far would use up."""
_LEAST_IMPORTS: Final = 50
_DISK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    seconds: float = SECONDS
    """For one point."""
    warm_up_seconds: float = 1.0
    concurrencies: Sequence[int] = CONCURRENCIES
    spread_keys: int = SPREAD_KEYS
    """Over how many keys Encrypt is spread."""


class Watcher(Protocol):
    """Who is told how far a run is."""

    def begin(self, steps: int) -> None:
        """Take how many steps there will be."""

    def step(self, what: str) -> None:
        """Take what is done next."""


async def run(plan: Plan, folder: Path, watcher: Watcher) -> Results:
    """Measure everything in `folder`, which is empty.

    Raises:
        BenchError: there are no figures.
    """
    watcher.begin(2 * 3 + 2 + 4 * len(plan.concurrencies))
    watcher.step("make a token and an instance")
    instance = await Instance.make(folder / "service")
    settings = await asyncio.to_thread(make_token, folder / "bare")
    bare = BareToken(settings, instance.hosts)
    results = await _of_machine(plan, folder, bare, watcher)
    watcher.step("start the service, import the first keys")
    async with instance.serving() as service:
        customer = _customer(instance)
        bench = _ServiceBench(plan, service, customer, watcher)
        results += await bench.imports()
        results += await bench.encryptions(ENCRYPT, customer.keys[:1])
        results += await bench.encryptions(ENCRYPT_SPREAD, customer.keys[: plan.spread_keys])
    results += await _of_machine(plan, folder, bare, watcher)
    return Results(tuple(results))


async def _of_machine(plan: Plan, folder: Path, bare: BareToken, watcher: Watcher) -> list[Measurement]:
    """Measure the token and the disk by themselves."""
    found = []
    for operation in (TOKEN_UNWRAP, TOKEN_GCM):
        watcher.step(f"the token by itself: {operation}")
        found.append(await bare.measure(operation, plan.warm_up_seconds, plan.seconds))
    watcher.step("the disk by itself")
    return [*found, await asyncio.to_thread(disk.measure, folder, min(plan.seconds, _DISK_SECONDS))]


def _customer(instance: Instance) -> Customer:
    signer = Signer(f"{HOST}:{instance.port}", instance.credential)
    return Customer(instance.account, signer, partial(_load, instance.port, _PREPARING_CONNECTIONS))


@asynccontextmanager
async def _load(port: int, connections: int) -> AsyncIterator[Load]:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(connections):
            connection = await Connection.open(HOST, port)
            stack.callback(connection.close)
            opened.append(connection)
        yield Load(tuple(opened))


@dataclass(frozen=True, slots=True)
class _ServiceBench:
    """A running service under load."""

    plan: Plan
    service: Service
    customer: Customer
    watcher: Watcher

    async def imports(self) -> list[Measurement]:
        """Measure ImportKeyMaterial at each concurrency, with the import tokens issued before."""
        lasting = self.plan.warm_up_seconds + self.plan.seconds
        rate = await self.customer.have_keys(self.plan.spread_keys)
        found: list[Measurement] = []
        for concurrency in self.plan.concurrencies:
            number = max(_LEAST_IMPORTS, 4 * concurrency, round(rate * lasting * _HEADROOM))
            self.watcher.step(f"{number} import tokens for {IMPORT} at c = {concurrency}")
            await self.customer.have_keys(self.customer.keys_for(number))
            stock = await self.customer.imports(number)
            self.watcher.step(f"{IMPORT} at c = {concurrency}")
            await self.service.until_idle()
            async with _load(self.service.port, concurrency) as load:
                answers, window = await load.timed(
                    stock, self.plan.warm_up_seconds, self.plan.seconds, self.service.cpu_seconds
                )
            check_imports(answers)
            found.append(measured(IMPORT, concurrency, answers, window))
            rate = max(rate, found[-1].rate)
        await self._check_materials()
        return found

    async def _check_materials(self) -> None:
        """Encrypt with every key: it holds what its owner imported."""
        keys = self.customer.keys
        requests = self.customer.encryptions(keys)
        stock = [next(requests) for _ in range(len(keys))]
        self.customer.check_encryptions(await self.customer.all(stock))

    async def encryptions(self, name: str, keys: Sequence[CustomerKey]) -> list[Measurement]:
        """Measure Encrypt with these keys in turn at each concurrency."""
        found = []
        for concurrency in self.plan.concurrencies:
            self.watcher.step(f"{name} at c = {concurrency}")
            requests = self.customer.encryptions(keys)
            await self.service.until_idle()
            async with _load(self.service.port, concurrency) as load:
                answers, window = await load.timed(
                    requests, self.plan.warm_up_seconds, self.plan.seconds, self.service.cpu_seconds
                )
            self.customer.check_encryptions(answers)
            found.append(measured(name, concurrency, answers, window))
        return found
