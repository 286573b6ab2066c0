"""Services that the end-to-end tests share: one per token and edition, started once."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.e2e.nodes import serving_nodes
from tests.e2e.running import GET_PARAMETERS_BURST, KEYS_PER_ACCOUNT, SHARED_PAIRS, Instance, RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.huawei_client import HuaweiClient
    from tests.e2e.nodes import Nodes
    from tests.e2e.tencent_client import TencentClient
    from tests.postgres.server import PostgresServer


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], RunningService]]:
    """Return a running service of a token and an edition: started when first asked for, ended with the session.

    A fixture with parameters is set up again in each file of tests, and a service takes seconds to start.
    """
    started: dict[tuple[str, str], RunningService] = {}
    with contextlib.ExitStack() as services:

        def serve(token: str, edition: str) -> RunningService:
            if (token, edition) not in started:
                folder = tmp_path_factory.mktemp(edition) / token
                made = _patient(folder, token) if edition == "fips" else _impatient(folder, token)
                started[token, edition] = services.enter_context(made.serving())
            return started[token, edition]

        yield serve


def _patient(folder: Path, token: str) -> Instance:
    return Instance.make(folder, token, extra=f'{SHARED_PAIRS}\n[log]\nlevel = "debug"\n')


def _impatient(folder: Path, token: str) -> Instance:
    limits = f"keys_per_account = {KEYS_PER_ACCOUNT}\nget_parameters_burst = {GET_PARAMETERS_BURST}\n"
    slowly = "get_parameters_per_second = 0.5\n"
    extra = f"{SHARED_PAIRS}parameters_valid_seconds = 4\n\n[limits]\n{limits}{slowly}"
    made = Instance.make(folder, token, "sm", extra)
    made.replace("[hsm]\n", "[hsm]\nverb_timeout_seconds = 3\n")
    return made


@pytest.fixture(scope="session", params=["softhsm", "nss"])
def service(request: pytest.FixtureRequest, serving: Callable[[str, str], RunningService]) -> RunningService:
    """A running `fips` service on each token."""
    return serving(request.param, "fips")


@pytest.fixture
def client(service: RunningService) -> TencentClient:
    """Tencent's official SDK, with the instance's credential."""
    return service.client()


@pytest.fixture
def huawei(service: RunningService) -> HuaweiClient:
    """Huawei's official SDK, with the instance's credential."""
    return service.huawei()


@pytest.fixture(scope="session")
def stranger(service: RunningService) -> TencentClient:
    """Tencent's official SDK, with a credential of another account."""
    return service.client(service.instance.another_credential(f"other-{secrets.token_hex(3)}"))


@pytest.fixture
def sm_service(service: RunningService, serving: Callable[[str, str], RunningService]) -> RunningService:
    """A running `sm` service on each token, which waits for nothing long and has few keys."""
    return serving(service.instance.token, "sm")


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """A SoftHSM instance that each test starts for itself, and stops again."""
    return Instance.make(tmp_path_factory.mktemp("operated") / "softhsm")


@pytest.fixture(scope="session")
def nodes(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes on one database and one token, that the tests of several nodes share and leave running."""
    with serving_nodes(postgres, tmp_path_factory.mktemp("nodes") / "softhsm") as running:
        yield running
