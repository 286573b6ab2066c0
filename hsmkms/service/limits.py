"""How often an account may ask: token buckets, one per account and thing asked for.

Laws:

- a bucket is the moment at which it will be full again, in whole nanoseconds (the generic cell rate algorithm of ITU-T
  I.371, in its form of a virtual schedule), so that it is exact and nothing has to refill it;
- a request that is refused costs nothing, and one account's requests never touch another's buckets;
- a bucket that is full says nothing and is dropped: memory grows with what was asked for lately, and with nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import RequestRateExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.ids import AccountName
    from hsmkms.core.ports import Timer

_NANOSECONDS: Final = 1_000_000_000
_FEW_BUCKETS: Final = 1024
"""As many as are never looked through."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often an account may ask; 0: as often as it likes."""

    requests_per_second_per_api: int = 0
    get_parameters_burst: int = 0
    get_parameters_per_second: float = 0


class RateLimits:
    """What each account asked for lately."""

    def __init__(self, timer: Timer, rates: Rates) -> None:
        """Count by the clock of `timer`."""

        def now() -> int:
            return round(timer.seconds() * _NANOSECONDS)

        per_second = rates.requests_per_second_per_api
        self._requests = _Buckets(now, per_second, per_second) if per_second else None
        burst, refill = rates.get_parameters_burst, rates.get_parameters_per_second
        self._parameters = _Buckets(now, burst, refill) if burst else None

    def admit(self, account: AccountName, api: str) -> None:
        """Count one request to an action of a dialect.

        Raises:
            RequestRateExceeded: there were too many of them lately.
        """
        if self._requests is not None:
            self._requests.take((account, api), what=api)

    def admit_parameters(self, account: AccountName) -> None:
        """Count one ticket.

        Raises:
            RequestRateExceeded: there were too many of them lately.
        """
        if self._parameters is not None:
            self._parameters.take((account, ""), what="import parameters")


class _Buckets:
    """Buckets of one size, each full until it is asked."""

    def __init__(self, now: Callable[[], int], size: int, per_second: float) -> None:
        self._now = now
        self._interval = max(1, int(_NANOSECONDS / per_second))
        self._whole = size * self._interval
        self._full_at: dict[tuple[AccountName, str], int] = {}
        self._look_through_at = _FEW_BUCKETS

    def take(self, bucket: tuple[AccountName, str], *, what: str) -> None:
        now = self._now()
        full_at = max(now, self._full_at.get(bucket, now)) + self._interval
        wait = full_at - now - self._whole
        if wait > 0:
            raise RequestRateExceeded(what, wait / _NANOSECONDS)
        self._full_at[bucket] = full_at
        if len(self._full_at) > self._look_through_at:
            self._drop_full(now)

    def _drop_full(self, now: int) -> None:
        self._full_at = {bucket: full_at for bucket, full_at in self._full_at.items() if full_at > now}
        self._look_through_at = max(_FEW_BUCKETS, 2 * len(self._full_at))
