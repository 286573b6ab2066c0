from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hsmkms.core.errors import ConfigurationInvalid
from hsmkms.web.app import App, Health, Limits, build_app
from hsmkms.web.server import tls_context
from tests.web.certificates import certificate
from tests.web.serving import PlainDialect, connected, exchange, no_obstacle, read_answer, serving

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.dialects.base import RequestHead

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"


def app(dialect: PlainDialect) -> App:
    return build_app([dialect], Limits(), Health(no_obstacle))


class Waiting:
    """An answer that takes as long as the test wants."""

    def __init__(self) -> None:
        self.started, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, _head: RequestHead, _body: bytes) -> bytes:
        self.started.set()
        await self.go_on.wait()
        return b'{"late": true}'


async def test_what_is_in_flight_is_answered_after_stop_and_nothing_new_is_accepted() -> None:
    waiting = Waiting()
    async with (
        asyncio.timeout(10),
        serving(app(PlainDialect(waiting))) as served,
        connected(served.port) as (idle, _writer),
        connected(served.port) as (reader, writer),
    ):
        writer.write(REQUEST)
        await waiting.started.wait()
        served.stop.set()
        assert await idle.read() == b""  # idle connections end at once
        with pytest.raises(ConnectionError):
            await exchange(served.port, REQUEST)
        assert not served.task.done()
        waiting.go_on.set()
        answer = await read_answer(reader)
        await served.task
        assert answer.json == {"late": True}
        assert answer.headers["Connection"] == "close"


async def test_what_does_not_end_in_time_is_abandoned(caplog: pytest.LogCaptureFixture) -> None:
    waiting = Waiting()
    async with (
        asyncio.timeout(10),
        serving(app(PlainDialect(waiting)), shutdown_seconds=0.2) as served,
        connected(served.port) as (_reader, writer),
    ):
        writer.write(REQUEST)
        await waiting.started.wait()
        stopped = time.monotonic()
        served.stop.set()
        await served.task
        assert 0.1 < time.monotonic() - stopped < 2
    assert "requests in flight were abandoned" in caplog.messages


async def test_nothing_in_flight_ends_at_once() -> None:
    async with serving(app(PlainDialect()), shutdown_seconds=60) as served, asyncio.timeout(5):
        await exchange(served.port, REQUEST)
        served.stop.set()
        await served.task


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls(version: ssl.TLSVersion, tmp_path: Path) -> None:
    files = certificate(tmp_path, "one")
    client = ssl.create_default_context(cafile=files[0])
    client.minimum_version = client.maximum_version = version
    async with serving(app(PlainDialect()), tls_context(*files)) as served:
        assert (await exchange(served.port, REQUEST, client)).status == 200


async def test_older_tls_and_no_tls_are_refused(tmp_path: Path) -> None:
    context = tls_context(*certificate(tmp_path, "one"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    async with serving(app(PlainDialect()), context) as served:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await exchange(served.port, REQUEST)


def test_files_that_do_not_make_a_context_are_named_by_their_keys(tmp_path: Path) -> None:
    one, other = certificate(tmp_path, "one"), certificate(tmp_path, "other")
    absent, empty, locked = tmp_path / "absent", tmp_path / "empty", tmp_path / "locked"
    empty.write_bytes(b"")
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a passphrase"),
        )
    )
    for cert, key, why in [
        (one[0], other[1], f"{one[0]} and {other[1]}: key values mismatch"),
        (absent, one[1], f"{absent}: No such file or directory"),
        (one[0], absent, f"{absent}: No such file or directory"),
        (tmp_path, one[1], f"{tmp_path}: Is a directory"),
        (one[0], empty, f"{one[0]} and {empty}: "),
        (one[0], locked, f"{one[0]} and {locked}: the private key has a passphrase"),
    ]:
        with pytest.raises(ConfigurationInvalid, match=r"^listen\.tls_cert and listen\.tls_key .*;.*\.$") as caught:
            tls_context(cert, key)
        assert f"({why}" in caught.value.message


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0"])
async def test_a_version_that_is_not_spoken_here_is_refused_in_one_that_is(version: str) -> None:
    dialect = PlainDialect()
    async with serving(app(dialect)) as served, connected(served.port) as (reader, writer):
        writer.write(f"POST / {version}\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert answer.endswith(b'{"error": "bad request"}')
    assert not dialect.seen


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_nobody_gets_a_tunnel_and_what_comes_after_is_no_request(version: str) -> None:
    dialect = PlainDialect()
    async with serving(app(dialect)) as served, connected(served.port) as (reader, writer):
        writer.write(f"CONNECT / {version}\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert answer.endswith(b'{"error": "bad request"}')
    assert answer.count(b"HTTP/1.") == 1
    assert not dialect.seen
