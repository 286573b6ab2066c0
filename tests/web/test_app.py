from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from hsmkms.log import REQUEST_ID
from hsmkms.web.app import App, Health, Limits, build_app
from tests.web.serving import PlainDialect, connected, exchange, no_obstacle, read_answer, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.dialects.base import RequestHead

LIMIT = 64 * 1024


def app(dialect: PlainDialect, limits: Limits | None = None, health: Health | None = None) -> App:
    return build_app([dialect], limits or Limits(), health or Health(no_obstacle))


def post(body: bytes, *, target: bytes = b"/", headers: bytes = b"", length: int | None = None) -> bytes:
    size = str(len(body) if length is None else length).encode()
    return b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %s\r\n%s\r\n%s" % (target, size, headers, body)


# --- what a dialect sees ------------------------------------------------------------------------------------


async def test_target_headers_and_body_arrive_as_they_were_sent() -> None:
    dialect = PlainDialect()
    body = b'{"a": "\xff\x00"}'
    request = post(
        body,
        target=b"/%2e%2e/a//b;c?x=%41&&y=a+b%zz",
        headers=b"X-Two: 1\r\nx-two: 2\r\nX-Latin: \xe9\r\nX-Spaces:  a  b  \r\n",
    )
    async with serving(app(dialect)) as served:
        await exchange(served.port, request)
    [(head, seen)] = dialect.seen
    assert (head.method, head.target) == ("POST", "/%2e%2e/a//b;c?x=%41&&y=a+b%zz")
    assert head.headers[2:] == (("X-Two", "1"), ("x-two", "2"), ("X-Latin", "\xe9"), ("X-Spaces", "a  b"))
    assert head.values("x-two") == ("1", "2")
    assert seen == body


FORWARDED = (
    (b"", "127.0.0.1"),
    (b"X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"),
    (b"X-Forwarded-For: 203.0.113.1,  2001:DB8::7 \r\n", "2001:db8::7"),
    (b"X-Forwarded-For: 203.0.113.1\r\nx-forwarded-for: 192.0.2.8\r\n", "192.0.2.8"),
    (b"X-Forwarded-For: 192.0.2.7, anybody\r\n", "127.0.0.1"),
    (b"X-Forwarded-For: 192.0.2.7,\r\n", "127.0.0.1"),
    (b"X-Forwarded-For: \xe9\r\n", "127.0.0.1"),
)
"""What is sent, and which source it is of when it comes from a proxy."""


async def test_behind_a_proxy_the_source_is_the_last_that_the_proxy_says_and_else_who_connects() -> None:
    for behind in (True, False):
        dialect = PlainDialect()
        async with serving(build_app([dialect], Limits(), Health(no_obstacle), behind_proxy=behind)) as served:
            for headers, _ in FORWARDED:
                await exchange(served.port, post(b"", headers=headers))
        sources = [head.source for head, _ in dialect.seen]
        assert sources == [source if behind else "127.0.0.1" for _, source in FORWARDED]


async def test_a_host_that_is_a_url_arrives_as_it_was_sent() -> None:
    dialect = PlainDialect()
    async with serving(app(dialect)) as served:
        await exchange(served.port, b"POST / HTTP/1.1\r\nHost: http://127.0.0.1:1\r\nContent-Length: 0\r\n\r\n")
    assert dialect.seen[0][0].values("host") == ("http://127.0.0.1:1",)


async def test_a_compressed_body_is_not_unpacked() -> None:
    dialect = PlainDialect()
    packed = gzip.compress(b"0" * 1_000_000)
    async with serving(app(dialect)) as served:
        await exchange(served.port, post(packed, headers=b"Content-Encoding: gzip\r\n"))
    assert dialect.seen[0][1] == packed


async def test_the_answer_is_exactly_what_the_dialect_says() -> None:
    async with serving(app(PlainDialect())) as served:
        answer = await exchange(served.port, post(b""))
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Server"] == "hsmkms"


async def test_what_no_dialect_claims_is_not_found() -> None:
    dialect = PlainDialect()
    async with serving(app(dialect)) as served:
        answer = await exchange(served.port, post(b"", target=b"/unclaimed"))
    assert (answer.status, answer.json) == (404, {"error": "not found"})
    assert uuid.UUID(answer.headers["X-Request-Id"]).version == 4
    assert not dialect.seen


