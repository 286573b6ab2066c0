"""Requests that meet at one key on two nodes: sent in the same instant, on many keys at a time, by a cheap client.

Both official SDKs sign what is sent. What is left in the database afterwards is held against what must agree with what.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hsmkms import config
from hsmkms.core.credentials import Grant, Role
from hsmkms.core.ids import account_name as parse_account
from hsmkms.service.credentials import CredentialUseCases
from hsmkms.wiring.adapters import SystemClock, opened_store
from hsmkms.wiring.commands import attached
from tests.dialects.huawei.signing import Signer as HuaweiSigner
from tests.dialects.tencent.signing import Signer
from tests.e2e.cloud_client import wrap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from hsmkms.dialects.base import RequestHead
    from tests.e2e.nodes import Nodes

ALGORITHM: Final = "RSAES_OAEP_SHA_1"
DONE: Final = "done"


@dataclass(frozen=True)
class Said:
    """What a node answered: the error's code, or `DONE`, and the rest."""

    code: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One connection to a node; one request at a time."""

    endpoint: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, head: RequestHead, body: bytes) -> dict[str, Any]:
        """Send a signed request, and return what came back."""
        lines = [f"{head.method} {head.target} HTTP/1.1", *(f"{name}: {value}" for name, value in head.headers)]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.writer.write("\r\n".join(lines).encode() + body)
        answered = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answered.partition(b"content-length:")[2].split(b"\r\n")[0])
        return dict(json.loads(await self.reader.readexactly(length)))


@dataclass(frozen=True)
class Account:
    """A customer of its own, with a line to each node for each round that runs at a time."""

    keys: dict[str, str]
    lines: Sequence[Line]

    async def tencent(self, node: int, action: str, **fields: object) -> Said:
        """Ask a node through Tencent's API."""
        line = self.lines[node]
        signer = Signer(access_id=self.keys["secret_id"], secret=self.keys["secret_key"], at=int(time.time()))
        response = (await line.ask(*signer.sign(action, fields, {"Host": line.endpoint})))["Response"]
        return Said(str(response.get("Error", {}).get("Code", DONE)), response)

    async def schedule_deletion(self, node: int, key_id: str) -> Said:
        """Let a key be deleted through Huawei's API, where it need not be disabled before."""
        line, account = self.lines[node], self.keys["account"]
        path = f"/v1.0/{account}/kms/schedule-key-deletion"
        signer = HuaweiSigner(self.keys["secret_id"], self.keys["secret_key"], int(time.time()), path=path)
        headers = {"Host": line.endpoint, "X-Project-Id": account}
        content = await line.ask(*signer.sign({"key_id": key_id, "pending_days": "7"}, headers))
        return Said(str(content.get("error", {}).get("error_code", DONE)), content)

    async def key(self) -> str:
        """Create an EXTERNAL key and return its id."""
        made = await self.tencent(0, "CreateKey", Alias=f"race-{secrets.token_hex(8)}", Type=2)
        return str(made.content["KeyId"])

    async def importing(self, key_id: str, material: bytes, valid_to: int | None = None) -> dict[str, object]:
        """Return the fields of an import of material, with parameters of its own from either node."""
        return self.wrapped(await self.parameters(secrets.randbelow(2), key_id), key_id, material, valid_to)

    async def parameters(self, node: int, key_id: str) -> Said:
        """Get import parameters."""
        fields = {"KeyId": key_id, "WrappingAlgorithm": ALGORITHM, "WrappingKeySpec": "RSA_2048"}
        return await self.tencent(node, "GetParametersForImport", **fields)

    @staticmethod
    def wrapped(issued: Said, key_id: str, material: bytes, valid_to: int | None = None) -> dict[str, object]:
        """Return the fields of an import with these parameters."""
        encrypted = base64.b64encode(wrap(str(issued.content["PublicKey"]), material, ALGORITHM)).decode()
        token = issued.content["ImportToken"]
        return {"KeyId": key_id, "ImportToken": token, "EncryptedKeyMaterial": encrypted} | (
            {"ValidTo": valid_to} if valid_to else {}
        )

    async def imports(self, *both: dict[str, object]) -> list[str]:
        """Send one import to each node in the same instant, and return what each is told."""
        asked = (self.tencent(node, "ImportKeyMaterial", **each) for node, each in enumerate(both))
        return [each.code for each in await asyncio.gather(*asked)]

    async def bring(self, key_id: str, material: bytes, valid_to: int | None = None) -> None:
        """Import into a key on the first node."""
        fields = await self.importing(key_id, material, valid_to)
        assert (await self.tencent(0, "ImportKeyMaterial", **fields)).code == DONE


