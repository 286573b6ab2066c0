"""Two services that share a database and a token: what one does, the other knows."""

from __future__ import annotations

import secrets
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e.running import SHARED_PAIRS, Instance, RunningService, free_port, hsmkms, until
from tests.postgres.server import PostgresServer, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.tencent_client import TencentClient

HOLDS_SECONDS = 1.0
"""After which what one node did holds on the others."""


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(mortal: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, ...]]:
    first = Instance(tmp_path_factory.mktemp("nodes") / "softhsm", "softhsm", "fips", free_port())
    url = mortal.url(mortal.create_database())
    hsmkms("new", str(first.folder), "--port", str(first.port), "--store", url)
    first.config.write_text(first.config.read_text() + SHARED_PAIRS)
    port = free_port()
    changes = {f"port = {first.port}": f"port = {port}", 'node = "node-1"': 'node = "node-2"'}
    second = replace(first.variant("second", changes), port=port)
    with first.serving() as one, second.serving() as two:
        yield one, two


def refuses(client: TencentClient, key_id: str) -> bool:
    """Tell whether a key cannot be used because it is disabled."""
    try:
        client.encrypt(key_id, b"x")
    except TencentCloudSDKException as refused:
        if refused.get_code() != "ResourceUnavailable.CmkDisabled":
            raise
        return True
    return False


def test_what_one_node_does_holds_on_the_other(nodes: tuple[RunningService, ...], mortal: PostgresServer) -> None:
    one, two = (node.client() for node in nodes)
    key_id = one.external_key()
    parameters = one.parameters(key_id)
    two.import_(key_id, parameters, two.wrapped(parameters, secrets.token_bytes(32)))
    ciphertext = two.encrypt(key_id, b"told")
    assert one.decrypt(ciphertext) == b"told"
    one.disable(key_id)
    assert two.state(key_id) == "Disabled"
    until(lambda: refuses(two, key_id), "the other node refuses", HOLDS_SECONDS)
    mortal.restart(how=signal.SIGQUIT)
    one.enable(key_id)
    until(lambda: not refuses(two, key_id), "the other node lets it be used", HOLDS_SECONDS)
    assert two.decrypt(ciphertext) == b"told"
    verified = hsmkms("audit", "verify", "--config", str(nodes[0].instance.config)).stdout
    assert "node-1" in verified
    assert "node-2" in verified