async def test_what_no_dialect_answers_has_the_identifier_of_its_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    known: list[str | None] = []

    def noting(record: logging.LogRecord) -> bool:
        if record.getMessage() == "request":
            known.append(REQUEST_ID.get())
        return True

    caplog.handler.addFilter(noting)
    targets = [b"/unclaimed", b"/healthz", b"/readyz"]
    async with serving(app(PlainDialect())) as served:
        lines = [b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % target for target in targets]
        answers = [await exchange(served.port, line) for line in lines]
    caplog.handler.removeFilter(noting)
    assert [answer.headers["X-Request-Id"] for answer in answers] == known
    assert len(set(known)) == 3


async def test_every_method_and_every_target_reach_the_dialect() -> None:
    dialect = PlainDialect()
    lines = [b"GET /", b"DELETE /x", b"OPTIONS *", b"PURGE /healthz", b"POST http://h/a"]
    async with serving(app(dialect)) as served:
        for line in lines:
            assert (await exchange(served.port, line + b" HTTP/1.1\r\nHost: h\r\n\r\n")).status == 200
    assert [f"{head.method} {head.target}".encode() for head, _body in dialect.seen] == lines


async def test_each_request_has_an_identifier_of_its_own_and_the_log_knows_it() -> None:
    known: list[str | None] = []

    async def answering(_head: RequestHead, _body: bytes) -> bytes:
        known.append(REQUEST_ID.get())
        return b"{}"

    dialect = PlainDialect(answering)
    async with serving(app(dialect)) as served, connected(served.port) as (reader, writer):
        for _ in range(3):
            writer.write(post(b""))
            await read_answer(reader)
    assert known == dialect.request_ids
    assert len(set(known)) == 3
    assert all(uuid.UUID(each).version == 4 for each in dialect.request_ids)
    assert REQUEST_ID.get() is None


async def test_the_log_line_says_who_asked_what_and_never_a_body(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(app(PlainDialect())) as served:
        await exchange(served.port, post(b"needle", target=b"/?needle", headers=b"X-Secret: needle\r\n"))
    [line] = [record for record in caplog.records if record.message == "request"]
    facts = line.__dict__
    assert (facts["method"], facts["dialect"], facts["action"], facts["status"]) == ("POST", "plain", "Plain", 200)
    assert facts["milliseconds"] > 0
    assert not [record for record in caplog.records if "needle" in repr(record.__dict__)]


# --- bodies that are refused --------------------------------------------------------------------------------


async def test_a_body_of_the_limit_is_read() -> None:
    dialect = PlainDialect()
    async with serving(app(dialect)) as served:
        assert (await exchange(served.port, post(b"x" * LIMIT))).json == {}
    assert len(dialect.seen[0][1]) == LIMIT


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(post(b"x" * (LIMIT + 1)), id="announced"),
        pytest.param(post(b"", length=10**15), id="announced and not sent"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n"
            + b"x" * 0x10001
            + b"\r\n0\r\n\r\n",
            id="chunked",
        ),
    ],
)
async def test_a_larger_body_is_refused_in_the_dialects_words(request_: bytes) -> None:
    dialect = PlainDialect()
    async with serving(app(dialect, Limits(body_seconds=0.2))) as served:
        answer = await exchange(served.port, request_)
    assert answer.json == {"refused": "BodyTooLarge"}
    assert not dialect.seen


async def test_what_is_left_of_a_refused_body_is_not_read_as_a_request() -> None:
    dialect = PlainDialect()
    body = b"x" * LIMIT + post(b"smuggled")
    async with serving(app(dialect)) as served, connected(served.port) as (reader, writer), asyncio.timeout(10):
        writer.write(post(body[:10], length=len(body)))
        assert (await read_answer(reader)).headers["Connection"] == "close"
        writer.write(body[10:])
        assert await reader.read() == b""
    assert not dialect.seen


async def test_a_request_has_arrived_with_its_last_byte() -> None:
    dialect = PlainDialect()
    async with serving(app(dialect)) as served, connected(served.port) as (reader, writer):
        writer.write(post(b"{", length=2))
        await dialect.claimed.wait()
        before = time.monotonic()
        writer.write(b"}")
        await read_answer(reader)
    [(head, _body)] = dialect.seen
    assert before <= head.received <= time.monotonic()


