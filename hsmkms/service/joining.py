"""One import for all who send the same request before it is answered.

Laws:

- a counted attempt that failed is joined until the moment of its answer, not until its work is over: an attempt that is
  or is not counted would tell when that was, and with it what `answering` keeps back;
- one that counted no attempt is joined while it is under way: the token has not judged its ciphertext;
- no failure is forgotten before its time to make room for another.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from hsmkms.core.errors import ServiceOverloaded

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from hsmkms.core.credentials import KeyScope
    from hsmkms.core.ids import AccountName, KeyId
    from hsmkms.core.keys import KeyState
    from hsmkms.core.tickets import Spending
    from hsmkms.service.answering import FailureSchedule
    from hsmkms.service.commands import Done

MOST_FAILED: Final = 4096
"""Failures that are known and not yet answered: in a quarter of a second, those of 16,000 imports a second. Each
takes some 9 KB."""


class Request(NamedTuple):
    """Who asks for what: all that decides what becomes of an import."""

    account: AccountName
    scope: KeyScope
    """What is joined was admitted for the keys of that scope and for no others."""
    key_id: KeyId
    token_digest: bytes
    spending: Spending
    states: tuple[KeyState, ...]
    """In which the caller's dialect lets a key be imported into."""
    algorithm_field: str


class _Failed(NamedTuple):
    importing: asyncio.Task[Done]
    answered_at: float


class Joinable:
    """The imports that a repeated request joins."""

    def __init__(self, failures: FailureSchedule) -> None:
        """Keep what failed until `failures` lets it be answered."""
        self._failures = failures
        self._under_way: dict[Request, asyncio.Task[Done]] = {}
        self._counted: set[Request] = set()
        self._failed: dict[Request, _Failed] = {}

    def find(self, request: Request) -> asyncio.Task[Done] | None:
        """Return the same import, under way or failed and not yet answered."""
        importing = self._under_way.get(request)
        if importing is not None:
            return importing
        failed = self._failed.get(request)
        return failed.importing if failed is not None and self._failures.seconds() < failed.answered_at else None

    def begin(self, request: Request, work: Coroutine[Any, Any, Done], received: float) -> asyncio.Task[Done]:
        """Begin an import that `find` did not find, for a request that arrived at `received`.

        Raises:
            ServiceOverloaded: too many failures wait for the moment of their answer.
        """
        self._forget_answered()
        if len(self._failed) >= MOST_FAILED:
            work.close()
            raise ServiceOverloaded
        importing = self._under_way[request] = asyncio.create_task(work)
        importing.add_done_callback(lambda _: self._end(request, received))
        return importing

    def count(self, request: Request) -> None:
        """Know that the import of this request has counted an attempt."""
        self._counted.add(request)

    def _end(self, request: Request, received: float) -> None:
        importing, counted = self._under_way.pop(request), request in self._counted
        self._counted.discard(request)
        if not counted or importing.cancelled() or importing.exception() is None:
            return
        now, answered_at = self._failures.seconds(), self._failures.answered_at(received)
        if now < answered_at:
            self._failed[request] = _Failed(importing, answered_at)
            # It holds a request, which nobody may send again: so that it does not outlive its use.
            asyncio.get_running_loop().call_later(answered_at - now, self._forget_answered)

    def _forget_answered(self) -> None:
        now = self._failures.seconds()
        for request in [each for each, failed in self._failed.items() if failed.answered_at <= now]:
            del self._failed[request]
