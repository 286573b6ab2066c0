"""How a change is committed: read, decide, write by compare-and-swap, and decide anew if another was faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.errors import ChangedMeanwhile

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.core.ports import Store, Writing

TRIES: Final = 5

Result = TypeVar("Result")


async def commit(store: Store, change: Callable[[Writing], Result]) -> Result:
    """Run `change` in a transaction of its own and commit it.

    `change` reads afresh on every try, so it may run up to `TRIES` times.

    Raises:
        ChangedMeanwhile: others were faster each time.
    """
    for _ in range(TRIES - 1):
        try:
            return await store.write(change)
        except ChangedMeanwhile:
            continue
    return await store.write(change)
