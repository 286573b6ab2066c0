"""Several `hsmkms serve` nodes on one PostgreSQL database and one SoftHSM token, each configured by itself."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e.running import SHARED_PAIRS, Instance, RunningService, free_port, hsmkms, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.e2e.tencent_client import TencentClient
    from tests.postgres.server import PostgresServer

FIRST: Final = "node-1"
"""The node that `hsmkms new` configures, and that initialises the deployment."""
KEYS_PER_ACCOUNT: Final = 1000
_LIMITS: Final = f"""
[limits]
requests_per_second_per_api = 0
get_parameters_burst = 0
keys_per_account = {KEYS_PER_ACCOUNT}
"""
_PROMPT: Final = "failure_deadline_milliseconds = 10\n"
ORPHAN_SECONDS: Final = 5.0


@dataclass
class Nodes:
    """The nodes of one deployment; those of `running` serve."""

    server: PostgresServer
    database: str
    first: Instance
    running: list[RunningService] = field(default_factory=list)

    @classmethod
    def make(cls, server: PostgresServer, database: str, folder: Path, extra: str = "") -> Nodes:
        """Make token, database and the first node's configuration, which ends with `extra`."""
        port = free_port()
        wish = ("--token", "softhsm", "--edition", "fips", "--port", str(port), "--store", server.url(database))
        hsmkms("new", str(folder), *wish)
        first = Instance(folder, "softhsm", "fips", port)
        first.replace("[hsm]\n", "[hsm]\nhosts = 1\n")  # each takes a second of the processor to start
        first.config.write_text(f"{first.config.read_text()}{SHARED_PAIRS}{_PROMPT}{_LIMITS}{extra}")
        return cls(server, database, first)

    def node(self, name: str, config_name: str = "", changes: dict[str, str] | None = None) -> Instance:
        """Return the configuration of one more node, on a port of its own, with each text of `changes` replaced."""
        port = free_port()
        own = {f"port = {self.first.port}\n": f"port = {port}\n", f'node = "{FIRST}"': f'node = "{name}"'}
        made = self.first.variant(config_name or name, {**own, **(changes or {})})
        made.port = port
        # As if it had run here before: a node that never did destroys nothing for an hour (docs/operating.md).
        shutil.copy(self.first.folder / f"{FIRST}-clock", self.first.folder / f"{name}-clock")
        return made

    def clients(self) -> list[TencentClient]:
        """Return a client of each node, all with the credential of the instance."""
        return [each.client() for each in self.running]

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a statement finds in the database."""
        with self.server.connect(self.database) as connection:
            return connection.execute(statement, values).fetchall()

    def events(self, key_id: str) -> list[tuple[str, str]]:
        """Return the tags of a key's events and the node of each; those of a node in its order."""
        rows = self.ask("SELECT tag, node FROM events WHERE key_id = %s ORDER BY at, node, sequence", key_id)
        return [(tag, node) for tag, node in rows]

    def tags(self, key_id: str) -> Sequence[str]:
        """Return the tags of a key's events, in some order."""
        return [tag for tag, _ in self.events(key_id)]

    def kill(self, service: RunningService) -> None:
        """End a node as a power failure would, and return when none of its processes is left."""
        children = list(service.children())
        service.process.kill()
        service.process.wait()
        until(lambda: not any(map(is_alive, children)), "the children end with the supervisor", ORPHAN_SECONDS)


def code_of(call: Callable[[], object]) -> str:
    """Return the error code that a client of Tencent's SDK is told; none if it is not refused."""
    try:
        call()
    except TencentCloudSDKException as error:
        return str(error.get_code())
    return ""


@contextlib.contextmanager
def serving_nodes(server: PostgresServer, folder: Path, extra: str = "", number: int = 2) -> Iterator[Nodes]:
    """Run `number` nodes for the block, on a database of their own."""
    with server.database() as database:
        nodes = Nodes.make(server, database, folder, extra)
        configured = [nodes.first, *(nodes.node(f"node-{count}") for count in range(2, number + 1))]
        nodes.running = [RunningService(each) for each in configured]
        try:
            for each in nodes.running:
                each.start(ready=False)
            for each in nodes.running:
                each.until_ready()
            yield nodes
        finally:
            for each in nodes.running:
                each.end()
