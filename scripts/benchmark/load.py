"""A closed loop: each connection sends its next request when the answer to its last one is there."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from scripts.benchmark.child import HOST
from scripts.benchmark.measurements import Latency, Measurement
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence

_PATIENCE_SECONDS: Final = 60.0
"""How much longer than it was to last a load may take before the service counts as hung."""

SubjectT = TypeVar("SubjectT")


@dataclass(frozen=True, slots=True)
class Asked(Generic[SubjectT]):
    """A request that is ready to be sent, and what its answer must fit."""

    request: bytes
    subject: SubjectT

    async def on(self, connection: Connection) -> Answered[SubjectT]:
        """Send it, and return the answer."""
        sent = time.perf_counter()
        body = await connection.ask(self.request)
        now = time.perf_counter()
        return Answered(self.subject, body, now, now - sent)


@dataclass(frozen=True, slots=True)
class Answered(Generic[SubjectT]):
    """An answer: to what, when it was there (time.perf_counter), and after how many seconds."""

    subject: SubjectT
    body: bytes
    at: float
    seconds: float


class Step(Protocol[SubjectT]):
    """What a connection does before it does the next: one request, or several that belong together."""

    async def on(self, connection: Connection) -> Answered[SubjectT]:
        """Do it, and return the last answer, with the time that all of it took."""


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


def measured(
    name: str, concurrency: int, answers: Iterable[Answered[SubjectT]], *windows: Window, keys: int | None = None
) -> Measurement:
    """Return what the answers inside of the windows come to.

    Raises:
        WrongAnswerError: there is none.
    """
    inside = [each.seconds for each in answers if any(window.begin <= each.at < window.end for window in windows)]
    seconds = sum(window.seconds for window in windows)
    if not inside:
        raise WrongAnswerError(f"{name}: the service gave no answer within {seconds:.1f} s")
    cpu = {part: sum(each.cpu_seconds[part] for each in windows) / seconds for part in windows[0].cpu_seconds}
    return Measurement(name, concurrency, len(inside), seconds, Latency.of(inside), cpu, keys=keys)


@asynccontextmanager
async def connected(port: int, connections: int) -> AsyncIterator[Load]:
    """Open so many connections to a server on 127.0.0.1, for the block."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(connections):
            connection = await Connection.open(HOST, port)
            stack.callback(connection.close)
            opened.append(connection)
        yield Load(tuple(opened))


@dataclass(frozen=True, slots=True)
class Load:
    """Connections to one server."""

    connections: Sequence[Connection]

    async def all(self, stock: Iterable[Step[SubjectT]]) -> list[Answered[SubjectT]]:
        """Send the whole stock and return the answers, in the order in which they came."""
        answers: list[Answered[SubjectT]] = []
        async with _patience(0):
            left = iter(stock)
            await _all([_send(each, left, answers) for each in self.connections])
        return answers

    async def whole(self, stock: Iterable[Step[SubjectT]]) -> tuple[list[Answered[SubjectT]], Window]:
        """Send the whole stock, of which all counts; what CPU time that takes is not asked for."""
        with _no_collections():
            begin = time.perf_counter()
            answers = await self.all(stock)
            return answers, Window(begin, time.perf_counter(), {})

    async def timed(
        self,
        stock: Iterable[Step[SubjectT]],
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

    def __init__(self, stock: Iterable[Step[SubjectT]]) -> None:
        self._left = iter(stock)
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __iter__(self) -> Iterator[Step[SubjectT]]:
        return self

    def __next__(self) -> Step[SubjectT]:
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


async def _send(connection: Connection, stock: Iterator[Step[SubjectT]], answers: list[Answered[SubjectT]]) -> None:
    for step in stock:
        answers.append(await step.on(connection))  # noqa: PERF401 - what came before a wrong answer is kept


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
