"""A process that writes until it is killed: each change adds a key with material, counts it, and appends an event.

Run as `crashing_writer.py URL NUMBER`, it goes on from key NUMBER, and says each number once it is committed. Several
tasks do so at once, so that their changes are committed together; every fifth change fails, beside its neighbours.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from hsmkms.audit.chain import link
from hsmkms.store.database import open_store
from tests.contract.store_contract import ALICE, Halt, event, key, material, pair, ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hsmkms.store.database import SqlStore
    from hsmkms.store.writing import SqlWriting

COUNTER: Final = b"counter" * 4
TASKS: Final = 12


def prepare(writing: SqlWriting) -> None:
    counter = replace(ticket(key().key_id), token_digest=COUNTER, most_attempts=10**9)
    writing.ensure_account(ALICE)
    writing.add_pair(pair())
    writing.add_key(replace(key("counter"), key_id=counter.key_id))
    writing.add_ticket(counter)


def add(writing: SqlWriting, number: int) -> None:
    writing.add_key(replace(key(f"key-{number}"), material=material()))
    counted = writing.ticket(COUNTER)
    assert counted is not None
    writing.replace_ticket(counted, replace(counted, attempts=counted.attempts + 1))
    writing.append(event(f"key-{number}"))
    if number % 5 == 0:
        raise Halt


async def add_many(store: SqlStore, numbers: Iterator[int]) -> None:
    for number in numbers:
        try:
            await store.write(partial(add, number=number))
        except Halt:
            continue
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


async def write(url: str, first: int) -> None:
    store = await open_store(url, link=link, busy_seconds=20)
    if first == 0:
        await store.write(prepare)
    numbers = itertools.count(first)
    await asyncio.gather(*(add_many(store, numbers) for _ in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], int(sys.argv[2])))
