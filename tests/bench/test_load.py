"""The closed loop: what is counted, when it ends, and that it believes no wrong answer."""

from __future__ import annotations

import gc
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from scripts.benchmark.load import Answered, Asked, Load, Window, measured
from scripts.benchmark.measurements import Latency
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import Connection
from tests.bench.answering import answer, answering, well

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


def asked(number: int) -> Asked[int]:
    body = str(number).encode()
    return Asked(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), number)


def echo(body: bytes) -> Sequence[bytes]:
    return [answer(well(int(body)))]


@asynccontextmanager
async def loading(port: int, connections: int) -> AsyncIterator[Load]:
    opened = [await Connection.open("127.0.0.1", port) for _ in range(connections)]
    try:
        yield Load(opened)
    finally:
        for connection in opened:
            connection.close()


def test_only_what_was_answered_inside_of_the_window_counts() -> None:
    answers = [Answered(None, b"", at, 0.5) for at in (9.9, 10.0, 11.0, 11.99, 12.0, 13.0)]
    point = measured("import", 8, answers, Window(10.0, 12.0, {"web": 1.5}))
    assert (point.count, point.seconds, point.rate) == (3, 2.0, 1.5)
    assert point.latency == Latency(500.0, 500.0)
    assert point.cpu == {"web": 0.75}


def test_several_windows_count_together() -> None:
    answers = [Answered(None, b"", at, 0.5) for at in (10.5, 11.5, 12.5, 13.5)]
    windows = (Window(10.0, 11.0, {"web": 0.25}), Window(12.0, 15.0, {"web": 1.75}))
    point = measured("import", 8, answers, *windows, keys=10)
    assert (point.count, point.seconds, point.keys) == (3, 4.0, 10)
    assert point.cpu == {"web": 0.5}


def test_a_service_that_gives_no_answer_has_no_rate() -> None:
    with pytest.raises(WrongAnswerError, match="no answer within 2"):
        measured("import", 8, [Answered(None, b"", 9.0, 0.5)], Window(10.0, 12.0, {}))


async def test_every_request_is_sent_once_and_meets_its_own_answer() -> None:
    async with answering(echo) as port, loading(port, 4) as load:
        answers = await load.all(asked(number) for number in range(100))
    assert {each.subject: each.body for each in answers} == {number: well(number) for number in range(100)}


async def test_an_answer_may_come_in_pieces() -> None:
    def in_pieces(body: bytes) -> Sequence[bytes]:
        whole = echo(body)[0]
        return [whole[at : at + 1] for at in range(len(whole))]

    async with answering(in_pieces) as port, loading(port, 1) as load:
        assert [each.body for each in await load.all([asked(7), asked(8)])] == [well(7), well(8)]


async def test_the_time_ends_an_endless_stock() -> None:
    async with answering(echo) as port, loading(port, 2) as load:
        answers, window = await load.timed(map(asked, itertools.count()), 0.2, 0.1, lambda: {"client": 1.0})
    assert 0.1 <= window.seconds < 30
    assert window.cpu_seconds == {"client": 0.0}
    assert measured("encrypt", 2, answers, window).count < len(answers)


async def test_a_stock_that_is_used_up_ends_the_window() -> None:
    async with answering(echo) as port, loading(port, 2) as load:
        answers, window = await load.timed(map(asked, range(500)), 0.0, 60.0, dict)
    assert len(answers) == 500
    assert window.seconds < 30


async def test_a_whole_stock_counts_from_the_first_to_the_last() -> None:
    async with answering(echo) as port, loading(port, 2) as load:
        answers, window = await load.whole(map(asked, range(50)))
    assert measured("import", 2, answers, window).count == 50
    assert gc.isenabled()


async def test_an_answer_may_have_nothing_to_say() -> None:
    empty = [b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n"]
    async with answering(lambda _: empty) as port, loading(port, 1) as load:
        assert [each.body for each in await load.all([asked(7), asked(8)])] == [b"", b""]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([answer(b'{"Response": {"Error": {"Code": "InternalError"}}}')], "refused a request.*InternalError"),
        ([answer(well(), status="503 Service Unavailable")], "refused a request"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], "refused a request"),
        ([], "cut a connection"),
    ],
)
async def test_one_wrong_answer_ends_a_load(wrong: list[bytes], said: str) -> None:
    answers: Iterator[Sequence[bytes]] = itertools.chain([echo(b"1")] * 5, itertools.repeat(wrong))
    async with answering(lambda _: next(answers)) as port, loading(port, 2) as load:
        with pytest.raises(WrongAnswerError, match=said):
            await load.timed(map(asked, itertools.count()), 0.0, 60.0, dict)
    assert gc.isenabled()
