"""The database of an instance, read and changed behind the service's back."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.e2e.running import Instance

_BUSY_SECONDS: Final = 10
_FRAGMENT_BYTES: Final = 16
_FRAGMENT_STEP: Final = 8


def run(instance: Instance, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own, and return its rows."""
    database = sqlite3.connect(instance.database, timeout=_BUSY_SECONDS)
    try:
        with database:
            return database.execute(statement, parameters).fetchall()
    finally:
        database.close()


def material_record(instance: Instance, key_id: str) -> bytes:
    """Return the record of a key's material."""
    ((record,),) = run(instance, "SELECT record FROM materials WHERE key_id = ?", key_id)
    return bytes(record)


def pair_of(instance: Instance, key_id: str) -> str:
    """Return the id of the pair of a key's only ticket."""
    ((pair_id,),) = run(instance, "SELECT pair_id FROM tickets WHERE key_id = ?", key_id)
    return str(pair_id)


def pair_record(instance: Instance, pair_id: str) -> bytes:
    """Return the record of a pair's private half."""
    ((record,),) = run(instance, "SELECT record FROM pair_secrets WHERE pair_id = ?", pair_id)
    return bytes(record)


def attempts(instance: Instance, key_id: str) -> tuple[int, int]:
    """Return how many attempts the only ticket of a key counts, and how many were given back."""
    ((counted, given_back),) = run(instance, "SELECT attempts, given_back FROM tickets WHERE key_id = ?", key_id)
    return counted, given_back


def uses_leased(instance: Instance, key_id: str) -> int:
    """Return how many uses of a key are counted, most of them in advance."""
    ((leased,),) = run(instance, "SELECT uses_leased FROM keys WHERE key_id = ?", key_id)
    return int(leased)


def is_deleted(instance: Instance, key_id: str) -> bool:
    """Tell whether of a key only the tombstone is left."""
    kept = run(instance, "SELECT key_id FROM keys WHERE key_id = ?", key_id)
    return not kept and bool(run(instance, "SELECT key_id FROM tombstones WHERE key_id = ?", key_id))


def swap(instance: Instance, table: str, column: str, one: str, other: str) -> None:
    """Exchange the records of two rows."""
    first, second = (
        run(instance, f"SELECT record FROM {table} WHERE {column} = ?", row)[0][0]  # noqa: S608 - our own words
        for row in (one, other)
    )
    for row, record in ((one, second), (other, first)):
        run(instance, f"UPDATE {table} SET record = ? WHERE {column} = ?", record, row)  # noqa: S608 - as above


def files_with(instance: Instance, record: bytes) -> set[str]:
    """Return which of the database's files hold any part of `record` that is worth anything."""
    fragments = [record[start : start + _FRAGMENT_BYTES] for start in range(0, len(record) - 15, _FRAGMENT_STEP)]
    found = set()
    for file in instance.folder.glob(f"{instance.database.name}*"):
        content = file.read_bytes()
        if any(fragment in content for fragment in fragments):
            found.add(file.name)
    return found
