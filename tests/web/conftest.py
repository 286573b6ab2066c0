from __future__ import annotations

import time

import pytest

from tests.dialects.scripted_service import ScriptedService, StoppedClock


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def clock() -> StoppedClock:
    """Stand at the present: the SDKs sign with the machine's time."""
    return StoppedClock(int(time.time()))
