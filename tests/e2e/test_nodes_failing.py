"""What is left of several nodes when one of them, or the database, is gone for a while: all that was answered."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from hsmkms import config
from hsmkms.core.events import AuditHead
from hsmkms.store.postgresql import lock_number
from hsmkms.wiring.trail import verify_trail
from tests.e2e.kill_loop import Importers
from tests.e2e.nodes import FIRST, code_of
from tests.e2e.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.nodes import Nodes
    from tests.e2e.running import RunningService

LATER: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"
LOCKS_SECONDS: Final = 2.0
"""After which a node that was killed holds nothing any more; the server reads the end of its connections at once."""
RECOVERY_SECONDS: Final = 10.0
SWEEP_SECONDS: Final = 10.0
IMPORTS: Final = 12
CLAIM: Final = "SELECT pg_try_advisory_lock(%s)"
"""Held until the connection that asked for it is closed, at once."""
NAME: Final = lock_number("node", "node-2")


@contextlib.contextmanager
def importing_through(nodes: Nodes, threads: int = 2) -> Iterator[list[Importers]]:
    """Run clients of each node beside the block."""
    importing = [Importers() for _ in nodes.running]
    with ThreadPoolExecutor(threads * len(importing)) as pool:
        working = [
            pool.submit(each.work, service.client())
            for each, service in zip(importing, nodes.running, strict=True)
            for _ in range(threads)
        ]
        try:
            yield importing
        finally:
            for each in importing:
                each.ended.set()
        for done in working:
            done.result()


def until_more(importing: Importers, seconds: float) -> None:
    """Wait for some more acknowledged imports."""
    before = len(importing.acknowledged)
    until(lambda: len(importing.acknowledged) >= before + IMPORTS, "imports go through", seconds)


def lost(nodes: Nodes, importing: list[Importers]) -> set[str]:
    """Return the keys whose import was acknowledged and is not in the database, or not in the trail."""
    acknowledged = {key_id for each in importing for key_id in each.acknowledged}
    there = {key_id for (key_id,) in nodes.ask("SELECT key_id FROM materials")}
    told = {key_id for (key_id,) in nodes.ask("SELECT key_id FROM events WHERE tag = 'key:material:imported'")}
    assert len(acknowledged) >= IMPORTS
    return acknowledged - (there & told)


def heads(nodes: Nodes) -> dict[str, AuditHead]:
    """Return the newest event of each node's chain."""
    rows = nodes.ask("SELECT DISTINCT ON (node) node, sequence, digest FROM events ORDER BY node, sequence DESC")
    return {node: AuditHead(sequence, bytes(digest), node) for node, sequence, digest in rows}


def require_held(nodes: Nodes, expected: dict[str, AuditHead]) -> None:
    """Verify every chain, by a host of our own; each must still hold the head that is expected of it."""
    found = asyncio.run(verify_trail(config.load(nodes.first.config), list(expected.values())))
    assert {each.node for each in found} == set(expected)
    assert [each.found for each in found if each.found] == []


def test_the_others_go_on_without_a_node_that_was_killed(nodes: Nodes) -> None:
    survivor, victim = nodes.running
    other = survivor.client()
    expiring = other.external_key()
    try:
        with importing_through(nodes) as (surviving, dying):
            until_more(dying, 30)
            victim.client().bring(expiring, secrets.token_bytes(32), int(time.time()) + 3)
            nodes.kill(victim)
            dying.ended.set()
            under_way = set(dying.created) - set(dying.acknowledged)
            until(lambda: nodes.ask(CLAIM, NAME) == [(True,)], "its name is free", LOCKS_SECONDS)
            started = time.monotonic()
            for key_id in under_way:  # each asks for the locks that the victim may have held
                other.parameters(key_id)
            assert time.monotonic() - started < LOCKS_SECONDS
            until_more(surviving, 30)
        assert surviving.passing == {}
        assert dying.unexpected == []
        assert lost(nodes, [surviving, dying]) == set()
        until(lambda: ("key:material:expired", FIRST) in nodes.events(expiring), "what it left is swept", SWEEP_SECONDS)
        left = heads(nodes)
    finally:
        if victim.process.poll() is not None:
            victim.start()
    client = victim.client()
    for key_id, material in list(dying.acknowledged.items())[:2]:
        client.bring(key_id, material)

    def sealed() -> bool:  # which it does not go on with unless its chain is whole
        ((sequence,),) = nodes.ask("SELECT max(sequence) FROM audit_seals WHERE node = 'node-2'")
        return int(sequence) > left["node-2"].sequence

    until(sealed, "it goes on in its chain", 10)


def test_a_database_that_crashes_is_waited_for(nodes: Nodes) -> None:
    clients = nodes.clients()
    used = clients[0].generated_key()
    encrypted = [0 for _ in clients]
    unwell: list[tuple[str, int]] = []
    ended = threading.Event()

    def look(service: RunningService) -> None:
        while not ended.wait(0.1):
            status, _ = service.get("/healthz")
            if status != 200:
                unwell.append((service.endpoint, status))

    with ThreadPoolExecutor(len(clients)) as looking:
        for service in nodes.running:
            looking.submit(look, service)
        try:
            with importing_through(nodes, 1) as importing:
                for number, (client, importer) in enumerate(zip(clients, importing, strict=True)):
                    until_more(importer, 30)
                    for _ in range(5):
                        client.encrypt(used, b"just before")
                        encrypted[number] += 1
                before = heads(nodes)
                nodes.server.stop(how=signal.SIGQUIT)
                try:
                    for client in clients:
                        assert code_of(client.external_key) == LATER
                        assert code_of(lambda: client.parameters(used)) == LATER  # noqa: B023 - asked at once
                finally:
                    nodes.server.start()
                for each in importing:
                    until_more(each, RECOVERY_SECONDS)
        finally:
            ended.set()
    assert unwell == []
    assert [each.unexpected for each in importing] == [[], []]
    assert lost(nodes, importing) == set()

    def told() -> bool:
        rows = nodes.ask(
            "SELECT node, count(*) FROM events WHERE tag = 'key:encrypted' AND key_id = %s GROUP BY node", used
        )
        counted = dict(rows)
        return all(counted.get(node, 0) >= of for node, of in zip((FIRST, "node-2"), encrypted, strict=True))

    until(told, "every use that was answered is in the trail", 5)
    require_held(nodes, before)
