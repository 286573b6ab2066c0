"""Places for commands: so many at a time, so many waiting per account, and each account in its turn.

Nothing behind this door waits in a fair or bounded way by itself: the hosts serve whoever came first, the database's
connections too. So no more commands are let in at a time than keep all of it busy, and the others wait here.

Laws:

- a place that becomes free goes to the account that has waited longest since its last turn: another account's thousand
  waiting commands delay a command by one turn;
- an account has at most `MOST_WAITING` commands in a line; one more is refused at once, and none waits without end;
- there are as many places as the token can use: what it is given ahead grows with its pace, and nobody who comes later
  takes a place before those who wait;
- what waits for one thing never takes the place of what needs another: there are lanes for commands that need the
  token, for those that wait for a wrapping pair, and for those that ask the database only. Neither health checks nor
  the refusal of a request that is no command need a place.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import ServiceOverloaded
from hsmkms.core.metering import Line
from hsmkms.service import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsmkms.core.ids import AccountName
    from hsmkms.service.commands import Command

MOST_WAITING: Final = 256
"""Commands of one account in one lane: 16 MiB of the largest requests."""
PATIENCE_SECONDS: Final = 5.0
IN_PROCESS: Final = 16
"""Places beyond those that the token's sessions can work on: for what is at the database, or between the two."""
PAIR_PLACES: Final = 8
"""As many as keep the database busy while pairs are ready; of an empty pool they take few pairs ahead of others."""


class Lane(Enum):
    """What a command needs, and may have to wait for."""

    TOKEN = auto()
    PAIRS = auto()
    STORE = auto()


LANES: Final[Mapping[type[Command], Lane]] = {
    commands.CreateKey: Lane.TOKEN,
    commands.ImportMaterial: Lane.TOKEN,
    commands.Encrypt: Lane.TOKEN,
    commands.Decrypt: Lane.TOKEN,
    commands.ReEncrypt: Lane.TOKEN,
    commands.MakeDataKey: Lane.TOKEN,
    commands.MakeRandom: Lane.TOKEN,
    commands.GetImportParameters: Lane.PAIRS,
}
"""Whatever is not here asks the database only."""


class Admission:
    """The places of this process."""

    def __init__(
        self,
        token_sessions: int = 1,
        most_ahead: Callable[[], int] = lambda: 0,
        pair_patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Have a place for each of the token's sessions, and some for what is on its way to them.

        Args:
            token_sessions: how many calls the hosts work on at a time.
            most_ahead: how many more they are given now: the faster the token, the more.
            pair_patience_seconds: how long a command waits to be the next to wait for a pair.
        """
        self._lanes = {
            Lane.TOKEN: Places(token_sessions + IN_PROCESS, most_ahead),
            Lane.PAIRS: Places(PAIR_PLACES, patience_seconds=pair_patience_seconds),
            Lane.STORE: Places(IN_PROCESS),
        }

    @property
    def lines(self) -> Mapping[Lane, Line]:
        """How many commands hold a place in each lane, and how many wait for one."""
        return {lane: places.line for lane, places in self._lanes.items()}

    def place(self, account: AccountName, command: Command) -> Place:
        """Return what holds a place for a command of `account` while a block runs.

        Entering it raises:
            ServiceOverloaded: too many of this account wait already, or this one waited too long.
        """
        return self._lanes[LANES.get(type(command), Lane.STORE)].held(account)


class Place:
    """A place of a lane, held while a block runs."""

    __slots__ = ("_places", "_whose")

    def __init__(self, places: Places, whose: str) -> None:
        """Hold one of `places`."""
        self._places = places
        self._whose = whose

    async def __aenter__(self) -> None:
        await self._places.take(self._whose)

    async def __aexit__(self, *_failure: object) -> None:
        self._places.give_back()


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """Of somebody who waits."""

    comes: asyncio.Future[None]
    patient_until: float
    """By the loop's clock."""

    @property
    def came(self) -> bool:
        """Whether it has come, so that there is a place to give back."""
        return self.comes.done() and not self.comes.cancelled() and self.comes.exception() is None


class Places:
    """The places of one lane, and a line for each account."""

    def __init__(
        self,
        number: int,
        more: Callable[[], int] = lambda: 0,
        *,
        most_waiting: int = MOST_WAITING,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Have `number` places, and as many more as `more` says at the moment."""
        self._number = number
        self._more = more
        self._taken = 0
        self._most_waiting = most_waiting
        self._patience_seconds = patience_seconds
        self._lines: dict[str, deque[_Turn]] = {}
        """Of those who wait, in the order of their turns; a line that is empty is none."""
        self._alarm: asyncio.TimerHandle | None = None
        """For the one whose patience ends first; one for each who waits would cost more than the waiting."""

    @property
    def line(self) -> Line:
        """How many hold a place, and how many wait for one."""
        return Line(self._taken, sum(map(len, self._lines.values())))

    def held(self, whose: str) -> Place:
        """Return what holds a place while a block runs.

        Entering it raises:
            ServiceOverloaded: too many of the same wait already, or this one waited too long.
        """
        return Place(self, whose)

    async def take(self, whose: str) -> None:
        """Take a place, which is to be given back.

        Raises:
            ServiceOverloaded: too many of the same wait already, or this one waited too long.
        """
        if self._lines or not self._is_one_free():
            await self._wait(whose)
        else:
            self._taken += 1

    def _is_one_free(self) -> bool:
        return self._taken < self._number or self._taken < self._number + self._more()

    async def _wait(self, whose: str) -> None:
        if len(self._lines.get(whose, ())) >= self._most_waiting:
            raise ServiceOverloaded
        loop = asyncio.get_running_loop()
        turn = _Turn(loop.create_future(), loop.time() + self._patience_seconds)
        self._lines.setdefault(whose, deque()).append(turn)
        if self._alarm is None:
            self._alarm = loop.call_at(turn.patient_until, self._send_away)
        try:
            await turn.comes
        except BaseException:
            if turn.came:  # at the very moment we stopped waiting
                self.give_back()
            else:
                self._leave(whose, turn)
            raise

    def _send_away(self) -> None:
        """Refuse those who waited for as long as they may; all wait for equally long, so that each line is in order."""
        loop = asyncio.get_running_loop()
        self._alarm, now, nearest = None, loop.time(), math.inf
        for line in self._lines.values():
            for turn in line:
                if turn.patient_until > now:
                    nearest = min(nearest, turn.patient_until)
                    break
                if not turn.comes.done():
                    turn.comes.set_exception(ServiceOverloaded())
        if nearest < math.inf:
            self._alarm = loop.call_at(nearest, self._send_away)

    def _leave(self, whose: str, turn: _Turn) -> None:
        line = self._lines.get(whose, deque())
        with suppress(ValueError):
            line.remove(turn)
        if not line:
            self._lines.pop(whose, None)

    def give_back(self) -> None:
        """Give a place back; those that are free go to the first of the next line, which is the last one then."""
        self._taken -= 1
        while self._lines and self._is_one_free():
            whose, line = next(iter(self._lines.items()))
            del self._lines[whose]
            turn = line.popleft()
            if line:
                self._lines[whose] = line
            if not turn.comes.done():
                self._taken += 1
                turn.comes.set_result(None)
