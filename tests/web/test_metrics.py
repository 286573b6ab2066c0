"""The listener that Prometheus asks: one path, one method, and nobody takes much of it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from hsmkms.web.metrics import Metrics
from tests.web.serving import connected, exchange, read_answer, serving

GET = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"
TEXT = b"some_total 1\n"


class Shown:
    """The text, and what it was asked for with."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.accepted: list[str] = []
        self.fault = fault

    def __call__(self, accept: str) -> tuple[bytes, str]:
        self.accepted.append(accept)
        if self.fault is not None:
            raise self.fault
        return TEXT, "text/plain; version=0.0.4"


async def test_it_shows_the_metrics_again_and_again_on_one_connection() -> None:
    shown = Shown()
    async with serving(Metrics(shown)) as served, connected(served.port) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: a/b;q=1\r\nAccept: c/d\r\n\r\n")
            answer = await read_answer(reader)
            assert (answer.status, answer.body) == (200, TEXT)
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
            assert answer.headers["Server"] == "hsmkms"
    assert shown.accepted == ["a/b;q=1, c/d"] * 2


async def test_no_accept_header_is_an_empty_one_and_a_query_asks_for_nothing_else() -> None:
    shown = Shown()
    async with serving(Metrics(shown)) as served:
        answer = await exchange(served.port, GET.replace(b"/metrics", b"/metrics?name[]=x"))
    assert (answer.status, shown.accepted) == (200, [""])


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics/", "/Metrics", "//metrics", "/v1.0/acme/kms"])
async def test_there_is_nothing_else(path: str) -> None:
    shown = Shown()
    async with serving(Metrics(shown)) as served:
        answer = await exchange(served.port, GET.replace(b"/metrics", path.encode()))
    assert (answer.status, shown.accepted) == (404, [])


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_it_can_only_be_read(method: str) -> None:
    shown = Shown()
    async with serving(Metrics(shown)) as served, connected(served.port) as (reader, writer):
        writer.write(GET.replace(b"GET", method.encode()))
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET\r\n" in head
    assert shown.accepted == []


async def test_a_body_is_not_read() -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
    async with asyncio.timeout(5), serving(Metrics(Shown())) as served:
        answer = await exchange(served.port, request)
    assert (answer.status, answer.headers["Connection"]) == (200, "close")


async def test_a_defect_shows_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Metrics(Shown(ValueError("of the inside")))) as served:
        answer = await exchange(served.port, GET)
    assert answer.status == 500
    assert b"inside" not in answer.body
    assert "the metrics could not be written" in caplog.text


async def test_a_head_is_bounded() -> None:
    async with serving(Metrics(Shown())) as served:
        answer = await exchange(served.port, GET.replace(b"Host: h", b"Host: h\r\nX: " + b"x" * 5000))
    assert answer.status == 400


async def test_idle_connections_give_way() -> None:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(10))
        served = await stack.enter_async_context(serving(Metrics(Shown())))
        idle = [await stack.enter_async_context(connected(served.port)) for _ in range(16)]
        answer = await exchange(served.port, GET)
        assert answer.status == 200
        assert await idle[0][0].read() == b"", "the first of them was closed"
