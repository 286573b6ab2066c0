from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hsmkms.audit.chain import link
from hsmkms.audit.verification import Walk
from hsmkms.core.ports import KeyFilter
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import ALICE, NOW
from tests.store.crashing_writer import COUNTER, TASKS

WRITER = Path(__file__).with_name("crashing_writer.py")
ROUNDS = 5
ADDED = KeyFilter(ALICE, search="key-")


def killed_somewhere(url: str, first: int, acknowledgements: int) -> set[int]:
    """Let a writer go on from `first`, kill it after so many acknowledgements at least, and return all of them."""
    with subprocess.Popen([sys.executable, WRITER, url, str(first)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        try:
            said = [writer.stdout.readline() for _ in range(acknowledgements)]
        finally:
            writer.kill()
        said += writer.stdout.readlines()
    return {int(line) for line in said}


def check(path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.timeout(100)
async def test_a_killed_writer_leaves_whole_changes_and_all_that_it_acknowledged(url: str, path: Path) -> None:
    await upgrade(url)
    acknowledged: set[int] = set()
    written: set[int] = set()
    for _ in range(ROUNDS):
        first = max(written, default=-1) + 1
        acknowledged |= killed_somewhere(url, first, random.randint(1, 120))
        check(path)
        store = await open_store(url, link=link, busy_seconds=20)
        keys = (await store.read(lambda reading: reading.list_keys(ADDED, NOW, offset=0, limit=10_000))).keys
        counter = await store.read(lambda reading: reading.ticket(COUNTER))
        trail = await store.trail().events(0, 10_000)
        await store.close()
        before, written = written, {int(each.alias.removeprefix("key-")) for each in keys}
        assert acknowledged <= written
        assert len(written - acknowledged - before) <= TASKS
        assert all(number % 5 for number in written)
        assert all(each.material is not None for each in keys)
        assert sorted(each.event.request_id or "" for each in trail) == sorted(each.alias for each in keys)
        assert counter is not None
        assert counter.attempts == len(keys)
        assert Walk().follow(trail) is None
        acknowledged |= written
