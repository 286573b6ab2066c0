"""Work that a cancelled caller lets finish.

A request may be cancelled at any await. A commit must not be left half-heard then, and nothing can stop a thread in the
middle of a statement: it would keep its locks for an unknown time. Whatever has begun in the database is therefore
awaited to its end, and the cancellation is raised after it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

Result = TypeVar("Result")


async def finished(work: Awaitable[Result]) -> Result:
    """Return the result of `work`, which runs to its end even if the caller is cancelled meanwhile.

    Raises:
        asyncio.CancelledError: the caller was cancelled; `work` has ended by then, and what it raised is dropped.
    """
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError as cancellation:
        with suppress(Exception):
            await undeterred(future)
        raise cancellation from None


async def undeterred(work: Awaitable[Result]) -> Result:
    """Return the result of `work`, whether the caller is cancelled meanwhile or not.

    For a task that ends by itself, and that others wait for: an event loop that closes cancels every task at once.
    """
    future = asyncio.ensure_future(work)
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait((future,))  # unlike awaiting it, this does not pass the cancellation on
    return future.result()


class Completion(Generic[Result]):
    """The end of work that goes on whether or not who waits for it is cancelled.

    As `finished` and `asyncio.shield` do it, with one future instead of three: each change of the database waits twice.

    Attributes:
        over: whether the end has come.
    """

    __slots__ = ("_bell", "_fault", "_loop", "_result", "over")

    def __init__(self) -> None:
        """Begin in the running event loop; one task at a time may wait."""
        self._loop = asyncio.get_running_loop()
        self._bell: asyncio.Future[None] = self._loop.create_future()
        self._result: Result | None = None
        self._fault: BaseException | None = None
        self.over = False

    def end(self, result: Result | None, fault: BaseException | None) -> None:
        """Bring the end, once, with what came of the work."""
        self._result, self._fault, self.over = result, fault, True
        if not self._bell.done():
            self._bell.set_result(None)

    async def wait(self) -> Result:
        """Return the result, or raise what the work raised.

        Raises:
            asyncio.CancelledError: the caller was cancelled; he may wait again.
        """
        if not self.over:
            if self._bell.done():
                self._bell = self._loop.create_future()
            await self._bell
        if self._fault is not None:
            raise self._fault
        return self._result  # type: ignore[return-value]

    async def wait_undeterred(self) -> None:
        """Return at the end, whether the caller is cancelled meanwhile or not, and whatever came of the work."""
        while not self.over:
            with suppress(asyncio.CancelledError, Exception):
                await self.wait()


def begun_in(executor: Executor, work: Callable[..., Result], *arguments: Any) -> Completion[Result]:  # noqa: ANN401
    """Begin work in a thread, and return its completion."""
    completion: Completion[Result] = Completion()
    loop = asyncio.get_running_loop()

    def run() -> None:
        result, fault = None, None
        try:
            result = work(*arguments)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            fault = error
        loop.call_soon_threadsafe(completion.end, result, fault)

    executor.submit(run)
    return completion
