"""Whoever writes into the database's file is found: one byte of any column, a row deleted, put in, or moved.

`-m torture` makes 10,000 of each kind.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.events import AuditHead, Event, EventTag
from hsmkms.core.ids import AccountName, Instant, KeyId, RequestId
from hsmkms.service.sealing import Sealer
from hsmkms.service.verifying import verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hsmkms.audit.verification import Verification
    from tests.service.house import House

DEPLOYMENT: Final = "a deployment"
LENGTH: Final = 12
COLUMNS: Final = ("tag", "at", "account", "actor", "key_id", "request_id", "detail", "digest", "sequence", "node")
SEAL_COLUMNS: Final = ("sequence", "block", "digest", "mac", "node")

Forgery = tuple[str, tuple[object, ...]]


def event(number: int) -> Event:
    return Event(
        EventTag.KEY_ENCRYPTED if number else EventTag.DEPLOYMENT_INITIALISED,
        Instant(1_800_000_000_000 + number),
        AccountName("acme"),
        f"ak-{number % 3}",
        KeyId(f"00000000-0000-4000-8000-{number:012}"),
        RequestId(f"r-{number}"),
        {"number": number, "yes": True, "nothing": None, "text": "ü"},
    )


class Attacked:
    """A sealed trail in a file, somebody who writes into that file, and the head that was kept elsewhere."""

    def __init__(self, house: House, database: sqlite3.Connection, head: AuditHead) -> None:
        self._house = house
        self._database = database
        self._head = head
        self._rows = {
            table: database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own words; so below
            for table in ("events", "audit_seals")
        }

    def column(self, table: str, name: str, sequence: int) -> object:
        where = (sequence,) if table == "events" else (LENGTH,)
        return self._database.execute(f"SELECT {name} FROM {table} WHERE sequence = ?", where).fetchone()[0]  # noqa: S608

    async def found(self, *forgeries: Forgery) -> bool:
        """Forge, verify, and put everything back."""
        done = await self._verified(self._head, *forgeries)
        return bool(done.found) or done.sealed is None

    async def found_without_a_head(self, *forgeries: Forgery) -> bool:
        """Do the same, with nothing kept elsewhere."""
        return bool((await self._verified(None, *forgeries)).found)

    async def _verified(self, expected: AuditHead | None, *forgeries: Forgery) -> Verification:
        with self._database as database:
            for statement, parameters in forgeries:
                database.execute(statement, parameters)
        done = await verify(self._house.sql.trail(), self._house.hsm, DEPLOYMENT, expected)
        with self._database as database:
            for table, rows in self._rows.items():
                database.execute(f"DELETE FROM {table}")  # noqa: S608
                marks = ", ".join("?" for _ in rows[0])
                database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
        return done


@pytest.fixture
async def attacked(house: House, tmp_path: Path) -> AsyncIterator[Attacked]:
    await house.sql.write(lambda writing: writing.append(*map(event, range(LENGTH))))
    head = await house.sql.trail().head()
    await Sealer(house.store, house.sql.trail(), house.hsm, house.timer, DEPLOYMENT).seal_new()
    assert head is not None
    with closing(sqlite3.connect(tmp_path / "hsmkms.db")) as database:
        database.execute("PRAGMA synchronous = OFF")
        made = Attacked(house, database, head)
        assert not await made.found(), "the control: what nobody changed holds"
        yield made


def one_byte(attacked: Attacked, chance: random.Random) -> Forgery:
    """Change one byte of one value, to any other."""
    table, names = chance.choice((("events", COLUMNS),) * 4 + (("audit_seals", SEAL_COLUMNS),))
    name, sequence = chance.choice(names), chance.randint(1, LENGTH)
    value = attacked.column(table, name, sequence)
    where = "sequence = ?" if table == "events" else "sequence > ?"
    row = sequence if table == "events" else 0
    if value == "":
        return f"UPDATE {table} SET {name} = 'x' WHERE {where}", (row,)  # noqa: S608 - our own words; so below
    if isinstance(value, int):
        raw = bytearray(value.to_bytes(8, "big"))
    else:
        raw = bytearray(value.encode() if isinstance(value, str) else bytes(value))  # type: ignore[call-overload]
    raw[chance.randrange(len(raw))] ^= chance.randint(1, 255)
    if isinstance(value, int):
        return f"UPDATE OR REPLACE {table} SET {name} = ? WHERE {where}", (int.from_bytes(raw, "big", signed=True), row)  # noqa: S608
    kind = "TEXT" if isinstance(value, str) else "BLOB"
    return f"UPDATE {table} SET {name} = CAST(? AS {kind}) WHERE {where}", (bytes(raw), row)  # noqa: S608


def deleted(_attacked: Attacked, chance: random.Random) -> Forgery:
    return "DELETE FROM events WHERE sequence = ?", (chance.randint(1, LENGTH),)


def cut_short(_attacked: Attacked, chance: random.Random) -> Forgery:
    return "DELETE FROM events WHERE sequence > ?", (chance.randint(0, LENGTH - 1),)


def swapped(_attacked: Attacked, chance: random.Random) -> Forgery:
    one, other = chance.sample(range(1, LENGTH + 1), 2)
    exchanged = "tag, at, account, actor, key_id, request_id, detail, digest"
    return (
        f"""UPDATE events SET ({exchanged}) = (SELECT {exchanged} FROM events AS other
        WHERE other.sequence = ?1 + ?2 - events.sequence) WHERE sequence IN (?1, ?2)""",  # noqa: S608 - our own words
        (one, other),
    )


def inserted(_attacked: Attacked, chance: random.Random) -> Forgery:
    return (
        """INSERT INTO events SELECT ?, node, tag, at, account, actor, key_id, request_id, detail, digest
        FROM events WHERE sequence = ?""",
        (chance.choice((0, LENGTH + 1, -5, -(2**63), 2**63 - 1)), chance.randint(1, LENGTH)),
    )


KINDS: Final = (one_byte, deleted, cut_short, swapped, inserted)


async def forge(attacked: Attacked, kind: Callable[[Attacked, random.Random], Forgery], times: int) -> None:
    for number in range(times):
        forgery = kind(attacked, random.Random(f"{kind.__name__} {number}"))
        assert await attacked.found(forgery), (number, forgery)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forgery_is_found(attacked: Attacked, kind: Callable[[Attacked, random.Random], Forgery]) -> None:
    await forge(attacked, kind, 60 if kind is one_byte else 15)


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
async def test_ten_thousand_forgeries_are_found(
    attacked: Attacked, kind: Callable[[Attacked, random.Random], Forgery]
) -> None:
    await forge(attacked, kind, 10_000)


async def test_a_row_put_in_at_the_least_of_all_numbers_is_found(attacked: Attacked) -> None:
    for sequence in (-(2**63), 2**63 - 1):
        assert await attacked.found(
            (
                """INSERT INTO events SELECT ?, node, tag, at, account, actor, key_id, request_id, detail, digest
                FROM events WHERE sequence = 3""",
                (sequence,),
            )
        ), sequence


async def test_a_trail_emptied_with_its_seals_is_found(attacked: Attacked) -> None:
    assert await attacked.found_without_a_head(("DELETE FROM audit_seals", ()), ("DELETE FROM events", ()))


async def test_the_seals_deleted_with_everything_newer_are_missed_by_the_head_kept_elsewhere(
    attacked: Attacked,
) -> None:
    assert await attacked.found(("DELETE FROM audit_seals", ()))
    assert await attacked.found(("DELETE FROM audit_seals", ()), ("DELETE FROM events WHERE sequence > 5", ()))
