"""Changes on their way through a group: they wait, are run, perhaps undone and run again, and answered."""

from __future__ import annotations

import contextvars
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hsmkms.core.errors import StoreUnavailable
from hsmkms.store.finishing import Completion

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from hsmkms.core.errors import HsmkmsError
    from hsmkms.store.writing import SqlWriting


@dataclass(slots=True, eq=False)
class Change:
    """A change that somebody waits for."""

    run: Callable[[SqlWriting], Any]
    deadline: float
    done: Completion[Any] = field(default_factory=Completion)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    """Of its caller: the log names his request."""
    begun: bool = False
    taken_back: bool = False
    """By its caller, before it had begun."""
    guarded: bool = False
    """Whether its group is run with savepoints: it has been undone, because one of them failed in the middle."""
    alone: bool = False
    """Whether no other is committed with it: it has been undone, because the commit of a group was refused."""
    writing: SqlWriting | None = None
    outcome: Any = None
    fault: BaseException | None = None

    def begin(self, writing: SqlWriting, driver: sqlite3.Connection) -> bool:
        """Run it; False if it failed and something of it is left to be undone."""
        self.begun, self.writing = True, writing
        before = driver.total_changes
        try:
            self.outcome = self.context.run(self.run, writing)
            if writing.failed:
                raise StoreUnavailable  # noqa: TRY301 - as if the change had not caught it
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked for the change
            self.fault = error
            return driver.total_changes == before  # of a statement that fails, SQLite leaves nothing
        return True

    def answer(self) -> None:
        """Tell whoever waits."""
        self.done.end(self.outcome, self.fault)

    def refuse(self, fault: HsmkmsError) -> None:
        """Tell whoever waits that it was not committed.

        Not what it raised itself: that may be because of what a neighbour did, which was not committed either.
        """
        self.done.end(None, fault)

    def wait_again(self) -> None:
        """Be as if it had not begun: what it did was undone."""
        self.begun, self.writing, self.outcome, self.fault = False, None, None, None


class WaitingChanges:
    """Changes in the order in which they will be run."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changes: deque[Change] = deque()

    def __len__(self) -> int:
        """Return how many wait; some may have been taken back."""
        return len(self._changes)

    @property
    def guarded(self) -> bool:
        """Whether the next group is run with savepoints."""
        return bool(self._changes) and self._changes[0].guarded

    def patience(self) -> float:
        """Return for how many seconds the first one may wait."""
        return max(0.0, self._changes[0].deadline - time.monotonic())

    def add(self, change: Change) -> None:
        """Let a change wait behind all others."""
        self._changes.append(change)

    def take(self) -> Change:
        """Return the first one, which waits no longer."""
        return self._changes.popleft()

    def put_back(self, group: Sequence[Change], *, guarded: bool = False, alone: bool = False) -> None:
        """Let changes that were undone wait again, in their order and before all others."""
        for each in reversed(group):
            each.wait_again()
            each.guarded, each.alone = each.guarded or guarded, each.alone or alone
            self._changes.appendleft(each)

    def refuse(self, fault: HsmkmsError) -> None:
        """Answer those whose time is over, and the first in any case: its time was waited for."""
        now = time.monotonic()
        self._changes.popleft().refuse(fault)
        for each in [each for each in self._changes if each.deadline <= now]:
            self._changes.remove(each)
            each.refuse(fault)
