"""Random histories of keys, through both clouds at once: the service never does what the model does not foresee."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.e2e.history_house import House
from tests.e2e.history_machine import histories_in
from tests.e2e.running import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS_OF_A_HISTORY: Final = 50


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service of its own: parts of it die."""
    instance = Instance.make(tmp_path_factory.mktemp("histories") / "instance")
    credentials = instance.credential(), instance.another_credential("stranger")
    with instance.serving() as service:
        yield House(service, credentials)


def live(house: House, steps: int) -> None:
    """Let histories of so many steps happen."""
    wanted = house.steps + steps
    while house.steps < wanted:  # Hypothesis may end a history early
        happening = settings(
            database=None,
            deadline=None,
            max_examples=-(-(wanted - house.steps) // STEPS_OF_A_HISTORY),
            phases=[Phase.generate, Phase.shrink],
            print_blob=True,
            stateful_step_count=STEPS_OF_A_HISTORY,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(histories_in(house), settings=happening)


@pytest.mark.timeout(600)
def test_five_hundred_steps_and_never_apart(house: House) -> None:
    live(house, 500)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_ten_thousand_steps_and_never_apart(house: House) -> None:
    live(house, 10_000)
    assert house.unsaid() == set(), "all that can be foreseen was answered"
