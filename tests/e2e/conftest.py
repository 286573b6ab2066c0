"""Services that the end-to-end tests share: one per token and edition, started once."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.e2e.running import SHARED_PAIRS, Client, Instance, RunningService

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", params=["softhsm", "nss"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A running `fips` service on each token."""
    token: str = request.param
    instance = Instance.make(tmp_path_factory.mktemp("e2e") / token, token)
    instance.config.write_text(instance.config.read_text() + '\n[log]\nlevel = "debug"\n')
    with instance.serving() as running:
        yield running


@pytest.fixture
def client(service: RunningService) -> Client:
    """The official SDK, with the instance's credential."""
    return service.client()


@pytest.fixture(scope="session")
def stranger(service: RunningService) -> Client:
    """The official SDK, with a credential of another account."""
    return service.client(service.instance.another_credential(f"other-{secrets.token_hex(3)}"))


@pytest.fixture(scope="session")
def sm_service(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A running `sm` service on each token, which waits for nothing long."""
    token = service.instance.token
    short = "parameters_valid_seconds = 4\n"
    instance = Instance.make(tmp_path_factory.mktemp("sm") / token, token, "sm", SHARED_PAIRS + short)
    instance.replace("[hsm]\n", "[hsm]\nverb_timeout_seconds = 3\n")
    with instance.serving() as running:
        yield running


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """A SoftHSM instance that each test starts for itself, and stops again."""
    return Instance.make(tmp_path_factory.mktemp("operated") / "softhsm")
