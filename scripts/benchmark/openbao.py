"""OpenBao as our child: raft storage on disk, a file audit device, the transit engine; no TLS, as ours has none here.

Sources: OpenBao's documentation of the server configuration (storage/raft, listener/tcp, audit), and of the HTTP API
(sys/init, sys/unseal, sys/mounts).
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from scripts.benchmark.child import HOST, Child, free_port, running
from scripts.benchmark.cpu import WEB
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TRANSIT: Final = "transit"
_CONFIGURATION: Final = """\
storage "raft" {{
  path    = "{folder}/raft"
  node_id = "bench"
}}
listener "tcp" {{
  address         = "{host}:{port}"
  cluster_address = "{host}:{cluster_port}"
  tls_disable     = true
}}
audit "file" "file" {{
  options {{
    file_path = "{folder}/audit.log"
  }}
}}
api_addr     = "http://{host}:{port}"
cluster_addr = "http://{host}:{cluster_port}"
log_level    = "warn"
"""


@dataclass(frozen=True, slots=True)
class OpenBao:
    """A server that is unsealed and has a transit engine."""

    child: Child
    port: int
    token: str = field(repr=False)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.child.running

    def part(self, entry: Path, _parent: int) -> str | None:
        """Tell whether a process is this one, which counts as the web process; None: it is another."""
        return WEB if entry.name == str(self.child.process.pid) else None

    def request(self, path: str, **fields: object) -> bytes:
        """Return a whole request: a POST of the fields, or a GET if there are none."""
        return request(self.port, path, self.token, **fields)


@asynccontextmanager
async def serving(program: Path, folder: Path) -> AsyncIterator[OpenBao]:
    """Run a new server for the block, all of whose files are in `folder`.

    Raises:
        BenchError: it does not start, or not as it should.
    """
    (folder / "raft").mkdir(parents=True)
    port, cluster_port = free_port(), free_port()
    configuration = folder / "openbao.hcl"
    text = _CONFIGURATION.format(folder=folder, host=HOST, port=port, cluster_port=cluster_port)
    configuration.write_text(text, encoding="utf-8")
    command = (str(program), "server", f"-config={configuration}")
    async with running("bao server", command, folder / "openbao.log") as child:
        await child.until(lambda: _answers(port, "sys/seal-status"))
        made = await ask(port, request(port, "sys/init", secret_shares=1, secret_threshold=1))
        await ask(port, request(port, "sys/unseal", key=made["keys"][0]))
        await child.until(lambda: _answers(port, "sys/health"))  # 200: unsealed, and the leader
        server = OpenBao(child, port, made["root_token"])
        await ask(port, server.request(f"sys/mounts/{TRANSIT}", type=TRANSIT))
        audited = await ask(port, server.request("sys/audit"))
        if "file/" not in audited["data"]:
            raise WrongAnswerError("OpenBao runs without its audit device")
        yield server


def request(port: int, path: str, token: str | None = None, **fields: object) -> bytes:
    """Return a whole request: a POST of the fields, or a GET if there are none."""
    body = json.dumps(fields).encode("ascii") if fields else b""
    lines = [f"{'POST' if fields else 'GET'} /v1/{path} HTTP/1.1", f"Host: {HOST}:{port}"]
    if token is not None:
        lines.append(f"X-Vault-Token: {token}")
    if fields:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


async def ask(port: int, asked: bytes) -> dict[str, Any]:
    """Send one request over a connection of its own, and return what the answer says; nothing if it has no body.

    Raises:
        WrongAnswerError: it is refused.
    """
    connection = await Connection.open(HOST, port)
    try:
        body = await connection.ask(asked)
    finally:
        connection.close()
    return dict(json.loads(body)) if body else {}


async def _answers(port: int, path: str) -> bool:
    try:
        await ask(port, request(port, path))
    except (OSError, WrongAnswerError):
        return False
    return True
