"""Requests of unknown origin: told apart by the address they came from, and counted minute by minute.

Laws:

- a source and a minute are one event; what such a request claims to be is not in it, because anybody may claim it;
- the sources of a minute are bounded: when there are too many, the rest have one name together;
- an IPv6 source is its /64: whoever has one address there has all of them (RFC 6177).
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final

from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import MILLISECONDS_PER_SECOND, Instant

if TYPE_CHECKING:
    from hsmkms.core.errors import HsmkmsError

MOST_SOURCES: Final = 1000
OTHERS: Final = "others"
"""The name of the sources above `MOST_SOURCES` of a minute."""
_UNKNOWN: Final = "unknown"
_MINUTE: Final = 60 * MILLISECONDS_PER_SECOND
_ACTOR: Final = "strangers"
_PREFIX: Final = 64


class RefusedSources:
    """The counts of one minute; false while there are none."""

    def __init__(self, most_sources: int = MOST_SOURCES) -> None:
        """Tell at most `most_sources` apart."""
        self._most = most_sources
        self._minute = 0
        self._counts: dict[str, Counter[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def count(self, source: str, error: HsmkmsError, now: Instant) -> list[Event]:
        """Count one request; return the events of the minute before, if that is over."""
        over = self.over(now)
        self._minute = now // _MINUTE
        name = name_of(source)
        if name not in self._counts and len(self._counts) >= self._most:
            name = OTHERS
        self._counts.setdefault(name, Counter())[type(error).__name__] += 1
        return over

    def over(self, now: Instant) -> list[Event]:
        """Return the events of the minute counted, if that is not the present one, and count anew."""
        return self.rest() if self._counts and now // _MINUTE != self._minute else []

    def rest(self) -> list[Event]:
        """Return the events of the minute counted, though it may not be over, and count anew."""
        at, counts, self._counts = Instant(self._minute * _MINUTE), self._counts, {}
        return [
            Event(
                EventTag.STRANGERS_REFUSED,
                at,
                None,
                _ACTOR,
                detail={"source": source, "requests": faults.total(), **faults},
            )
            for source, faults in counts.items()
        ]


def name_of(source: str) -> str:
    """Return what tells a source from others: an IPv4 address, an IPv6 network; one name for what is neither."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return _UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address) >> _PREFIX << _PREFIX, _PREFIX)))
    return str(address)
