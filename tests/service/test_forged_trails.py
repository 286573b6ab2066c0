"""Whoever writes into the database's file is found: one byte of any column, a row deleted, put in, or moved.

`-m torture` makes 10,000 of each kind. Of a trail that was archived he has, besides, all that the database ever held,
and the archives.
"""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.verification import Break, BreakReason
from hsmkms.core.events import AuditHead, Event, EventTag
from hsmkms.core.ids import AccountName, Instant, KeyId, RequestId
from hsmkms.service.sealing import Sealer
from hsmkms.service.verifying import verify
from tests.service.archived import installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hsmkms.audit.verification import Verification
    from tests.service.archived import Archive, Installation
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


# --- trails that were archived --------------------------------------------------------------------------

TABLES: Final = ("events", "audit_seals", "audit_cuts")
IN_FORCE: Final = {"a": 1003, "b": 1006}


class Archived:
    """Two nodes of four blocks each, of which two were archived, one after the other; and whoever saw all of it."""

    def __init__(self, made: Installation) -> None:
        self.made = made
        self.archives: list[Archive] = []
        self.seen: dict[str, dict[tuple[object, ...], None]] = {table: {} for table in TABLES}
        """Every row that was ever there."""
        self.kept: AuditHead

    async def prepare(self) -> None:
        await self.made.blocks(4)
        for days in (3, 2):
            self._look()
            self.archives.append(await self.made.archive(self.made.days_ago(days)))
        await self.made.seal()
        self._look()
        self._now = {table: self.made.rows(table) for table in TABLES}
        head = await self.made.store.trail("a").head()
        assert head is not None
        self.kept = head

    def _look(self) -> None:
        for table in TABLES:
            self.seen[table] |= dict.fromkeys(self.made.rows(table))

    async def found(self, *forgeries: Forgery, head: bool = True, archives: bool = False) -> list[Break]:
        """Forge, verify, and put everything back."""
        self.made.edit_with(*forgeries)
        kept = (self.kept,) if head else ()
        found = await self.made.found(self.archives if archives else None, *kept)
        self.made.put_back(self._now)
        return found

    def put_in(self, table: str, node: str, least: int = 0, most: int = 2**62) -> list[Forgery]:
        """Return how to put in what was there once of a node, from one sequence to another."""
        at = {"events": (1, 0), "audit_seals": (0, 2), "audit_cuts": (0, 1)}[table]
        return [
            (f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - our own words
            for row in self.seen[table]
            if row[at[0]] == node and least <= int(str(row[at[1]])) <= most
        ]


@pytest.fixture
async def archived(empty_database: Path, tmp_path: Path) -> AsyncIterator[Archived]:
    async with installation(empty_database, tmp_path / "hsmkms.db", "a", "b") as made:
        prepared = Archived(made)
        await prepared.prepare()
        cuts = [await made.store.trail(node).cut() for node in "ab"]
        assert [each.head.sequence for each in cuts if each is not None] == list(IN_FORCE.values())
        for archives in (False, True):
            assert await prepared.found(archives=archives) == [], "the control: what nobody changed holds"
        yield prepared


def without(table: str, node: str, least: int = 0, most: int = 2**62) -> Forgery:
    return f"DELETE FROM {table} WHERE node = ? AND sequence BETWEEN ? AND ?", (node, least, most)  # noqa: S608


def moved(node: str, digest_of: int, mac: bytes) -> Forgery:
    """Have a node's trail begin after another event of it, with a MAC of the attacker's choice."""
    return (
        """UPDATE audit_cuts SET sequence = ?1, mac = ?2, digest = (SELECT digest FROM events WHERE sequence = ?1)
        WHERE node = ?3""",
        (digest_of, mac, node),
    )


@pytest.mark.parametrize("name", ["digest", "mac"])
async def test_one_byte_of_a_cut_is_found(archived: Archived, name: str) -> None:
    for number in range(20):
        chance = random.Random(f"{name} {number}")
        node = chance.choice("ab")
        ((value,),) = archived.made.rows_of(f"SELECT {name} FROM audit_cuts WHERE node = '{node}'")  # noqa: S608
        assert isinstance(value, bytes)
        raw = bytearray(value)
        raw[chance.randrange(len(raw))] ^= chance.randint(1, 255)
        forgery = (f"UPDATE audit_cuts SET {name} = ? WHERE node = ?", (bytes(raw), node))  # noqa: S608 - our own words
        assert await archived.found(forgery, head=False), forgery


@pytest.mark.parametrize("forged", ["sequence = 1002", "sequence = 3", "sequence = 0", "sequence = 2003", "node = 'c'"])
async def test_a_cut_of_another_event_or_node_is_found(archived: Archived, forged: str) -> None:
    assert await archived.found((f"UPDATE audit_cuts SET {forged} WHERE node = 'a'", ()), head=False)  # noqa: S608


@pytest.mark.parametrize("node", ["a", "b"])
async def test_events_after_a_cut_are_missed(archived: Archived, node: str) -> None:
    sequences = [each.sequence for each in await archived.made.exported(node)]
    sealed = await archived.made.store.trail(node).last_seal()
    assert sealed is not None
    for sequence in sequences:
        assert await archived.found(without("events", node, sequence, sequence), head=False)
        if sequence <= sealed.head.sequence:
            assert await archived.found(without("events", node, sequence), head=False)
        assert await archived.found(without("events", node, most=sequence), head=False)
    assert await archived.found(without("events", node), head=False)


async def test_who_deletes_all_after_a_cut_with_its_seals_is_found(archived: Archived) -> None:
    everything = [without("events", "a"), without("audit_seals", "a")]
    assert await archived.found(*everything, head=False) == [Break(1003, BreakReason.ALL_GONE)]
    again = [*everything, *archived.put_in("events", "a", most=1003), *archived.put_in("audit_seals", "a", most=1003)]
    assert await archived.found(*again, head=False) == [Break(1003, BreakReason.ALL_GONE)]
    assert await archived.found(without("audit_seals", "a"), head=False) == [Break(1003, BreakReason.ALL_GONE)]


async def test_who_cuts_the_trail_short_above_a_seal_is_found_by_the_head_kept_elsewhere(archived: Archived) -> None:
    short = [without("events", "a", 2004), without("audit_seals", "a", 2004)]
    assert await archived.found(*short, head=False) == []
    assert [each.reason for each in await archived.found(*short)] == [BreakReason.HEAD_GONE]


@pytest.mark.parametrize("node", ["a", "b"])
async def test_a_cut_that_is_deleted_or_older_is_found(archived: Archived, node: str) -> None:
    gone, older = without("audit_cuts", node), archived.put_in("audit_cuts", node, most=IN_FORCE[node] - 1)
    assert len(older) == 1
    for forgeries in ([gone], older, [gone, without("audit_seals", node)], [*older, without("audit_seals", node)]):
        assert await archived.found(*forgeries, head=False), forgeries


@pytest.mark.parametrize("node", ["a", "b"])
async def test_only_the_mac_of_that_very_cut_makes_it_one(archived: Archived, node: str) -> None:
    macs = [bytes(32)]
    macs += [row[4] for row in archived.seen["audit_seals"] if isinstance(row[4], bytes)]
    macs += [row[3] for row in archived.seen["audit_cuts"] if isinstance(row[3], bytes)]
    assert len(macs) >= 13, "of each node four seals and two cuts"
    for target in [each.sequence for each in await archived.made.exported(node)][:4]:
        for mac in macs:
            below = [without("events", node, most=target), without("audit_seals", node, most=target)]
            found = await archived.found(moved(node, target, mac), *below, head=False)
            assert Break(target, BreakReason.CUT_FORGED) in found, (target, mac)


async def test_a_cut_of_another_node_is_none_of_this_one(archived: Archived) -> None:
    for one, other in ("ab", "ba"):
        swap = (
            """UPDATE audit_cuts SET (sequence, digest, mac) =
            (SELECT sequence, digest, mac FROM audit_cuts WHERE node = ?) WHERE node = ?""",
            (other, one),
        )
        assert await archived.found(swap, head=False)


async def test_what_was_archived_and_is_put_back_with_the_older_cut_is_found_by_the_archives(
    archived: Archived,
) -> None:
    """Of the trail itself nothing is lost or changed by that, so that nothing else tells."""
    back = [table for name in TABLES for table in archived.put_in(name, "a", most=1003 - (name == "audit_cuts"))]
    assert await archived.found(*back) == []
    assert Break(1003, BreakReason.CUT_ELSEWHERE) in await archived.found(*back, archives=True)
    changed = ("UPDATE events SET actor = 'ak-2' WHERE sequence = 1002", ())
    assert await archived.found(*back, changed, head=False)


async def test_what_is_put_in_below_a_cut_is_nobody_s(archived: Archived) -> None:
    strange = (
        """INSERT INTO events SELECT 7, node, tag, at, account, actor, key_id, request_id, detail, digest
        FROM events WHERE sequence = 2001""",
        (),
    )
    before = await archived.made.exported("a")
    archived.made.edit_with(strange)
    assert await archived.made.found() == []
    assert await archived.made.exported("a") == before
    assert [each.reason for each in await archived.made.found(archived.archives)] == []


@pytest.mark.parametrize("node", ["a", "b"])
async def test_nothing_in_an_archive_that_was_written_and_never_cut_makes_a_cut(archived: Archived, node: str) -> None:
    """Whether that archive is named, or all others, or none."""
    _, unused = await archived.made.written(archived.made.days_ago(1))
    ends = {part.node: part.seal for part in unused.parts}
    assert {*ends} == {"a", "b"}
    of_file = {bytes.fromhex(each) for each in re.findall("[0-9a-f]{64}", "".join(unused.texts))}
    of_database = {mac for (mac,) in archived.made.rows_of("SELECT mac FROM audit_seals") if isinstance(mac, bytes)}
    assert {each.mac for each in ends.values()} < of_file
    macs = sorted(of_file | of_database)
    assert len(macs) >= 12
    targets = [each.sequence for each in await archived.made.exported(node)]
    assert ends[node].head.sequence in targets
    for target in targets:
        below = [without("events", node, most=target), without("audit_seals", node, most=target)]
        for mac in macs:
            found = await archived.found(moved(node, target, mac), *below, head=False)
            assert Break(target, BreakReason.CUT_FORGED) in found, (target, mac)
    target = ends[node].head.sequence
    below = [without("events", node, most=target), without("audit_seals", node, most=target)]
    in_force = IN_FORCE[node]
    for mac in macs:
        replay = moved(node, target, mac)
        assert Break(in_force, BreakReason.CUT_ELSEWHERE) in await archived.found(*[replay, *below], archives=True)
        archived.archives.append(unused)
        found = await archived.found(*[replay, *below], archives=True)
        assert Break(target, BreakReason.CUT_FORGED) in found, mac
        archived.archives.remove(unused)


@pytest.mark.parametrize("tables", [(), ("events",), ("audit_seals",), ("events", "audit_seals")])
async def test_what_followed_a_cut_is_not_forgotten_when_the_service_starts(
    archived: Archived, tables: tuple[str, ...]
) -> None:
    """Nothing is sealed after the archived end, though it and its seal are genuine, and the archive has both."""
    at = IN_FORCE["a"]
    put_back = [each for table in tables for each in archived.put_in(table, "a", at, at)]
    assert len(put_back) == len(tables)
    archived.made.edit_with(without("events", "a"), without("audit_seals", "a"), *put_back)
    await archived.made.grow("a")
    sealed = list(archived.made.hsm.sealed)
    restarted = archived.made.sealer("a")
    await restarted.seal_new()
    assert restarted.level.broken
    assert archived.made.hsm.sealed == sealed
    assert await archived.made.found() != []
