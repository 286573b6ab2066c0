"""A process that writes until it is killed: each transaction adds a key with material, counts it, and appends an event.

Run as `crashing_writer.py URL NUMBER`, it goes on from key NUMBER, and says each number once it is committed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hsmkms.audit.chain import link
from hsmkms.store.database import open_store
from tests.contract.store_contract import ALICE, event, key, material, pair, ticket

COUNTER = b"counter" * 4


async def write(url: str, first: int) -> None:
    store = await open_store(url, chain=link, busy_seconds=20)
    if first == 0:
        counter = replace(ticket(key().key_id), token_digest=COUNTER, most_attempts=10**9)
        async with store.writing() as writing:
            await writing.ensure_account(ALICE)
            await writing.add_pair(pair())
            await writing.add_key(replace(key("counter"), key_id=counter.key_id))
            await writing.add_ticket(counter)
    for number in itertools.count(first):
        async with store.writing() as writing:
            await writing.add_key(replace(key(f"key-{number}"), material=material()))
            counted = await writing.ticket(COUNTER)
            assert counted is not None
            await writing.replace_ticket(counted, replace(counted, attempts=counted.attempts + 1))
            await writing.append(event(f"key-{number}"))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], int(sys.argv[2])))
