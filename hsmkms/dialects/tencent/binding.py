"""One action per signature: what stands in for the signed X-TC-Action that Tencent's SDKs do not send.

A signature covers host, content type, body and second, and within that second every action with the same body carries
the same one. So whoever reads a request could send it again as another action. Where it is switched on, the first
action that is seen with a signature is the only one that it serves. The wire cannot tell the swap from a script that
calls two actions with one body within a second: the second of these is refused, too.

Laws:

- only a signature that was verified, on an action that there is, leaves a mark here;
- a mark is kept until its signature is too old to be verified, and never given up earlier to make room;
- how old a signature is, is judged by the latest time that was ever read here: what was once too old stays so, also for
  a request that was read a second before, and after a clock that leapt ahead was set back;
- what was signed before this process started may have served an action of the process before: it serves none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import RequestRateExceeded, ServiceOverloaded, SignatureExpired, SignatureMismatch
from hsmkms.core.ids import from_seconds, to_seconds
from hsmkms.dialects.tencent.auth import WINDOW_SECONDS

if TYPE_CHECKING:
    from hsmkms.core.ids import AccountName, Instant
    from hsmkms.dialects.tencent.auth import Claim

MOST_MARKS: Final = 1_000_000
"""Of all accounts: some 190 MB. Ten accounts must sign as fast as they may to fill it."""
MOST_MARKS_OF_ONE: Final = 100_000
"""Of one account. A mark is kept until 300 seconds after its timestamp: 330 different requests a second without end, or
half of that by a clock that is 300 seconds ahead."""


class ActionBinding:
    """Which action each signature that is still good has served."""

    def __init__(self, started: Instant, *, most: int = MOST_MARKS, most_of_one: int = MOST_MARKS_OF_ONE) -> None:
        """Know of no signature made before `started`."""
        self._started = started
        self._most = most
        self._most_of_one = most_of_one
        self._seconds: dict[int, dict[bytes, tuple[str, AccountName]]] = {}
        """By the second of the timestamp: marks of one second end together."""
        self._marks = 0
        self._by_account: Counter[AccountName] = Counter()
        self._cleared_at = 0

    def bind(self, claim: Claim, account: AccountName, action: str, now: Instant) -> None:
        """Let a verified signature serve `action` and no other.

        Raises:
            SignatureExpired: it was made before this process started, as far as its timestamp says, or it is too old by
                now.
            SignatureMismatch: it has served another action.
            RequestRateExceeded: the account has used too many signatures to remember one more.
            ServiceOverloaded: all accounts together have.
        """
        timestamp = int(claim.timestamp)
        if from_seconds(timestamp) <= self._started:
            raise SignatureExpired("The request was signed before this service started. Sign it anew.")
        latest = max(to_seconds(now), self._cleared_at)
        if timestamp + WINDOW_SECONDS < latest:
            raise SignatureExpired
        self._forget_expired(latest)
        mark = hashlib.sha256(f"{claim.access_id}:{claim.signature}".encode("ascii")).digest()
        bound = self._seconds.get(timestamp, {}).get(mark)
        if bound is None:
            self._require_room(account)
            self._seconds.setdefault(timestamp, {})[mark] = (action, account)
            self._by_account[account] += 1
            self._marks += 1
        elif bound[0] != action:
            raise SignatureMismatch(
                "This signature has served another action. Sign X-TC-Action, or send requests of two actions with the "
                "same body in different seconds."
            )

    def _require_room(self, account: AccountName) -> None:
        if self._by_account[account] >= self._most_of_one:
            raise RequestRateExceeded("requests with new signatures", WINDOW_SECONDS)
        if self._marks >= self._most:
            raise ServiceOverloaded

    def _forget_expired(self, second: int) -> None:
        if second == self._cleared_at:
            return
        self._cleared_at = second
        for timestamp in [each for each in self._seconds if each + WINDOW_SECONDS < second]:
            ended = self._seconds.pop(timestamp)
            self._marks -= len(ended)
            self._by_account -= Counter(account for _action, account in ended.values())
