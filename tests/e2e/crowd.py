"""Many clients at once, who ask for one and the same thing; a thread for each would cost more than they do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.dialects.tencent.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECTIONS_AT_A_TIME = 32


@dataclass
class Crowd:
    """Connections that send the same signed request to Tencent's API."""

    endpoint: str
    answers: list[tuple[float, str]] = field(default_factory=list)
    """When each was answered, by the monotonic clock, and with which code; in the order of the answers."""

    async def ask(self, number: int, keys: Mapping[str, str], action: str, members: object) -> None:
        """Send it over so many connections, and return when all are answered."""
        signer = Signer(access_id=keys["secret_id"], secret=keys["secret_key"], at=int(time.time()))
        head, body = signer.sign(action, members, {"Host": self.endpoint})
        lines = [f"POST {head.target} HTTP/1.1", *(f"{name}: {value}" for name, value in head.headers)]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        request = "\r\n".join(lines).encode() + body
        connecting = asyncio.Semaphore(CONNECTIONS_AT_A_TIME)
        await asyncio.gather(*(self._ask(request, connecting) for _ in range(number)))

    async def _ask(self, request: bytes, connecting: asyncio.Semaphore) -> None:
        host, _, port = self.endpoint.partition(":")
        async with connecting:
            reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            answer = await reader.read()
        finally:
            writer.close()
        code = answer.partition(b'"Code": "')[2].partition(b'"')[0].decode() if answer else "closed"
        self.answers.append((time.monotonic(), code or "OK"))

    def codes(self) -> Counter[str]:
        """Return how many answers had which code."""
        return Counter(code for _when, code in self.answers)
