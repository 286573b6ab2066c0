"""The service with few keys and with many: the same requests to services that differ in how many keys they hold.

All of them run at the same time, and are measured in turn, a little at a time: whatever the machine does meanwhile, it
does to all.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from scripts.benchmark.ciphering import check_by_decrypting, check_encryptions, encryptions
from scripts.benchmark.cpu import until_idle
from scripts.benchmark.customer import Customer, CustomerKey, check_imports
from scripts.benchmark.load import connected, measured
from scripts.benchmark.measurements import (
    ENCRYPT_AMONG,
    ENCRYPT_ANY,
    IMPORT_AMONG,
    START_SECONDS,
    WEB_MEMORY_MIB,
    Figure,
)
from scripts.benchmark.seeding import seed
from scripts.benchmark.service import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from scripts.benchmark.ciphering import Encryption
    from scripts.benchmark.load import Answered, Asked, Window
    from scripts.benchmark.measurements import Measurement
    from scripts.benchmark.plan import Plan, Watcher
    from scripts.benchmark.service import Service

USED_KEYS: Final = 10
"""How many keys are imported into and encrypted with, however many others there are."""
_TOKENS_EACH: Final = 3
"""Live import tokens of a key, which is the most that it may have."""
_IMPORT_CONNECTIONS: Final = 8
"""Fewer than used keys, so that no two imports under way are of the same key."""
_ENCRYPT_CONNECTIONS: Final = 32
_ROUND_SECONDS: Final = 0.5
_ROUND_WARM_UP_SECONDS: Final = 0.1
_IMPORT_BATCHES: Final = 3
"""In a round; so few tokens are issued at a time."""
_ANY_REQUESTS: Final = 4096
"""With a key each, if there are so many: more than a host keeps unsealed."""
_DECRYPTED: Final = 64
_UNKNOWN: Final = b""
"""Material that was generated in the token."""


@dataclass(slots=True)
class _Point:
    """What was measured of one kind with one size."""

    answers: list[Answered[Any]] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    def add(self, found: tuple[Sequence[Answered[Any]], Window]) -> None:
        self.answers += found[0]
        self.windows.append(found[1])


@dataclass(slots=True)
class _Contender:
    """A running service with so many keys, and what it did so far."""

    keys: int
    service: Service
    customer: Customer
    others: Sequence[str]
    """Ids of the keys whose material the token generated."""
    imports: _Point = field(default_factory=_Point)
    encryptions: _Point = field(default_factory=_Point)
    any_encryptions: _Point = field(default_factory=_Point)

    async def round(self) -> None:
        """Do a little of everything."""
        await until_idle(self.service)
        await self._import()
        await self._encrypt()
        if self.others:
            await self._encrypt_with_any()

    def forget(self) -> None:
        """Count nothing of what was done so far."""
        self.imports, self.encryptions, self.any_encryptions = _Point(), _Point(), _Point()

    async def _import(self) -> None:
        """Issue import tokens and use them up, several times."""
        for _ in range(_IMPORT_BATCHES):
            stock = await self.customer.imports(_TOKENS_EACH * USED_KEYS)
            async with connected(self.service.port, _IMPORT_CONNECTIONS) as load:
                found = await load.whole(stock)
            check_imports(found[0])
            self.imports.add(found)

    async def _encrypt(self) -> None:
        """Encrypt with the keys that are used all the time."""
        found = await self._in_time(encryptions(self.customer.signer, self.customer.keys))
        check_encryptions(self.customer.account, found[0])
        self.encryptions.add(found)

    async def _encrypt_with_any(self) -> None:
        """Encrypt with another key each time."""
        keys = [CustomerKey(key_id, _UNKNOWN) for key_id in self.others[:_ANY_REQUESTS]]
        found = await self._in_time(encryptions(self.customer.signer, keys, _ANY_REQUESTS))
        await check_by_decrypting(self.customer, found[0], _DECRYPTED)
        self.any_encryptions.add(found)

    async def _in_time(self, stock: Iterator[Asked[Encryption]]) -> tuple[list[Answered[Encryption]], Window]:
        async with connected(self.service.port, _ENCRYPT_CONNECTIONS) as load:
            return await load.timed(stock, _ROUND_WARM_UP_SECONDS, _ROUND_SECONDS, dict)

    def measurements(self) -> Iterator[Measurement]:
        """Return what all rounds come to."""
        for name, connections, point in (
            (IMPORT_AMONG, _IMPORT_CONNECTIONS, self.imports),
            (ENCRYPT_AMONG, _ENCRYPT_CONNECTIONS, self.encryptions),
            (ENCRYPT_ANY, _ENCRYPT_CONNECTIONS, self.any_encryptions),
        ):
            if point.windows:
                yield measured(name, connections, point.answers, *point.windows, keys=self.keys)

    def figures(self) -> Iterator[Figure]:
        """Return what is no rate."""
        yield Figure(START_SECONDS, self.service.start_seconds, self.keys)
        yield Figure(WEB_MEMORY_MIB, self.service.web_memory_mib(), self.keys)


def steps(plan: Plan) -> int:
    """Return how many steps `measure` takes."""
    return 2 * len(plan.sizes) + 1


async def measure(plan: Plan, folder: Path, watcher: Watcher) -> tuple[list[Measurement], list[Figure]]:
    """Measure all of it.

    Raises:
        BenchError: there are no figures.
    """
    async with AsyncExitStack() as stack:
        seeded = [await _seeded(size, folder, watcher) for size in plan.sizes]
        contenders = [await _started(each, watcher, stack) for each in seeded]
        rounds = max(1, round(plan.seconds / _ROUND_SECONDS))
        watcher.step(f"{IMPORT_AMONG}, {ENCRYPT_AMONG}: {', '.join(f'{each:,}' for each in plan.sizes)} keys in turn")
        for number in range(1 + rounds):
            for contender in contenders:
                if number == 1:
                    contender.forget()  # the first round warms up
                await contender.round()
        return (
            [each for contender in contenders for each in contender.measurements()],
            [each for contender in contenders for each in contender.figures()],
        )


async def _seeded(size: int, folder: Path, watcher: Watcher) -> tuple[int, Instance, Sequence[str]]:
    watcher.step(f"make a database of {size:,} keys")
    instance = await Instance.make(folder / f"keys-{size}")
    others = await seed(instance, size - USED_KEYS, lambda done: watcher.detail(f"{done:,} of {size:,} keys"))
    return size, instance, others


async def _started(seeded: tuple[int, Instance, Sequence[str]], watcher: Watcher, stack: AsyncExitStack) -> _Contender:
    size, instance, others = seeded
    watcher.step(f"start with {size:,} keys")
    service = await stack.enter_async_context(instance.serving())
    customer = Customer.of(instance)
    await customer.have_keys(USED_KEYS)
    return _Contender(size, service, customer, others)
