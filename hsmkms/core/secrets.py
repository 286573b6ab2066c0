"""Secrets that cannot be printed.

Laws:

- `repr`, `str`, `format` and pickling never show the value;
- equality takes the same time wherever the values differ;
- `reveal` is the one way out, so that a reader can search for it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DERIVED: Final = 2
"""Keys kept with the one that they were derived from: a day's, and around midnight that of the day beside it."""


class Secret:
    """Bytes that only `reveal` gives back."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        """Keep `value`."""
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves."""
        return self._value

    def __len__(self) -> int:
        """Return the length in bytes."""
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, type(self)):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        """Return the hash of a digest, so that the value does not steer a table."""
        return hash(hashlib.sha256(self._value).digest())

    def __repr__(self) -> str:
        """Show the kind and the length only."""
        return f"<{type(self).__name__} of {len(self._value)} bytes>"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        """Show what `repr` shows."""
        return repr(self)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied by reduction.

        Raises:
            TypeError: always.
        """
        message = f"{type(self).__name__} cannot be pickled"
        raise TypeError(message)


class OpaqueToken(Secret):
    """An unguessable string that a client gets and returns; only its digest is stored."""

    __slots__ = ()

    def digest(self) -> bytes:
        """Return the SHA-256 under which it is known (32 bytes)."""
        return hashlib.sha256(self._value).digest()


class ImportToken(OpaqueToken):
    """What a client gets with import parameters, and returns with the import."""

    __slots__ = ()


class AuthToken(OpaqueToken):
    """What a client shows in place of a signature."""

    __slots__ = ()


class Pin(Secret):
    """A token's user PIN; only a host has one."""

    __slots__ = ()


class Plaintext(Secret):
    """What a key encrypts, or a data key: the API takes and returns it, and nothing keeps it."""

    __slots__ = ()


class SecretKey(Secret):
    """The secret half of an API credential, and what was lately derived from it: that lives no longer than it does."""

    __slots__ = ("_derived",)

    def __init__(self, value: bytes) -> None:
        """Keep `value`."""
        super().__init__(value)
        self._derived: dict[str, SecretKey] = {}

    def derived(self, label: str, derive: Callable[[bytes], bytes]) -> SecretKey:
        """Return what `derive` makes of the value for `label`; made once, as long as few labels are asked for in turn.

        Args:
            label: what tells it from what is derived for another purpose; the same one always with the same `derive`.
            derive: makes the bytes of the derived key from the value.
        """
        key = self._derived.get(label)
        if key is None:
            while len(self._derived) >= MOST_DERIVED:
                del self._derived[next(iter(self._derived))]
            key = self._derived[label] = SecretKey(derive(self._value))
        return key
