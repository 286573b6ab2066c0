"""What the client says while it works, and how it repeats what others said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Protocol

_MOST_REPEATED_CHARACTERS: Final = 500


class Teller(Protocol):
    """Who listens."""

    def step(self, what: str, fact: str) -> None:
        """Take a step that was made, in a word or two, and what came of it."""

    def warning(self, sentence: str) -> None:
        """Take a sentence that the user should act on."""


def repeated(text: str) -> str:
    """Return what a service said, fit for a terminal: no control characters, and not without end."""
    return "".join(each if each.isprintable() else "?" for each in text[:_MOST_REPEATED_CHARACTERS])


def moment(unix_seconds: int) -> str:
    """Return a time of the API as people read it; 0 is never."""
    if not unix_seconds:
        return "never"
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):  # no year that a calendar here has
        return str(unix_seconds)
