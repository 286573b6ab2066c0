"""The service with a wrapping pair for each import token, as it comes: with pairs ready, and with none."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from scripts.benchmark.cpu import until_idle
from scripts.benchmark.customer import check_imports, check_parameters
from scripts.benchmark.load import connected, measured
from scripts.benchmark.measurements import CEREMONY_PAIR_EACH, PARAMETERS_DRY, PARAMETERS_WARM
from scripts.benchmark.service import MANY_PAIRS

if TYPE_CHECKING:
    from scripts.benchmark.customer import Customer, CustomerKey
    from scripts.benchmark.load import Answered
    from scripts.benchmark.measurements import Measurement
    from scripts.benchmark.stand import Stand

_WARM_REQUESTS: Final = 24
"""At a time, so that some pairs are left and none is waited for."""
_KEYS: Final = 128
"""Enough that hardly any ticket has to make room for another."""
_WAITING: Final = 4
"""Connections while there are no pairs: whoever makes them is never short of work, and nobody waits for too long."""
STEPS: Final = 4


async def measure(stand: Stand, customer: Customer) -> list[Measurement]:
    """Measure all of it.

    Raises:
        WrongAnswerError: an answer is not what it must be.
    """
    stand.watcher.step(f"make {MANY_PAIRS} wrapping pairs")
    keys = await customer.create_keys(_KEYS)
    warm = await _warm(stand, customer, keys)
    async with connected(stand.server.port, _WAITING) as load:
        await load.all(customer.parameters(keys[:MANY_PAIRS]))  # none is left
    keygen_seconds = stand.plan.keygen_seconds
    stand.watcher.step(f"{PARAMETERS_DRY} at c = {_WAITING}")
    answers, dry = await stand.point_at_once(
        PARAMETERS_DRY, _WAITING, customer.parameters(list(islice(cycle(keys), 100 * _KEYS))), keygen_seconds
    )
    check_parameters(answers)
    stand.watcher.step(f"{CEREMONY_PAIR_EACH} at c = {_WAITING}")
    imported, ceremonies = await stand.point_at_once(
        CEREMONY_PAIR_EACH, _WAITING, customer.ceremonies(keys), keygen_seconds
    )
    check_imports(imported)
    return [warm, dry, ceremonies]


async def _warm(stand: Stand, customer: Customer, keys: list[CustomerKey]) -> Measurement:
    """Ask for parameters while pairs are ready; wait until there are enough again, and so on."""
    rounds = -(-stand.plan.warm_requests // _WARM_REQUESTS)
    stand.watcher.step(f"{PARAMETERS_WARM} at c = 1")
    answers: list[Answered[CustomerKey]] = []
    windows = []
    for _ in range(rounds):
        await until_idle(stand.server)
        stock = list(customer.parameters(keys[:_WARM_REQUESTS]))
        async with connected(stand.server.port, 1) as load:
            found, window = await load.whole(stock)
        answers += found
        windows.append(window)
    check_parameters(answers)
    return measured(PARAMETERS_WARM, 1, answers, *windows)
