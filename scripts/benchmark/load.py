"""A closed loop: each connection sends its next request when the answer to its last one is there."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from scripts.benchmark.measurements import Latency, Measurement
from scripts.benchmark.trouble import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence

    from scripts.benchmark.wire import Connection

_PATIENCE_SECONDS: Final = 60.0
"""How much longer than it was to last a load may take before the service counts as hung."""

SubjectT = TypeVar("SubjectT")


@dataclass(frozen=True, slots=True)
class Asked(Generic[SubjectT]):
    """A request that is ready to be sent, and what its answer must fit."""

    request: bytes
    subject: SubjectT


@dataclass(frozen=True, slots=True)
class Answered(Generic[SubjectT]):
    """An answer: to what, when it was there (time.perf_counter), and after how many seconds."""

    subject: SubjectT
    body: bytes
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Window:
    """The time that counts (time.perf_counter), and the CPU seconds that each part used in it."""

    begin: float
    end: float
    cpu_seconds: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return self.end - self.begin


def measured(name: str, concurrency: int, answers: Iterable[Answered[SubjectT]], window: Window) -> Measurement:
    """Return what the answers inside of the window come to.

    Raises:
        WrongAnswerError: there is none.
    """
    inside = [each.seconds for each in answers if window.begin <= each.at < window.end]
    if not inside:
        raise WrongAnswerError(f"{name}: the service gave no answer within {window.seconds:.1f} s")
    cpu = {part: used / window.seconds for part, used in window.cpu_seconds.items()}
    return Measurement(name, concurrency, len(inside), window.seconds, Latency.of(inside), cpu)


@dataclass(frozen=True, slots=True)
class Load:
    """Connections to one service."""

    connections: Sequence[Connection]

    async def all(self, stock: Iterable[Asked[SubjectT]]) -> list[Answered[SubjectT]]:
        """Send the whole stock and return the answers, in the order in which they came."""
        answers: list[Answered[SubjectT]] = []
        async with _patience(0):
            left = iter(stock)
            await _all([_send(each, left, answers) for each in self.connections])
        return answers

    async def timed(
        self,
        stock: Iterable[Asked[SubjectT]],
        warm_up_seconds: float,
        seconds: float,
        cpu_seconds: Callable[[], Mapping[str, float]],
    ) -> tuple[list[Answered[SubjectT]], Window]:
        """Send from the stock until the time is over, or the stock.

        Args:
            stock: what to send; the window ends when nothing is left.
            warm_up_seconds: how long to send before the window begins.
            seconds: how long the window is, at most.
            cpu_seconds: what to ask for the CPU time of each part, at both ends of the window.
        """
        answers: list[Answered[SubjectT]] = []
        left = _Ending(stock)
        async with _patience(warm_up_seconds + seconds):
            with _no_collections():
                sending = asyncio.create_task(_all([_send(each, left, answers) for each in self.connections]))
                try:
                    await asyncio.wait((sending,), timeout=warm_up_seconds)
                    before, begin = cpu_seconds(), time.perf_counter()
                    await asyncio.wait((sending, left.over), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                    end, after = time.perf_counter(), cpu_seconds()
                    left.stop()
                    await sending
                finally:
                    sending.cancel()
        return answers, Window(begin, end, {part: after[part] - before.get(part, 0.0) for part in after})


class _Ending(Generic[SubjectT]):
    """A stock that says when nothing is left of it, and can be closed before."""

    def __init__(self, stock: Iterable[Asked[SubjectT]]) -> None:
        self._left = iter(stock)
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __iter__(self) -> Iterator[Asked[SubjectT]]:
        return self

    def __next__(self) -> Asked[SubjectT]:
        if not self.over.done():
            try:
                return next(self._left)
            except StopIteration:
                self.stop()
        raise StopIteration

    def stop(self) -> None:
        """Give nothing out any more."""
        if not self.over.done():
            self.over.set_result(None)


async def _send(connection: Connection, stock: Iterator[Asked[SubjectT]], answers: list[Answered[SubjectT]]) -> None:
    for asked in stock:
        sent = time.perf_counter()
        body = await connection.ask(asked.request)
        now = time.perf_counter()
        answers.append(Answered(asked.subject, body, now, now - sent))


async def _all(sendings: Iterable[Coroutine[None, None, None]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for sending in sendings:
                group.create_task(sending)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # the first wrong answer says enough


@asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds + _PATIENCE_SECONDS):
            yield
    except TimeoutError as error:
        raise WrongAnswerError(f"the service left requests unanswered for {_PATIENCE_SECONDS:.0f} s") from error


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep Python's garbage collector, which stops the client for milliseconds, out of the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