@dataclass
class Races:
    """The accounts that race on some nodes, a new one for every so many rounds."""

    nodes: Nodes
    accounts: list[str] = field(default_factory=list)
    _made: list[dict[str, str]] = field(default_factory=list)

    def run(
        self,
        rounds: int,
        race: Callable[[Account, int], Awaitable[None]],
        *,
        of_an_account: int = 50,
        at_a_time: int = 8,
    ) -> None:
        """Run so many rounds, each told its number.

        Args:
            rounds: how many.
            race: one of them.
            of_an_account: after how many to take another account; the import tokens of one share a wrapping pair, which
                100 failed imports end.
            at_a_time: how many run beside each other.
        """
        self.accounts = []
        asyncio.run(self._run(range(rounds), race, of_an_account, at_a_time))

    async def _run(
        self, rounds: range, race: Callable[[Account, int], Awaitable[None]], of_an_account: int, at_a_time: int
    ) -> None:
        for first in rounds[::of_an_account]:
            keys = await self._account()
            self.accounts.append(keys["account"])
            numbers = iter(rounds[first : first + of_an_account])
            async with asyncio.TaskGroup() as group:
                for _ in range(at_a_time):
                    group.create_task(self._take(numbers, keys, race))

    async def _take(
        self, numbers: Iterator[int], keys: dict[str, str], race: Callable[[Account, int], Awaitable[None]]
    ) -> None:
        async with self._lines() as lines:
            for number in numbers:
                await race(Account(keys, lines), number)

    async def _account(self) -> dict[str, str]:
        if not self._made:
            self._made = await _accounts(self.nodes, _ACCOUNTS)
        return self._made.pop()

    @asynccontextmanager
    async def _lines(self) -> AsyncIterator[list[Line]]:
        lines = []
        try:
            for each in self.nodes.running:
                host, _, port = each.endpoint.partition(":")
                lines.append(Line(each.endpoint, *await asyncio.open_connection(host, int(port))))
            yield lines
        finally:
            for line in lines:
                line.writer.close()
                await line.writer.wait_closed()

    def holding(self) -> set[str]:
        """Return the keys of the last race's accounts that hold material."""
        rows = self.nodes.ask(
            "SELECT key_id FROM keys JOIN materials USING (key_id) WHERE account = ANY(%s)", self.accounts
        )
        return {key_id for (key_id,) in rows}

    def mixed(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows of the last race's accounts that contradict others, by what is wrong with them."""
        with self.nodes.server.connect(self.nodes.database) as connection:
            for number, statement in enumerate(_TELLING):
                connection.execute(statement, [self.accounts] if number == 0 else [])
            found = {
                what: connection.execute(statement, [self.accounts]).fetchall()
                for what, statement in _CONTRADICTIONS.items()
            }
        return {what: rows for what, rows in found.items() if rows}


_ACCOUNTS: Final = 16
"""Made at a time, by one host."""


async def _accounts(nodes: Nodes, number: int) -> list[dict[str, str]]:
    settings = config.load(nodes.first.config)
    made = []
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        use_cases = CredentialUseCases(store, hsm, SystemClock(), settings.edition)
        for _ in range(number):
            account = f"race-{secrets.token_hex(6)}"
            issued = await use_cases.create(Grant(parse_account(account), frozenset(Role)))
            keys = {"account": account, "secret_id": issued.access_id, "secret_key": issued.secret.reveal().decode()}
            made.append(keys)
    return made


_TELLING: Final = (
    """CREATE TEMPORARY TABLE told AS SELECT key_id, tag, detail::json ->> 'ticket' AS ticket_id
    FROM events WHERE account = ANY(%s)""",
    """CREATE TEMPORARY TABLE told_of_tickets AS
    SELECT ticket_id, count(*) FILTER (WHERE tag = 'key:parameters:issued') AS issued,
           count(*) FILTER (WHERE tag = 'key:material:imported') AS imported,
           count(*) FILTER (WHERE tag = 'key:material:refused') AS refused,
           count(*) FILTER (WHERE tag = 'ticket:voided') AS voided,
           count(*) FILTER (WHERE tag = 'ticket:lapsed') AS lapsed
    FROM told WHERE ticket_id IS NOT NULL GROUP BY ticket_id""",
    """CREATE TEMPORARY TABLE told_of_keys AS
    SELECT key_id, count(*) FILTER (WHERE tag = 'key:created') AS created,
           count(*) FILTER (WHERE tag = 'key:material:imported') AS imported,
           count(*) FILTER (WHERE tag IN ('key:material:deleted', 'key:material:expired')) AS removed,
           count(*) FILTER (WHERE tag = 'key:deletion:scheduled') AS scheduled
    FROM told GROUP BY key_id""",
)
"""What the trail says of the accounts, gathered."""
_CONTRADICTIONS: Final = {
    "a pair does not count its tickets, or what was refused": """
        SELECT pair_id, pairs.live, pairs.tickets, failures, had.refused FROM pairs JOIN (
            SELECT pair_id, count(*) FILTER (WHERE state = 'issued') AS live, count(*) AS tickets,
                   coalesce(sum(refused), 0) AS refused
            FROM tickets LEFT JOIN told_of_tickets USING (ticket_id) GROUP BY pair_id
        ) AS had USING (pair_id)
        WHERE account = ANY(%s) AND (pairs.live, pairs.tickets, failures) <> (had.live, had.tickets, had.refused)""",
    "a pair outlived its tickets, or they it": """
        SELECT pair_id FROM pairs LEFT JOIN pair_secrets USING (pair_id)
        WHERE account = ANY(%s) AND (record IS NULL) <> (closed AND live = 0)""",
    "a key has more than three live tickets": """
        SELECT key_id, count(*) FROM tickets WHERE account = ANY(%s) AND state = 'issued'
        GROUP BY key_id HAVING count(*) > 3""",
    "a ticket is not what the trail says of it": """
        SELECT ticket_id, state, told_of_tickets.* FROM tickets LEFT JOIN told_of_tickets USING (ticket_id)
        WHERE account = ANY(%s) AND (issued, imported, voided, lapsed) IS DISTINCT FROM
            (1, (state = 'spent')::int, (state = 'void')::int, (state = 'lapsed')::int)""",
    "material is not of a spent ticket of its key": """
        SELECT keys.key_id FROM keys JOIN materials USING (key_id) LEFT JOIN tickets USING (ticket_id)
        WHERE keys.account = ANY(%s)
        AND (state, tickets.key_id, fingerprint_digest IS NULL) IS DISTINCT FROM ('spent', keys.key_id, false)""",
    "a key is not what the trail says of it": """
        SELECT key_id, record IS NULL, told_of_keys.* FROM keys LEFT JOIN materials USING (key_id)
        LEFT JOIN told_of_keys USING (key_id)
        WHERE account = ANY(%s) AND (
            (created, scheduled, imported > 0)
                IS DISTINCT FROM (1, (deletion_due IS NOT NULL)::int, fingerprint_digest IS NOT NULL)
            OR removed > imported - (record IS NOT NULL)::int
            OR record IS NULL AND imported > 0 AND removed = 0
        )""",
}
"""Each selects what contradicts the rest; none should be found."""
