"""A process that initialises a deployment: run as `initialising_process.py URL`.

It says what it found, waits for a line, marks a deployment ready that is not, and ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hsmkms.audit.chain import link
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import event, plan, proved


async def initialise(url: str) -> None:
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=0.2)
    async with store.initialising(plan()) as initialising:
        found = initialising.deployment
        sys.stdout.write(f"{found.deployment_id} {'ready' if found.ready else 'planned'}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        if not found.ready:
            await initialising.mark_ready(proved(found), event())
    await store.close()


if __name__ == "__main__":
    asyncio.run(initialise(sys.argv[1]))
