"""What every room's tests share: the Hypothesis profile, the clock and a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.clock import StoppedClock
from tests.postgres.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import PostgresServer

# A busy machine is slow, not wrong: no deadline per example, and no verdict on how long drawing one took.
settings.register_profile(
    "hsmkms", deadline=None, max_examples=100, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hsmkms")


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for the tests of this process, started when the first of them asks for it."""
    with running_server() as server:
        yield server