async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    dialect = PlainDialect()
    async with serving(app(dialect, Limits(body_seconds=0.1))) as served:
        answer = await exchange(served.port, post(b"half", length=100))
    assert answer.json == {"refused": "BodyMalformed"}
    assert not dialect.seen


async def test_a_body_that_is_not_chunked_as_announced_is_refused() -> None:
    dialect = PlainDialect()
    # aiohttp's parser tells nobody that it gave up in the middle of a body: the time limit does.
    limited = app(dialect, Limits(body_seconds=0.2))
    async with serving(limited) as served, connected(served.port) as (reader, writer), asyncio.timeout(10):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await dialect.claimed.wait()
        writer.write(b"zz\r\n")
        assert (await read_answer(reader)).json == {"refused": "BodyMalformed"}
    assert not dialect.seen


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    dialect = PlainDialect()
    async with serving(app(dialect)) as served:
        async with connected(served.port) as (_reader, writer):
            writer.write(post(b"half", length=100))
            await dialect.claimed.wait()
            writer.transport.abort()
        # Stopping waits for what is in flight, so the log line is written by then.
        served.stop.set()
        await served.task
    assert [record.__dict__["code"] for record in caplog.records if record.message == "request"] == ["BodyMalformed"]
    assert not dialect.seen
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: needle" + b"x" * 9000 + b"\r\n\r\n", id="long header"),
        pytest.param(b"GET /needle" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", id="long request line"),
        pytest.param(b"needle\r\n\r\n", id="not HTTP"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: needle\r\n\r\n", id="no length"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two lengths",
        ),
    ],
)
async def test_what_is_not_http_is_refused_without_an_echo(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    dialect = PlainDialect()
    async with serving(app(dialect)) as served:
        answer = await exchange(served.port, request_)
    assert (answer.status, answer.json) == (400, {"error": "bad request"})
    assert answer.headers["Server"] == "hsmkms"
    assert not dialect.seen
    assert not [record for record in caplog.records if "needle" in caplog.text + repr(record.__dict__)]


async def test_the_log_line_of_what_is_not_http_is_not_that_of_the_request_before_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, str | None] = {}
    monkeypatch.setattr(caplog.handler, "emit", lambda record: known.update({record.getMessage(): REQUEST_ID.get()}))
    dialect = PlainDialect()
    with caplog.at_level(logging.INFO):
        async with serving(app(dialect)) as served, connected(served.port) as (reader, writer):
            for request in (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", b"needle\r\n\r\n"):
                writer.write(request)
                await read_answer(reader)
    assert known == {"request": dialect.request_ids[0], "not a request": None}


@pytest.mark.parametrize("start", [b"", b"POST / HTTP/1.1\r\nHost:"])
async def test_a_client_that_does_not_finish_its_head_is_dropped(start: bytes) -> None:
    limited = app(PlainDialect(), Limits(head_seconds=0.1))
    async with serving(limited) as served, connected(served.port) as (reader, writer), asyncio.timeout(10):
        writer.write(start)
        assert await reader.read() == b""


async def test_a_client_that_asks_nothing_more_is_dropped_later() -> None:
    limited = app(PlainDialect(), Limits(head_seconds=60, idle_seconds=0.1))
    async with serving(limited) as served, connected(served.port) as (reader, writer), asyncio.timeout(10):
        writer.write(post(b""))
        assert (await reader.read()).startswith(b"HTTP/1.1 200")


async def test_the_deadline_is_for_the_first_head_only() -> None:
    limited = app(PlainDialect(), Limits(head_seconds=0.2))
    async with serving(limited) as served, connected(served.port) as (reader, writer), asyncio.timeout(10):
        writer.write(post(b""))
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.4)  # longer than the deadline that no longer holds
        writer.write(post(b""))
        assert b"HTTP/1.1 200" in await reader.readuntil(b"\r\n\r\n")


async def test_one_connection_too_many_takes_the_place_of_the_one_that_was_quiet_longest() -> None:
    limited = app(PlainDialect(), Limits(connections=2))
    async with (
        serving(limited) as served,
        asyncio.timeout(10),
        connected(served.port) as (first, to_first),
        connected(served.port) as (second, to_second),
    ):
        for reader, writer in ((first, to_first), (second, to_second), (first, to_first)):
            writer.write(post(b""))
            assert (await read_answer(reader)).status == 200
        async with connected(served.port) as (third, to_third):
            assert await second.read() == b"", "it had no request for the longest time"
            for reader, writer in ((third, to_third), (first, to_first)):
                writer.write(post(b""))
                assert (await read_answer(reader)).status == 200


