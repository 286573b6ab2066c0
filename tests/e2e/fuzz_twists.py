"""What can be wrong with a message of HTTP/1.1 after it was signed.

Each twist takes a number, which chooses among its variants or says where it strikes. The service may refuse what comes
of it or, where nothing signed was touched, grant it; it must answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.e2e.fuzz_framing import OF_FRAMING
from tests.e2e.fuzz_heads import OF_HEADS
from tests.e2e.fuzz_message import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.e2e.fuzz_message import Message

TWISTS: Final[Mapping[str, Callable[[Message, int], None]]] = {**OF_HEADS, **OF_FRAMING}


def twisted(message: Message, twists: Sequence[tuple[str, int]]) -> Message:
    """Return the message with all its twists."""
    for name, number in twists:
        TWISTS[name](message, number)
    if message.cut is not None:
        message.reading = Reading.NONE  # whoever went away waits for nothing, whatever else is wrong
    return message
