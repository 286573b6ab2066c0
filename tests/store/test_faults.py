"""Only errors of the project leave the store, and they give nothing away."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

from hsmkms.core.errors import HsmkmsError, InternalFault, StoreUnavailable
from hsmkms.store.failures import TRANSLATED, meaning
from tests.contract.store_contract import ALICE, NOW, key, material, put, ticket

if TYPE_CHECKING:
    from hsmkms.store.database import SqlStore

SECRET = b"\x01<a record that no log may hold>"


async def test_a_row_without_its_owner_is_our_fault_and_its_bytes_are_not_logged(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    orphan = replace(key("<an alias that no log may hold>"), material=material(SECRET))
    with caplog.at_level(logging.DEBUG), pytest.raises(InternalFault) as caught:
        await store.write(lambda writing: writing.add_key(orphan))
    (record,) = [each for each in caplog.records if each.name == "hsmkms.store.failures"]
    assert record.levelno == logging.ERROR
    assert record.reason == "FOREIGN KEY constraint failed"  # type: ignore[attr-defined]
    said = f"{caplog.text} {record.__dict__} {caught.value!r} {caught.value.__cause__}"
    assert "that no log may hold" not in said


async def test_a_second_ticket_with_the_same_digest_is_our_fault(store: SqlStore) -> None:
    owner = key()
    one = ticket(owner.key_id)
    await put(store, owner)
    with pytest.raises(InternalFault):
        await put(store, one)  # its pair is not there


@pytest.mark.parametrize("text", ["\ud800", "\udfff-"])
async def test_text_that_no_database_can_hold_is_our_fault_and_is_not_logged(
    store: SqlStore, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store)
    with pytest.raises(InternalFault):
        await put(store, key(text))
    (record,) = [each for each in caplog.records if each.name == "hsmkms.store.failures"]
    assert (record.error, record.reason) == ("UnicodeEncodeError", "")  # type: ignore[attr-defined]
    assert await store.read(lambda reading: reading.count_keys(ALICE, NOW)) == 0


async def test_a_number_that_no_database_can_hold_is_our_fault(store: SqlStore) -> None:
    await put(store)
    with pytest.raises(InternalFault):
        await put(store, key(created_at=2**63))


def of_sqlite(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("a sentence")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "leaf"),
    [
        (OperationalError("", {}, of_sqlite(sqlite3.SQLITE_BUSY)), StoreUnavailable),
        (OperationalError("", {}, of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT)), StoreUnavailable),
        (OperationalError("", {}, of_sqlite(sqlite3.SQLITE_IOERR_FSYNC)), StoreUnavailable),
        (OperationalError("", {}, of_sqlite(sqlite3.SQLITE_ERROR)), InternalFault),
        (DBAPIError("", {}, of_sqlite(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError)), InternalFault),
        (IntegrityError("", {}, of_sqlite(sqlite3.SQLITE_CONSTRAINT, sqlite3.IntegrityError)), InternalFault),
        (OperationalError("", {}, sqlite3.OperationalError("no active connection")), StoreUnavailable),
        (DBAPIError("", {}, sqlite3.ProgrammingError("wrong use")), InternalFault),
        (of_sqlite(sqlite3.SQLITE_FULL), StoreUnavailable),
        (OperationalError("", {}, Exception("of another database")), StoreUnavailable),
        (NoConnectionInTime(), StoreUnavailable),
        (ValueError("a defect"), InternalFault),
    ],
)
def test_each_failure_means_one_leaf(error: Exception, leaf: type[HsmkmsError]) -> None:
    assert type(meaning(error)) is leaf
    with pytest.raises(leaf) as caught, TRANSLATED:
        raise error
    assert caught.value.__cause__ is error


def test_our_own_errors_and_interruptions_pass_unchanged() -> None:
    for error in (StoreUnavailable(), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, TRANSLATED:
            raise error
        assert caught.value is error
