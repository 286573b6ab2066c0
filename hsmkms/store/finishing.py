"""Work that a cancelled caller lets finish.

A request may be cancelled at any await. A commit must not be left half-heard then, and nothing can stop a thread in the
middle of a statement: it would keep its locks for an unknown time. Whatever has begun in the database is therefore
awaited to its end, and the cancellation is raised after it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

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
