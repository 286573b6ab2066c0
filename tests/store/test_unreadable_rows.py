"""What a row of the audit trail says after somebody wrote into the file: nothing, by name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from hsmkms.audit.verification import Walk
from hsmkms.core.errors import EventUnreadable, InternalFault, StoreUnavailable
from hsmkms.core.events import AuditHead, AuditSeal
from hsmkms.store import queries
from hsmkms.store.trail import events
from tests.contract.store_contract import event

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Executable

    from hsmkms.store.database import SqlStore
    from hsmkms.store.reading import SqlReading

SEAL = AuditSeal(AuditHead(4, bytes(32)), bytes(32))

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


@pytest.fixture
async def trail(store: SqlStore) -> SqlStore:
    await store.write(lambda writing: writing.append(*(event(f"r-{number}", number=number) for number in range(5))))
    await store.write(lambda writing: writing.seal(SEAL))
    return store


def edit(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement, parameters).rowcount == 1


def row(path: Path, table: str) -> dict[str, object]:
    """Return the row of event 3, or the only seal."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        where = "WHERE sequence = 3" if table == "events" else ""
        return dict(database.execute(f"SELECT * FROM {table} {where}").fetchone())  # noqa: S608 - our own words


def put_back(path: Path, table: str, before: dict[str, object]) -> None:
    columns, marks = ", ".join(before), ", ".join("?" for _ in before)
    if table == "audit_seals":
        edit(path, "DELETE FROM audit_seals")
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


async def test_a_row_that_is_no_seal_is_named(trail: SqlStore, path: Path) -> None:
    before = row(path, "audit_seals")
    for change in ("mac = x'00'", "digest = x'00'", "mac = 'text'", "digest = 7", "block = 1", "sequence = 'x'"):
        assert await trail.trail().seals(0, 10) == [SEAL] == [await trail.trail().last_seal()]
        edit(path, f"UPDATE audit_seals SET {change}")  # noqa: S608 - our own words
        with pytest.raises(EventUnreadable, match="The seal of event"):
            await trail.trail().last_seal()
        with pytest.raises(EventUnreadable, match="The seal of event"):
            await trail.trail().seals(0, 10)
        put_back(path, "audit_seals", before)
    edit(path, "UPDATE audit_seals SET sequence = -4")
    with pytest.raises(EventUnreadable, match="The seal of event"):
        await trail.trail().last_seal()
