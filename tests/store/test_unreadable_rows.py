"""What a row of the audit trail says after somebody wrote into the file: nothing, by name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from hsmkms.audit.verification import Walk
from hsmkms.core.errors import EventUnreadable, HsmkmsError, InternalFault, StoreUnavailable
from hsmkms.core.events import AuditCut, AuditHead, AuditSeal
from hsmkms.store import queries
from hsmkms.store.trail import cut, events, last_seal
from tests.contract.store_contract import event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Executable

    from hsmkms.store.database import SqlStore
    from hsmkms.store.reading import SqlReading

SEAL = AuditSeal(AuditHead(4, bytes(32)), bytes(32))
CUT = AuditCut(AuditHead(4, bytes(32)), bytes(32))

# None of them is what this program writes, though some of them mean the same.
SPOILT: dict[str, str] = {
    "no tag": "UPDATE events SET tag = 'key:forged' WHERE sequence = 3",
    "no text": "UPDATE events SET tag = CAST(x'ff' AS TEXT) WHERE sequence = 3",
    "no JSON": "UPDATE events SET detail = '{' WHERE sequence = 3",
    "no object": "UPDATE events SET detail = '[]' WHERE sequence = 3",
    "a number with a fraction": """UPDATE events SET detail = '{"number": 1.5}' WHERE sequence = 3""",
    "a list": """UPDATE events SET detail = '{"number": []}' WHERE sequence = 3""",
    "other spaces": """UPDATE events SET detail = '{"number":2}' WHERE sequence = 3""",
    "a name twice": """UPDATE events SET detail = '{"number": 1, "number": 2}' WHERE sequence = 3""",
    "deeply nested": "UPDATE events SET detail = replace(hex(zeroblob(50000)), '0', '[') WHERE sequence = 3",
    "bytes for a text": "UPDATE events SET actor = x'616b' WHERE sequence = 3",
    "a number for bytes": "UPDATE events SET digest = 5 WHERE sequence = 3",
    "a text for bytes": "UPDATE events SET digest = 'abc' WHERE sequence = 3",
    "a text for an instant": "UPDATE events SET at = 'soon' WHERE sequence = 3",
    "a fraction for an instant": "UPDATE events SET at = 1.5 WHERE sequence = 3",
    "no year": "UPDATE events SET at = 999999999999999 WHERE sequence = 3",
    "before all years": "UPDATE events SET at = -1 WHERE sequence = 3",
}


class Reading:
    """A database that fails in a page, and then does not answer any more."""

    failed = False

    def rows(self, statement: Executable, _parameters: object) -> list[SimpleNamespace]:
        if statement is queries.EVENT_SEQUENCES:
            return [SimpleNamespace(sequence=3)]
        raise InternalFault if statement is queries.EVENTS_AFTER else StoreUnavailable


def test_an_event_that_could_not_be_asked_for_is_not_said_to_be_spoilt() -> None:
    with pytest.raises(StoreUnavailable):
        events(cast("SqlReading", Reading()), "", 0, 10)


class Faulty:
    """A database that fails, and has no row, or says nothing any more."""

    failed = False

    def __init__(self, *found: list[SimpleNamespace] | HsmkmsError) -> None:
        self._found = list(found)

    def rows(self, _statement: Executable, _parameters: object) -> list[SimpleNamespace]:
        found = self._found.pop(0)
        if isinstance(found, HsmkmsError):
            raise found
        return found


@pytest.mark.parametrize("ask", [cut, last_seal])
@pytest.mark.parametrize(
    ("found", "raised"),
    [
        pytest.param([StoreUnavailable()], StoreUnavailable, id="away"),
        pytest.param([InternalFault(), StoreUnavailable()], StoreUnavailable, id="away then"),
        pytest.param([InternalFault(), []], InternalFault, id="nothing there"),
    ],
)
def test_a_row_that_could_not_be_asked_for_is_not_said_to_be_spoilt(
    ask: Callable[[SqlReading, str], object],
    found: list[list[SimpleNamespace] | HsmkmsError],
    raised: type[HsmkmsError],
) -> None:
    with pytest.raises(raised):
        ask(cast("SqlReading", Faulty(*found)), "")


@pytest.fixture
async def trail(store: SqlStore) -> SqlStore:
    await store.write(lambda writing: writing.append(*(event(f"r-{number}", number=number) for number in range(5))))
    await store.write(lambda writing: writing.seal(SEAL))
    return store


def edit(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement, parameters).rowcount == 1


def row(path: Path, table: str) -> dict[str, object]:
    """Return the row of event 3, or the only seal or cut."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        where = "WHERE sequence = 3" if table == "events" else ""
        return dict(database.execute(f"SELECT * FROM {table} {where}").fetchone())  # noqa: S608 - our own words


