"""Work that a cancelled caller lets finish.

A request may be cancelled at any await. A commit must not be left half-heard then, and the driver runs statements in a
thread that nothing can stop: a connection given up in the middle of one would keep its locks for an unknown time.
Whatever is sent to the database is therefore awaited to its end, and the cancellation is raised after it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")


async def finished(work: Coroutine[object, object, Result]) -> Result:
    """Return the result of `work`, which runs to its end even if the caller is cancelled meanwhile.

    Raises:
        asyncio.CancelledError: the caller was cancelled; `work` has ended by then, and what it raised is dropped.
    """
    task = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))  # unlike awaiting the task itself, this does not pass the cancellation on
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as forgotten
        raise cancellation
    return task.result()
