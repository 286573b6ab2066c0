"""Two nodes against one, on PostgreSQL, with a token as far away as a network HSM: `./scripts/bench --nodes`.

Each node has a configuration of its own; database and token (SoftHSM) are shared. Between hosts and token is the
forwarding module of tests/faults, which makes every call of PKCS#11 take a fixed time longer. All the clients import:
on one node at first, and then half of them on each, with import parameters got before, when the token was near.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import HsmkmsError
from hsmkms.instance import CONFIGURATION_FILE, CREDENTIAL_FILE
from scripts.benchmark.child import HOST, free_port
from scripts.benchmark.cpu import cpu_seconds, until_idle
from scripts.benchmark.customer import Customer, CustomerKey, check_imports
from scripts.benchmark.load import connected, measured
from scripts.benchmark.measurements import IMPORT
from scripts.benchmark.service import Instance
from scripts.benchmark.trouble import BenchError
from scripts.benchmark.wire import Signer
from tests.faults.pkcs11_faults import SOURCE, Faults, compiled
from tests.postgres.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from scripts.benchmark.load import Asked
    from scripts.benchmark.measurements import Measurement
    from scripts.benchmark.service import Service

DELAY_MS: Final = 20
CLIENTS: Final = 32
_ROUNDS: Final = 3
"""Of one node and then two, so that what else the machine does falls on both."""
_SECONDS: Final = 15.0
_WARM_UP_SECONDS: Final = 3.0
_MOST_PER_SESSION: Final = 3.0
"""Imports a second that a session of the token may come to: some twenty calls of 20 ms are in each."""
_NODES: Final = ("node-1", "node-2")


@dataclass(frozen=True, slots=True)
class Node:
    """A node that serves, and the customer as he asks it."""

    service: Service
    customer: Customer


@dataclass(frozen=True, slots=True)
class Stand:
    """What is measured."""

    nodes: Sequence[Node]
    faults: Faults
    sessions: int
    """Of the token, of each node."""
    seconds: float

    async def rate(self, nodes: Sequence[Node]) -> tuple[float, list[Measurement]]:
        """Return how many imports a second some nodes answer together, and what each of them does."""
        first, *_ = self.nodes
        number = CLIENTS + int(self.sessions * _MOST_PER_SESSION * (self.seconds + _WARM_UP_SECONDS))
        stocks = [await self._stock(first.customer, node.customer, number) for node in nodes]
        for node in nodes:
            await until_idle(node.service)
        with self.faults.ruled(f"* delay_ms={DELAY_MS}"):
            points = [
                self._point(node, stock, CLIENTS // len(nodes)) for node, stock in zip(nodes, stocks, strict=True)
            ]
            measurements = await asyncio.gather(*points)
        return sum(each.rate for each in measurements), measurements

    @staticmethod
    async def _stock(asked: Customer, sent: Customer, number: int) -> list[Asked[CustomerKey]]:
        """Return imports of fresh keys, whose parameters are got at one node, to be sent to another."""
        keys = await asked.create_keys(Customer.keys_for(number))
        answers = [each for _ in range(3) for each in await asked.all(asked.parameters(keys))]
        return [sent.import_of(each) for each in answers]

    async def _point(self, node: Node, stock: Sequence[Asked[CustomerKey]], clients: int) -> Measurement:
        async with connected(node.service.port, clients) as load:
            cpu = partial(cpu_seconds, node.service)
            answers, window = await load.timed(stock, _WARM_UP_SECONDS, self.seconds, cpu)
        check_imports(answers)
        if len(answers) == len(stock):
            raise BenchError("the stock of imports was used up before the time was")
        return measured(IMPORT, clients, answers, window)


@asynccontextmanager
async def standing(folder: Path, sessions_per_host: int, seconds: float) -> AsyncIterator[Stand]:
    """Run two nodes for the block."""
    with running_server() as server, server.database() as database:
        first = await Instance.make(folder / _NODES[0], store=server.url(database))
        faults = _put_between(folder / "faults", first, sessions_per_host)
        instances = [first, _second(first, folder / _NODES[1])]
        async with AsyncExitStack() as serving:
            services = [await serving.enter_async_context(each.serving()) for each in instances]
            nodes = [
                Node(service, Customer(each.account, Signer(f"{HOST}:{each.port}", each.credential), each.port))
                for service, each in zip(services, instances, strict=True)
            ]
            yield Stand(nodes, faults, first.hosts * sessions_per_host, seconds)


def _put_between(folder: Path, instance: Instance, sessions_per_host: int) -> Faults:
    """Put the forwarding module between the hosts of an instance and its token."""
    faults = Faults(folder, Path(instance.settings.hsm.module))
    folder.mkdir(mode=0o700)
    compiled(SOURCE, faults.library)
    configuration = instance.folder / CONFIGURATION_FILE
    text = configuration.read_text(encoding="utf-8")
    variables = "".join(f"{name} = {json.dumps(value)}\n" for name, value in faults.environment.items())
    for old, new in (
        (f'module = "{faults.real}"', f'module = "{faults.library}"\nsessions_per_host = {sessions_per_host}'),
        ("[hsm.env]\n", f"[hsm.env]\n{variables}"),
    ):
        text = text.replace(old, new)
    configuration.write_text(text, encoding="utf-8")
    return faults


def _second(first: Instance, folder: Path) -> Instance:
    """Configure a second node beside the first."""
    folder.mkdir(mode=0o700)
    shutil.copy(first.folder / CREDENTIAL_FILE, folder)
    made = replace(first, folder=folder, port=free_port())
    text = (first.folder / CONFIGURATION_FILE).read_text(encoding="utf-8")
    for old, new in (
        (f"port = {first.port}\n", f"port = {made.port}\n"),
        (f'node = "{_NODES[0]}"', f'node = "{_NODES[1]}"'),
        ('pin_file = "pin"', f"pin_file = {json.dumps(str(first.folder / 'pin'))}"),
    ):
        text = text.replace(old, new)
    (folder / CONFIGURATION_FILE).write_text(text, encoding="utf-8")
    (folder / CONFIGURATION_FILE).chmod(0o600)
    return made


async def ratio(stand: Stand) -> float:
    """Measure one node and two in turn, say what comes of it, and return how much more two do."""
    found = []
    for _ in range(_ROUNDS):
        one, alone = await stand.rate(stand.nodes[:1])
        two, both = await stand.rate(stand.nodes)
        found.append(two / one)
        for title, measurements in (("one node", alone), ("two nodes", both)):
            for each in measurements:
                _say(title, each)
        _say_line(f"{one:.1f} imports/s on one node, {two:.1f} on two: {two / one:.2f}")
    return statistics.median(found)


def _say(title: str, point: Measurement) -> None:
    cores = ", ".join(f"{part} {used:.2f}" for part, used in point.cpu.items())
    latency = "" if point.latency is None else f", p50 {point.latency.p50:.0f} ms, p99 {point.latency.p99:.0f} ms"
    _say_line(f"  {title}, c = {point.concurrency}: {point.rate:.1f}/s{latency}; cores: {cores}")


def _say_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _run(sessions_per_host: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="hsmkms-bench-") as name:
        async with standing(Path(name), sessions_per_host, seconds) as stand:
            hosts = stand.sessions // sessions_per_host
            _say_line(
                f"{CLIENTS} clients in all; hosts of each node: {hosts}, sessions of each host: {sessions_per_host}; "
                f"{DELAY_MS} ms for each call of the token"
            )
            _say_line(f"two nodes / one node: {await ratio(stand):.2f}")


def main() -> int:
    """Measure, show, and return the exit code."""
    parser = argparse.ArgumentParser(prog="./scripts/bench --nodes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for each point")
    parser.add_argument("--sessions", type=int, default=1, help="of the token, for each host")
    arguments = parser.parse_args()
    try:
        asyncio.run(_run(arguments.sessions, arguments.seconds))
    except (BenchError, HsmkmsError, OSError) as trouble:
        sys.stderr.write(f"error: {trouble}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