def put_back(path: Path, table: str, before: dict[str, object]) -> None:
    columns, marks = ", ".join(before), ", ".join("?" for _ in before)
    if table != "events":
        edit(path, f"DELETE FROM {table}")  # noqa: S608 - as above
    edit(path, f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", *before.values())  # noqa: S608 - as above


async def read(store: SqlStore) -> int:
    """Return the sequence at which the trail does not hold any more."""
    walk = Walk()
    try:
        while events := await store.trail().events(walk.sequence, 100):
            broken = walk.follow(events)
            if broken is not None:
                return broken.sequence
    except EventUnreadable as unreadable:
        return unreadable.sequence
    return 0


async def test_a_row_that_is_no_event_is_found_and_those_around_it_are_read(trail: SqlStore, path: Path) -> None:
    before = row(path, "events")
    for how, statement in SPOILT.items():
        assert await read(trail) == 0
        edit(path, statement)
        assert await read(trail) == 3, how
        assert [each.sequence for each in await trail.trail().events(3, 100)] == [4, 5]
        put_back(path, "events", before)


async def test_a_page_that_begins_with_it_names_it(trail: SqlStore, path: Path) -> None:
    edit(path, SPOILT["no text"])
    assert [each.sequence for each in await trail.trail().events(0, 100)] == [1, 2]
    with pytest.raises(EventUnreadable, match="Event 3 ") as caught:
        await trail.trail().events(2, 100)
    assert caught.value.sequence == 3


NO_TEXT = "CAST(x'ff' AS TEXT)"
SPOILT_MACS = ("mac = x'00'", "digest = x'00'", "mac = 'text'", "digest = 7", f"mac = {NO_TEXT}", f"digest = {NO_TEXT}")
ELSEWHERE = {"sequence = -4", "sequence = 0", f"sequence = {NO_TEXT}"}
"""Not among those that are asked for, or at the end of them, where it can only be said that something is wrong."""
SPOILT_SEQUENCES = ("sequence = 'x'", f"sequence = {NO_TEXT}", "sequence = -4", "sequence = 0", "sequence = 1.5")


async def test_a_row_that_is_no_seal_is_named(trail: SqlStore, path: Path) -> None:
    before = row(path, "audit_seals")
    for change in (*SPOILT_MACS, *SPOILT_SEQUENCES, "block = 1", "block = 'x'"):
        assert await trail.trail().seals(0, 10) == [SEAL] == [await trail.trail().last_seal()]
        edit(path, f"UPDATE audit_seals SET {change}")  # noqa: S608 - our own words
        with pytest.raises(EventUnreadable, match="The seal of event"):
            await trail.trail().last_seal()
        if change not in ELSEWHERE:
            with pytest.raises(EventUnreadable, match="The seal of event"):
                await trail.trail().seals(0, 10)
        put_back(path, "audit_seals", before)


async def test_a_row_that_is_no_cut_is_named_and_never_replaced(trail: SqlStore, path: Path) -> None:
    await trail.write(lambda writing: writing.cut(None, CUT))
    before, nodes = row(path, "audit_cuts"), await trail.nodes()
    for change in (*SPOILT_MACS, *SPOILT_SEQUENCES):
        assert await trail.trail().cut() == CUT
        edit(path, f"UPDATE audit_cuts SET {change}")  # noqa: S608 - our own words
        with pytest.raises(EventUnreadable, match="The cut after event"):
            await trail.trail().cut()
        with pytest.raises(EventUnreadable, match="The cut after event"):
            await trail.write(lambda writing: writing.cut(CUT, CUT))
        assert await trail.nodes() == nodes
        put_back(path, "audit_cuts", before)


@pytest.mark.parametrize("table", ["audit_cuts", "audit_seals"])
async def test_of_a_node_whose_name_is_no_text_nothing_is_read(trail: SqlStore, path: Path, table: str) -> None:
    await trail.write(lambda writing: writing.cut(None, CUT))
    edit(path, f"UPDATE {table} SET node = x'61'")  # noqa: S608 - our own words
    (node,) = set(await trail.nodes()) - {""}
    asked = trail.trail(node).cut if table == "audit_cuts" else trail.trail(node).last_seal
    with pytest.raises(EventUnreadable):
        await asked()
