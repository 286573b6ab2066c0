"""Clients that connect and keep the server waiting, in each of the ways that there are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import time
from asyncio import sslproto
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hsmkms.web.app import App, Health, Limits, build_app
from hsmkms.web.connections import READ_AT_ONCE, Connection
from hsmkms.web.server import tls_context
from tests.web.certificates import certificate
from tests.web.serving import PlainDialect, connected, exchange, no_obstacle, read_answer, serving

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    from hsmkms.dialects.base import RequestHead

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
HALF = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\nhalf"


def app(limits: Limits, dialect: PlainDialect | None = None) -> App:
    return build_app([dialect or PlainDialect()], limits, Health(no_obstacle))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    files = certificate(tmp_path_factory.mktemp("tls"), "one")
    return tls_context(*files), ssl.create_default_context(cafile=files[0])


async def test_silent_connections_count_before_the_tls_handshake(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    context, client = tls
    async with (
        serving(app(Limits(connections=3)), context) as served,
        asyncio.timeout(5),
        contextlib.AsyncExitStack() as silent,
    ):
        readers = [(await silent.enter_async_context(connected(served.port)))[0] for _ in range(10)]
        assert (await exchange(served.port, HEALTH, client)).status == 200
        for reader in readers[:7]:
            assert await reader.read() == b""


async def test_the_deadline_of_the_first_head_holds_for_the_tls_handshake_too(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    context, _ = tls
    async with (
        serving(app(Limits(head_seconds=0.2)), context) as served,
        asyncio.timeout(5),
        connected(served.port) as (reader, _writer),
    ):
        connected_at = time.monotonic()
        assert await reader.read() == b""
        assert time.monotonic() - connected_at > 0.1


async def test_who_shook_hands_and_fell_silent_gives_way_without_a_last_word(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    context, client = tls
    loop = asyncio.get_running_loop()
    async with serving(app(Limits(connections=1)), context) as served, asyncio.timeout(5):
        plain = socket.create_connection(("127.0.0.1", served.port))
        with await asyncio.to_thread(client.wrap_socket, plain, server_hostname="127.0.0.1") as silent:
            assert (await exchange(served.port, HEALTH, client)).status == 200
            with socket.socket(fileno=os.dup(silent.fileno())) as below_tls:
                below_tls.setblocking(False)
                while await loop.sock_recv(below_tls, 65536):
                    pass  # session tickets, and no end without ours


async def test_whoever_keeps_the_rest_of_a_request_back_is_not_at_work() -> None:
    async with (
        serving(app(Limits(connections=3))) as served,
        asyncio.timeout(5),
        contextlib.AsyncExitStack() as halves,
    ):
        halved = [await halves.enter_async_context(connected(served.port)) for _ in range(3)]
        for _reader, writer in halved:
            writer.write(HALF)
        assert (await exchange(served.port, HEALTH)).status == 200
        assert await halved[0][0].read() == b"", "it has kept us waiting for longest"


async def test_a_request_that_is_whole_does_not_give_way_to_one_that_is_not() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answering(_head: RequestHead, _body: bytes) -> bytes:
        begun.set()
        await go_on.wait()
        return b"{}"

    async with (
        serving(app(Limits(connections=2), PlainDialect(answering))) as served,
        asyncio.timeout(5),
        connected(served.port) as (whole, to_whole),
        connected(served.port) as (half, to_half),
    ):
        to_whole.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{")
        to_half.write(HALF)
        to_whole.write(b"}")
        await begun.wait()
        assert (await exchange(served.port, HEALTH)).status == 200
        assert await half.read() == b""
        go_on.set()
        assert (await read_answer(whole)).status == 200


async def test_whoever_does_not_take_the_reply_is_not_at_work() -> None:
    asked = asyncio.Event()

    async def answering(_head: RequestHead, _body: bytes) -> bytes:
        asked.set()
        return bytes(16 * 1024 * 1024)

    async with serving(app(Limits(connections=1), PlainDialect(answering))) as served, asyncio.timeout(5):
        with socket.create_connection(("127.0.0.1", served.port)) as deaf:
            deaf.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            await asked.wait()
            assert (await exchange(served.port, HEALTH)).status == 200


def highest_descriptor() -> int:
    return max(int(each.name) for each in Path("/proc/self/fd").iterdir())


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process none."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest_descriptor() + 1, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in taken:
            os.close(each)


async def test_without_descriptors_the_log_says_so_once_a_second_and_clients_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, logged = asyncio.get_running_loop(), asyncio.Event()

    def told(_record: logging.LogRecord) -> bool:
        logged.set()
        return True

    caplog.handler.addFilter(told)
    async with serving(app(Limits())) as served, asyncio.timeout(10):
        clients = [socket.socket() for _ in range(8)]
        await exchange(served.port, HEALTH)
        with no_descriptors():
            for client in clients:
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", served.port))
            await logged.wait()
        for client in clients:
            with client:
                await loop.sock_sendall(client, HEALTH)
                assert (await loop.sock_recv(client, 4096)).startswith(b"HTTP/1.1 200")
    assert caplog.messages.count("no connection can be accepted") == 1
    assert not [each for each in caplog.records if each.name == "asyncio"]


async def test_a_connection_is_read_in_pieces_that_leave_no_holes_in_the_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    take = Connection.data_received

    def noting(connection: Connection, data: bytes) -> None:
        sizes.append(len(data))
        take(connection, data)

    monkeypatch.setattr(Connection, "data_received", noting)
    body = bytes(4 * READ_AT_ONCE)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(app(Limits(body_bytes=len(body)))) as served, asyncio.timeout(5):
        assert (await exchange(served.port, head + body)).status == 200
    assert sum(sizes) == len(head + body)
    assert max(sizes) <= READ_AT_ONCE


async def test_so_is_one_with_tls(monkeypatch: pytest.MonkeyPatch, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """What TLS reads is joined before it arrives: only asyncio's own attribute tells, and whether it is still there."""
    sizes: list[int] = []
    take = Connection.data_received

    def noting(connection: Connection, data: bytes) -> None:
        reading: Any = connection.transport
        sizes.append(reading._ssl_protocol.max_size)
        take(connection, data)

    assert hasattr(sslproto.SSLProtocol, "max_size")
    monkeypatch.setattr(Connection, "data_received", noting)
    async with serving(app(Limits()), tls[0]) as served, asyncio.timeout(5):
        assert (await exchange(served.port, HEALTH, tls[1])).status == 200
    assert set(sizes) == {READ_AT_ONCE}
