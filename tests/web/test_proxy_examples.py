"""The example configurations of proxies agree with what the service takes, and how long it waits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from hsmkms.config import HsmSection
from hsmkms.web.app import Limits

CONF: Final = Path(__file__).parents[2] / "conf"
NGINX: Final = (CONF / "nginx.example.conf").read_text()
HAPROXY: Final = (CONF / "haproxy.example.cfg").read_text()
LIMITS: Final = Limits()
TOKEN_SECONDS: Final = HsmSection.model_fields["verb_timeout_seconds"].default


def number(text: str, directive: str) -> int:
    """Return the number that the one line of a directive gives."""
    (found,) = re.findall(rf"^ *{directive} (?:maxconn )?([0-9]+)", text, re.MULTILINE)
    return int(found)


@pytest.mark.parametrize(
    ("text", "idle", "answer"),
    [(NGINX, "keepalive_timeout", "proxy_read_timeout"), (HAPROXY, "timeout http-keep-alive", "timeout server")],
    ids=["nginx", "haproxy"],
)
def test_the_proxy_ends_idle_connections_first_and_waits_for_longer(text: str, idle: str, answer: str) -> None:
    assert number(text, idle) < LIMITS.idle_seconds
    # A body, a place, the token twice, and the database three times.
    assert number(text, answer) > LIMITS.body_seconds + 5 + 2 * TOKEN_SECONDS + 3 * 10


def test_nginx_leaves_the_refusal_of_large_bodies_to_the_service() -> None:
    assert number(NGINX, "client_max_body_size") * 1024 > LIMITS.body_bytes


def test_haproxy_opens_no_more_connections_than_a_node_has() -> None:
    (most,) = re.findall(r"^ *default-server .*\bmaxconn ([0-9]+)", HAPROXY, re.MULTILINE)
    assert int(most) < LIMITS.connections


def test_what_is_signed_is_passed_on_and_what_is_not_is_set() -> None:
    assert "proxy_set_header Host $http_host;" in NGINX
    assert re.search(r"proxy_pass https://hsmkms;", NGINX), "a path here would replace the signed one"
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in NGINX
    assert "http-request set-header X-Forwarded-For %[src]" in HAPROXY
    assert not re.search(r"set-header Host|set-path|set-uri|normalize-uri", HAPROXY)
    assert "non_idempotent" not in re.sub(r"#.*", "", NGINX)
    assert "http-request disable-l7-retry if !import !METH_GET" in HAPROXY
