"""Keys as they were read last, so that using a key does not ask the database each time.

Laws:

- what this process has changed is never shown as it was: from before the change is committed until after, the key is
  not remembered, nor is what somebody began to read meanwhile;
- what another process may have changed is shown for `TRUSTED_SECONDS` at most;
- a key that there is not is not remembered: invented names would push out those that are used.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import InternalFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hsmkms.core.ids import AccountName, KeyId
    from hsmkms.core.keys import Key

TRUSTED_SECONDS: Final = 0.5
MOST_REMEMBERED: Final = 20_000
"""About a kilobyte each."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """`core.ports.KeyReading` of one key."""

    account: AccountName
    key_id: KeyId
    found: Key | None
    found_tags: Mapping[str, str] | None
    """None: they were not asked for."""

    def key(self, account: AccountName, key_id: KeyId) -> Key | None:
        """Return the account's key of this id."""
        self._require_known(account, key_id)
        return self.found

    def tags(self, account: AccountName, key_id: KeyId) -> Mapping[str, str]:
        """Return the tags of the account's key."""
        self._require_known(account, key_id)
        if self.found_tags is None:
            raise InternalFault
        return self.found_tags

    def _require_known(self, account: AccountName, key_id: KeyId) -> None:
        if (account, key_id) != (self.account, self.key_id):
            raise InternalFault


class KeyCache:
    """What one process remembers of keys."""

    def __init__(self, *, seconds: float = TRUSTED_SECONDS, most: int = MOST_REMEMBERED) -> None:
        """Remember `most` keys, each for `seconds`."""
        self._seconds = seconds
        self._most = most
        self._known: dict[KeyId, tuple[float, KnownKey]] = {}
        self._changing: dict[KeyId, int] = {}
        self._asking: dict[KeyId, set[object]] = {}

    def find(self, account: AccountName, key_id: KeyId, *, tagged: bool) -> KnownKey | None:
        """Return what is remembered of a key, with its tags if `tagged`."""
        read_at, known = self._known.get(key_id, (0.0, None))
        if known is None or known.account != account or (tagged and known.found_tags is None):
            return None
        return known if time.monotonic() - read_at <= self._seconds else None

    @contextmanager
    def asking(self, key_id: KeyId) -> Iterator[_Question]:
        """Remember what is read within the block, unless it is changed meanwhile."""
        question = _Question(self, key_id, time.monotonic())
        asking = self._asking.setdefault(key_id, set())
        asking.add(question)
        try:
            yield question
        finally:
            asking.discard(question)
            if not asking and self._asking.get(key_id) is asking:
                del self._asking[key_id]

    def remember(self, question: _Question, known: KnownKey) -> None:
        """Remember a key, unless it has changed since it was asked for, or is changing."""
        if known.found is None or known.key_id in self._changing:
            return
        if question not in self._asking.get(known.key_id, ()):
            return
        read_at, _ = self._known.get(known.key_id, (question.asked_at, None))
        if question.asked_at < read_at:  # somebody who asked later was answered sooner
            return
        self._known.pop(known.key_id, None)
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[known.key_id] = question.asked_at, known

    @contextmanager
    def changing(self, key_ids: Iterable[KeyId]) -> Iterator[None]:
        """Forget keys that are changed within the block, at its beginning and at its end."""
        changing = set(key_ids)
        self._forget(changing)
        for key_id in changing:
            self._changing[key_id] = self._changing.get(key_id, 0) + 1
        try:
            yield
        finally:
            for key_id in changing:
                self._changing[key_id] -= 1
                if not self._changing[key_id]:
                    del self._changing[key_id]
            self._forget(changing)

    def _forget(self, key_ids: Iterable[KeyId]) -> None:
        for key_id in key_ids:
            self._known.pop(key_id, None)
            self._asking.pop(key_id, None)


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """A key that is being read."""

    cache: KeyCache
    key_id: KeyId
    asked_at: float

    def remember(self, known: KnownKey) -> None:
        """Remember what was read."""
        self.cache.remember(self, known)
