"""The service with many import tokens for each wrapping pair: imports, ceremonies, and uses of the keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scripts.benchmark.ciphering import check_data_keys, check_encryptions, data_keys, encryptions
from scripts.benchmark.customer import check_imports
from scripts.benchmark.measurements import CEREMONY, DATA_KEY, ENCRYPT, ENCRYPT_SPREAD, IMPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.benchmark.customer import Customer, CustomerKey
    from scripts.benchmark.measurements import Measurement
    from scripts.benchmark.plan import Plan
    from scripts.benchmark.stand import Stand

_HEADROOM: Final = 1.6
"""How many more import tokens are issued for a point than the rate seen so far would use up."""
_LEAST_IMPORTS: Final = 50


def steps(plan: Plan) -> int:
    """Return how many steps `measure` takes."""
    return 4 * len(plan.concurrencies) + 1 + len(plan.spread_concurrencies) + len(plan.concurrencies)


async def measure(stand: Stand, customer: Customer) -> list[Measurement]:
    """Measure all of it.

    Raises:
        WrongAnswerError: an answer is not what it must be.
    """
    points = _ServicePoints(stand, customer)
    stand.watcher.step("import the first keys")
    found = await points.imports()
    found += await points.ceremonies()
    one, some = customer.keys[:1], customer.keys[: stand.plan.spread_keys]
    found += await points.encryptions(ENCRYPT, one, stand.plan.concurrencies)
    found += await points.encryptions(ENCRYPT_SPREAD, some, stand.plan.spread_concurrencies)
    return found + await points.data_keys(one)


@dataclass(frozen=True, slots=True)
class _ServicePoints:
    stand: Stand
    customer: Customer

    async def imports(self) -> list[Measurement]:
        """Measure ImportKeyMaterial at each concurrency, with the import tokens issued before."""
        plan = self.stand.plan
        rate = await self.customer.have_keys(plan.spread_keys)
        found: list[Measurement] = []
        for concurrency in plan.concurrencies:
            number = max(
                _LEAST_IMPORTS, 4 * concurrency, round(rate * (plan.warm_up_seconds + plan.seconds) * _HEADROOM)
            )
            self.stand.watcher.step(f"{number} import tokens for {IMPORT} at c = {concurrency}")
            await self.customer.have_keys(self.customer.keys_for(number))
            stock = await self.customer.imports(number)
            answers, point = await self.stand.point(IMPORT, concurrency, stock)
            check_imports(answers)
            found.append(point)
            rate = max(rate, point.rate)
        await self._check_materials()
        return found

    async def ceremonies(self) -> list[Measurement]:
        """Measure whole ceremonies at each concurrency."""
        found = []
        for concurrency in self.stand.plan.concurrencies:
            stock = self.customer.ceremonies(self.customer.keys)
            answers, point = await self.stand.point(CEREMONY, concurrency, stock)
            check_imports(answers)
            found.append(point)
        await self._check_materials()
        return found

    async def _check_materials(self) -> None:
        """Encrypt with every key: it holds what its owner imported."""
        keys = self.customer.keys
        requests = encryptions(self.customer.signer, keys, len(keys))
        stock = [next(requests) for _ in range(len(keys))]
        check_encryptions(self.customer.account, await self.customer.all(stock))

    async def encryptions(
        self, name: str, keys: Sequence[CustomerKey], concurrencies: Sequence[int]
    ) -> list[Measurement]:
        """Measure Encrypt with these keys in turn at each concurrency."""
        found = []
        for concurrency in concurrencies:
            answers, point = await self.stand.point(name, concurrency, encryptions(self.customer.signer, keys))
            check_encryptions(self.customer.account, answers)
            found.append(point)
        return found

    async def data_keys(self, keys: Sequence[CustomerKey]) -> list[Measurement]:
        """Measure GenerateDataKey with these keys in turn at each concurrency."""
        found = []
        for concurrency in self.stand.plan.concurrencies:
            answers, point = await self.stand.point(DATA_KEY, concurrency, data_keys(self.customer.signer, keys))
            check_data_keys(self.customer.account, answers)
            found.append(point)
        return found
