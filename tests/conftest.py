"""What every room's tests share: the Hypothesis profile and the clock."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.clock import StoppedClock

# A busy machine is slow, not wrong: no deadline per example, and no verdict on how long drawing one took.
settings.register_profile(
    "hsmkms", deadline=None, max_examples=100, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hsmkms")


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()
