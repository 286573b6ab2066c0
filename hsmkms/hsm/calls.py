"""Calls of a host that were sent and have no answer yet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hsmkms.core.errors import HsmkmsError

if TYPE_CHECKING:
    import asyncio

    from hsmkms.hsm import messages


class Over(Protocol):
    """Told when a host is done with a call, or gone."""

    def __call__(self, error: HsmkmsError | None, elapsed: float, worked: float | None) -> None:
        """Take how it ended.

        Args:
            error: why there is no answer; None: there is one.
            elapsed: seconds since the host can have begun; 0 if it cannot.
            worked: for how many of them the host says that it did; None: it does not say.
        """


@dataclass(slots=True)
class Call:
    """A request that was sent."""

    verb: type[messages.Verb]
    expected: type[Any]
    answer: asyncio.Future[Any]
    seconds: float
    over: Over | None
    begun: float | None = None
    """Since when the host can have begun, by the loop's clock; None: it cannot have yet."""

    @property
    def deadline(self) -> float:
        """When the host is given up for it, by the loop's clock."""
        return math.inf if self.begun is None else self.begun + self.seconds

    def end(self, outcome: messages.Answer | HsmkmsError, now: float, worked: float | None = None) -> None:
        """Tell whoever waits for it, if anybody still does, and then its owner."""
        error = outcome if isinstance(outcome, HsmkmsError) else None
        if not self.answer.done():
            if error is None:
                self.answer.set_result(outcome)
            else:
                self.answer.set_exception(error)
        if self.over is not None:
            self.over(error, 0.0 if self.begun is None else now - self.begun, worked)
