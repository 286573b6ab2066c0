"""`[metrics]`: where Prometheus asks, if it does."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from hsmkms import config, supervisor
from hsmkms.core.errors import ConfigurationInvalid

LEAST = """
edition = "fips"
[store]
url = "sqlite:///hsmkms.db"
[hsm]
module = "module.so"
token_label = "t"
pin_file = "pin"
"""


def metrics(section: str) -> config.MetricsSection:
    return config.parse(Path("hsmkms.toml"), LEAST + section).metrics


def test_nobody_listens_unless_there_is_a_port() -> None:
    assert metrics("").port is None
    assert metrics("[metrics]\nhost = '0.0.0.0'").port is None


@pytest.mark.parametrize(
    ("section", "exposed"),
    [
        ("", False),
        ("[metrics]\nhost = '0.0.0.0'", False),
        ("[metrics]\nport = 9765", False),
        ("[metrics]\nport = 9765\nhost = '127.0.0.2'", False),
        ("[metrics]\nport = 9765\nhost = '::1'", False),
        ("[metrics]\nport = 9765\nhost = '0.0.0.0'", True),
        ("[metrics]\nport = 9765\nhost = 'kms.example'", True),
    ],
)
def test_other_machines_may_ask_only_where_the_host_says_so(section: str, *, exposed: bool) -> None:
    assert metrics(section).exposed is exposed


def test_a_port_that_is_taken_is_named_as_the_metrics() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationInvalid, match=rf"port {port} .*change metrics\.host or metrics\.port\."):
            supervisor.bind("127.0.0.1", port, "metrics")