async def test_silent_connections_keep_no_health_check_out() -> None:
    limited = app(PlainDialect(), Limits(connections=3))
    async with serving(limited) as served, asyncio.timeout(10), contextlib.AsyncExitStack() as silent:
        for _ in range(10):
            await silent.enter_async_context(connected(served.port))
        answer = await exchange(served.port, b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert answer.status == 200


async def test_one_connection_too_many_is_closed_while_all_have_a_request() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answering(_head: RequestHead, _body: bytes) -> bytes:
        begun.set()
        await go_on.wait()
        return b"{}"

    limited = app(PlainDialect(answering), Limits(connections=1))
    async with serving(limited) as served, asyncio.timeout(10), connected(served.port) as (first, to_first):
        to_first.write(post(b""))
        await begun.wait()
        async with connected(served.port) as (second, _):
            assert await second.read() == b""
        go_on.set()
        assert (await read_answer(first)).status == 200


# --- defects and clients that go away -----------------------------------------------------------------------


async def test_a_defect_is_logged_and_refused_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    async def answering(_head: RequestHead, _body: bytes) -> bytes:
        message = "a defect"
        raise ZeroDivisionError(message)

    async with serving(app(PlainDialect(answering))) as served:
        answer = await exchange(served.port, post(b""))
    assert answer.json == {"refused": "InternalFault"}
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_a_client_that_goes_away_does_not_stop_what_it_asked_for() -> None:
    started, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answering(_head: RequestHead, _body: bytes) -> bytes:
        started.set()
        await go_on.wait()
        done.set()
        return b"{}"

    dialect = PlainDialect(answering)
    async with serving(app(dialect)) as served, asyncio.timeout(10):
        async with connected(served.port) as (_reader, writer):
            writer.write(post(b""))
            await started.wait()
            writer.transport.abort()
        # One more request goes through the whole server, so the disconnection has been noticed by then.
        dialect.answering = None
        await exchange(served.port, post(b""))
        go_on.set()
        await done.wait()


# --- health -------------------------------------------------------------------------------------------------


async def hanging() -> str | None:
    await asyncio.Event().wait()
    return None


async def failing() -> str | None:
    message = "needle"
    raise RuntimeError(message)


async def obstacle() -> str | None:
    return "no token"


async def test_ready() -> None:
    async with serving(app(PlainDialect())) as served:
        alive = await exchange(served.port, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        ready = await exchange(served.port, b"GET /readyz?x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (alive.status, alive.json) == (200, {"status": "ok"})
    assert (ready.status, ready.json) == (200, {"status": "ready"})


async def test_readiness_is_found_out_once_for_all_who_ask_at_the_same_time() -> None:
    begun, go_on, asked = asyncio.Event(), asyncio.Event(), 0

    async def check() -> str | None:
        nonlocal asked
        asked += 1
        begun.set()
        await go_on.wait()
        return None

    async def ask(port: int) -> int:
        return (await exchange(port, b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")).status

    async with serving(app(PlainDialect(), health=Health(check))) as served, asyncio.timeout(10):
        asking = [asyncio.create_task(ask(served.port)) for _ in range(20)]
        await begun.wait()
        go_on.set()
        assert await asyncio.gather(*asking) == [200] * 20
        assert asked < 5, "who came too late for one answer shares the next"
        before = asked
        assert await ask(served.port) == 200
        assert asked == before + 1, "an answer is for those who wait for it, and not kept"


@pytest.mark.parametrize(
    ("check", "reason"), [(obstacle, "no token"), (failing, "the check failed"), (hanging, "in time")]
)
async def test_alive_and_not_ready(check: Callable[[], Awaitable[str | None]], reason: str) -> None:
    limits = Limits(ready_seconds=0.05)
    async with serving(app(PlainDialect(), limits, Health(check))) as served:
        alive = await exchange(served.port, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        ready = await exchange(served.port, b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert alive.status == 200
    assert ready.status == 503
    assert ready.json["status"] == "not ready"
    assert reason in ready.json["reason"]
    assert uuid.UUID(ready.headers["X-Request-Id"]).version == 4
    assert b"needle" not in ready.body
