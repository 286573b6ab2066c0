"""Requests sent ahead to a host that is at work, and answers sent together: what both ends keep to.

Laws:

- a host begins requests in the order in which they were sent, each session one at a time;
- a host with one session may begin a `LIGHT` request while it holds the answers to at most `MOST_HELD` light ones
  before it; before it begins any other, and before it waits for requests, it sends all;
- so whoever sent the requests knows how many of the first ones without an answer can have begun, and no more did.
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from hsmkms.hsm import messages

if TYPE_CHECKING:
    from collections.abc import Iterable

LIGHT: Final[frozenset[type[messages.Verb]]] = frozenset(
    (
        messages.Encrypt,
        messages.Decrypt,
        messages.RequireDecryptable,
        messages.ReEncrypt,
        messages.MakeDataKey,
        messages.Random,
    )
)
"""What takes so little of the token's time that sending an answer apart from the next one costs as much."""
MOST_HELD: Final = 3
HELD_SECONDS: Final = 0.001
"""After the first of the requests was begun whose answers are held, no further one is."""


def most_begun(unanswered: Iterable[type[messages.Verb]], sessions: int) -> int:
    """Return how many of a host's unanswered requests, in the order in which they were sent, can have begun."""
    if sessions > 1:
        return sessions
    light = takewhile(LIGHT.__contains__, islice(unanswered, MOST_HELD + 1))
    return max(1, sum(1 for _ in light))
