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
from tests.store.crashing_writer import COUNTER

WRITER = Path(__file__).with_name("crashing_writer.py")
ROUNDS = 5


def killed_somewhere(url: str, first: int, acknowledgements: int) -> int:
    """Let a writer go on from `first`, kill it after so many commits at least, and return what it acknowledged."""
    with subprocess.Popen([sys.executable, WRITER, url, str(first)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        try:
            said = [writer.stdout.readline() for _ in range(acknowledgements)]
        finally:
            writer.kill()
        said += writer.stdout.readlines()
    return int(said[-1]) + 1


def check(path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.timeout(100)
async def test_a_killed_writer_leaves_whole_transactions_and_all_that_it_acknowledged(url: str, path: Path) -> None:
    await upgrade(url)
    written = 0
    for _ in range(ROUNDS):
        acknowledged = killed_somewhere(url, written, random.randint(1, 60))
        check(path)
        store = await open_store(url, chain=link, busy_seconds=20)
        async with store.reading() as reading:
            page = await reading.list_keys(KeyFilter(ALICE, search="key-"), NOW, offset=0, limit=10_000)
            counter = await reading.ticket(COUNTER)
        trail = await store.events(0, 10_000)
        await store.close()
        written = page.total
        assert written in {acknowledged, acknowledged + 1}
        expected = {f"key-{number}" for number in range(written)}
        assert {each.alias for each in page.keys if each.material is not None} == expected
        assert [each.event.request_id for each in trail] == [f"key-{number}" for number in range(written)]
        assert counter is not None
        assert counter.attempts == written
        assert Walk().follow(trail) is None
