"""A failed import, whatever it failed of, is answered by the clock and not when it is known."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from sqlalchemy import event

from hsmkms.core import errors
from hsmkms.core.credentials import Role
from hsmkms.core.events import EventTag
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.service.answering import FailureSchedule
from hsmkms.service.importing import MOST_IN_FLIGHT
from hsmkms.store import sqlite
from hsmkms.store.sqlite_backend import SqliteBackend
from tests.fakes.clock import SteppedTimer
from tests.service.house import MATERIAL, OAEP, OTHER_MATERIAL, Settings, refusal, undecryptable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterator

    from tests.service.house import House

PERIOD: Final = 0.25
RECEIVED: Final = 990.0
"""Ten seconds before the stepped timer begins."""
VALUE: Final = re.compile(r"[xX]?'(?:[^']|'')*'|\b[0-9]+\b|\bNULL\b")
"""In a statement as SQLite traces it."""
SAYABLE: Final = sorted(
    errors.leaves(errors.CallerFault) | errors.leaves(errors.ServiceFault), key=lambda e: e.__name__
)


@pytest.fixture
async def patient(housed: Callable[..., Awaitable[House]]) -> House:
    """A deployment that answers failed imports at multiples of a quarter of a second."""
    house = await housed(Settings(failure_seconds=PERIOD, tickets_per_pair=100))
    house.caller = replace(house.caller, received=RECEIVED)
    return house


def instance_of(kind: type[errors.HsmkmsError]) -> errors.HsmkmsError:
    """Return an error of this leaf, whatever its constructor wants."""
    error = kind.__new__(kind)
    Exception.__init__(error, "scripted")
    return error


# --- the schedule alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "answered"), [(0.0, 0.25), (0.001, 0.25), (0.249, 0.25), (0.25, 0.5), (0.3, 0.5), (7.1, 7.25)]
)
async def test_it_is_the_first_multiple_that_is_still_to_come(passed: float, answered: float) -> None:
    timer = SteppedTimer(seconds=RECEIVED)
    schedule = FailureSchedule(timer, PERIOD)
    timer.advance(passed)
    await schedule.wait(RECEIVED)
    assert timer.seconds() == RECEIVED + answered


async def test_without_a_period_nobody_waits() -> None:
    timer = SteppedTimer()
    await FailureSchedule(timer, 0).wait(RECEIVED)
    assert timer.slept_until == []


# --- every failure of an import takes this way ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [*SAYABLE, ValueError], ids=lambda kind: kind.__name__)
async def test_whatever_an_import_fails_of_leaves_by_the_same_way(
    kind: type[Exception], patient: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = patient.command(await patient.parameters(await patient.key()))
    error = instance_of(kind) if issubclass(kind, errors.HsmkmsError) else kind()

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(patient.imports, "_in_turn", fail)
    with pytest.raises(kind) as caught:
        await patient.run(command)
    assert caught.value is error
    assert patient.timer.slept_until == [RECEIVED + 10 + PERIOD]


async def test_so_does_what_is_refused_before_it_begins(patient: House) -> None:
    command = patient.command(await patient.parameters(await patient.key()))
    patient.caller = replace(patient.caller, roles=frozenset({Role.USER}))
    with pytest.raises(errors.RoleMissing):
        await patient.run(command)
    assert patient.timer.slept_until == [RECEIVED + 10 + PERIOD]


async def test_success_and_other_commands_are_answered_at_once(patient: House) -> None:
    key_id = await patient.key()
    await patient.imported(key_id)
    with pytest.raises(errors.CiphertextInvalid):
        await patient.decrypted(b"nothing of ours")
    assert patient.timer.slept_until == []


async def test_each_who_waits_for_one_and_the_same_import_waits_by_its_own_receipt(patient: House) -> None:
    command = undecryptable(patient.command(await patient.parameters(await patient.key())))
    early, late = patient.caller, replace(patient.caller, received=RECEIVED + 0.1)
    fates = await asyncio.gather(
        *(patient.service.execute(who, command) for who in (early, late)), return_exceptions=True
    )
    assert [type(each) for each in fates] == [errors.MaterialUndecryptable] * 2
    assert patient.hsm.calls == 1, "the control: it was one import"
    assert patient.timer.slept_until == pytest.approx([RECEIVED + 10 + PERIOD, RECEIVED + 10 + PERIOD + 0.1])


async def test_who_waits_holds_nothing_and_may_go(patient: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = asyncio.Event()
    free = list(patient.admission.lines.values())

    async def sleep_until(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(patient.timer, "sleep_until", sleep_until)
    command = undecryptable(patient.command(await patient.parameters(await patient.key())))
    waiting = asyncio.create_task(patient.run(command))
    await asleep.wait()
    assert list(patient.admission.lines.values()) == free
    assert patient.imports._places._value == MOST_IN_FLIGHT
    assert not in_database(patient)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await patient.ticket(command)).attempts == 1
    monkeypatch.undo()
    await patient.imported(await patient.key())


# --- the same work for every way not to unwrap ------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [OAEP, WrappingAlgorithm.RSAES_PKCS1_V1_5])
async def test_every_way_not_to_unwrap_costs_the_database_the_same_statements(
    algorithm: WrappingAlgorithm, patient: House
) -> None:
    key_id = await patient.key()
    await patient.imported(key_id)
    parameters = await patient.parameters(key_id, algorithm)
    good = patient.command(parameters, MATERIAL, algorithm)
    ways = (
        undecryptable(good),
        patient.command(parameters, MATERIAL[:31], algorithm),
        patient.command(parameters, OTHER_MATERIAL, algorithm),
    )
    asked, told = [], []
    for command in ways:
        with statements_of(patient) as seen:
            told.append(await refusal(patient, command))
        asked.append(seen)
    assert len([each for each in asked[0] if each.startswith("UPDATE tickets")]) == 1, "the control: they were seen"
    assert asked[0].count("COMMIT") == 2, "the control: so were the transactions, of the admission and of the failure"
    assert asked[0] == asked[1] == asked[2]
    reasons = [each.detail["reason"] for each in await patient.events(EventTag.MATERIAL_REFUSED)]
    assert reasons[2] == "MaterialMismatch", "the control: it got that far"
    if algorithm is OAEP:
        assert [type(each).__name__ for each in told] == reasons
        assert len(set(reasons)) == len(ways)
    else:
        assert {(type(each), each.message) for each in told} == {(errors.MaterialUndecryptable, told[0].message)}


@contextmanager
def statements_of(house: House) -> Iterator[list[str]]:
    """Return what the database is asked within the block: SQL without values, and all that begins and ends."""
    seen: list[str] = []

    def saw(statement: str) -> None:
        seen.append(VALUE.sub("?", statement))

    def watch(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_trace_callback(saw)

    def leave(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_trace_callback(None)

    database = backend_of(house)
    writer = sqlite.driver_of(database._writer._connected())
    readers = database._readers._engine
    watch(writer)
    event.listen(readers, "checkout", watch)
    event.listen(readers, "checkin", leave)
    try:
        yield seen
    finally:
        leave(writer)
        event.remove(readers, "checkout", watch)
        event.remove(readers, "checkin", leave)


def backend_of(house: House) -> SqliteBackend:
    backend = house.sql._backend
    assert isinstance(backend, SqliteBackend)
    return backend


def in_database(house: House) -> bool:
    """Tell whether anything is under way in the database, or waits for it."""
    readers, writer = backend_of(house)._readers, backend_of(house)._writer
    reading = readers._engine.pool.checkedout()  # type: ignore[attr-defined]
    writing = sqlite.driver_of(writer._connected()).in_transaction or writer._turn.locked()
    return bool(reading or writing or writer._waiting)
