"""The trail is sealed as it grows, and only as it was sealed before."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.audit.verification import Break, BreakReason
from hsmkms.core.events import SEAL_BLOCK, AuditHead, Event, EventTag
from hsmkms.core.ids import Instant
from hsmkms.service.sealing import Sealer
from hsmkms.service.verifying import verify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hsmkms.audit.verification import Verification
    from tests.service.house import House

DEPLOYMENT: Final = "a deployment"


def sealer_of(house: House) -> Sealer:
    """Return the sealer of a service that starts."""
    return Sealer(house.store, house.sql.trail(), house.hsm, house.timer, DEPLOYMENT)


async def grow(house: House, events: int) -> None:
    """Append so many events; the very first is what every deployment begins with."""
    first = await house.sql.trail().head() is None
    new = [event(each, first=first and each == 0) for each in range(events)]
    await house.sql.write(lambda writing: writing.append(*new))


def event(number: int, *, first: bool = False) -> Event:
    tag = EventTag.DEPLOYMENT_INITIALISED if first else EventTag.KEY_ENCRYPTED
    return Event(tag, Instant(1), None, "ak-1", detail={"number": number})


async def head(house: House) -> AuditHead:
    found = await house.sql.trail().head()
    assert found is not None
    return found


async def verified(house: House, expected: AuditHead | None = None) -> Verification:
    return await verify(house.sql.trail(), house.hsm, DEPLOYMENT, expected)


def edit(tmp_path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(tmp_path / "hsmkms.db")) as database, database:
        for statement in statements:
            database.execute(statement)


@pytest.fixture
async def sealed(house: House) -> Sealer:
    """A sealer that has sealed 5 events."""
    await grow(house, 5)
    sealer = sealer_of(house)
    await sealer.seal_new()
    return sealer


async def test_what_is_new_is_sealed_and_an_idle_trail_is_left_alone(
    house: House, sealed: Sealer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert house.hsm.sealed == [await head(house)]
    commits = house.store.commits
    for _ in range(3):
        await sealed.seal_new()
    assert (len(house.hsm.sealed), house.store.commits) == (1, commits)
    await grow(house, 1)
    await sealed.seal_new()
    newest = await head(house)
    assert (await house.sql.trail().seals(0, 10))[0].head == newest
    assert [vars(each)["head"] for each in caplog.records] == [f"6:{newest.digest.hex()}"]
    done = await verified(house, newest)
    assert (done.found, done.sealed, done.newer, done.length) == ([], newest, 0, 6)


async def test_every_thousand_events_have_a_seal_of_their_own(house: House, sealed: Sealer) -> None:
    await grow(house, 2 * SEAL_BLOCK + 100)
    await sealed.seal_new()
    sequences = [each.head.sequence for each in await house.sql.trail().seals(0, 10)]
    assert sequences == [SEAL_BLOCK, 2 * SEAL_BLOCK, 2 * SEAL_BLOCK + 105]
    await grow(house, SEAL_BLOCK - 105)  # ends with its block
    await sealer_of(house).seal_new()  # as after a restart
    assert [each.sequence for each in house.hsm.sealed][-2:] == [2 * SEAL_BLOCK + 105, 3 * SEAL_BLOCK]
    await grow(house, 7)
    done = await verified(house)
    assert (done.found, done.newer, done.length) == ([], 7, 3 * SEAL_BLOCK + 7)


async def test_a_trail_that_was_never_sealed_is_sealed_from_its_beginning(house: House) -> None:
    await grow(house, SEAL_BLOCK + 1)
    assert (await verified(house)).sealed is None
    await sealer_of(house).seal_new()
    assert [each.sequence for each in house.hsm.sealed] == [SEAL_BLOCK, SEAL_BLOCK + 1]


async def test_a_token_that_does_not_answer_delays_the_seal(
    house: House, sealed: Sealer, caplog: pytest.LogCaptureFixture
) -> None:
    await grow(house, 3)
    house.hsm.sick = True
    for _ in range(5):
        await sealed.seal_new()
        house.timer.advance(1)
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1, "said once a minute"
    starting = sealer_of(house)
    await starting.seal_new()
    house.hsm.sick = False
    for each in (sealed, starting):
        await each.seal_new()
    assert [each.sequence for each in house.hsm.sealed] == [5, 8]


ATTACKS: Final[dict[str, tuple[tuple[str, ...], Break]]] = {
    "an old event changed, with no digest made anew": (
        ("UPDATE events SET actor = 'ak-2' WHERE sequence = 7",),
        Break(7, BreakReason.DIGEST),
    ),
    "the last sealed event changed": (
        ("UPDATE events SET digest = zeroblob(32) WHERE sequence = 5",),
        Break(5, BreakReason.SEALED_AND_GONE),
    ),
    "an event deleted": (("DELETE FROM events WHERE sequence = 6",), Break(7, BreakReason.DIGEST)),
    "cut short below the seal": (("DELETE FROM events WHERE sequence > 3",), Break(5, BreakReason.SEALED_AND_GONE)),
    "a row that is no event": (("UPDATE events SET tag = 'x' WHERE sequence = 6",), Break(6, BreakReason.UNREADABLE)),
    "emptied": (("DELETE FROM events",), Break(5, BreakReason.SEALED_AND_GONE)),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("restarted", [False, True])
async def test_nothing_is_sealed_that_does_not_follow_from_what_was_sealed(
    house: House, sealed: Sealer, tmp_path: Path, caplog: pytest.LogCaptureFixture, attack: str, restarted: bool
) -> None:
    await grow(house, 3)
    statements, found = ATTACKS[attack]
    edit(tmp_path, *statements)
    sealer = sealer_of(house) if restarted else sealed
    for _ in range(121):  # two minutes
        await sealer.seal_new()
        house.timer.advance(1)
    lines = [vars(each) for each in caplog.records if each.levelname == "ERROR"]
    assert [(each["sequence"], each["reason"]) for each in lines] == [(found.sequence, found.reason.value)] * 3
    assert [each.sequence for each in house.hsm.sealed] == [5]


async def test_a_trail_emptied_with_its_seals_is_broken(
    house: House, sealed: Sealer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(tmp_path, "DELETE FROM events", "DELETE FROM audit_seals")
    await sealer_of(house).seal_new()
    (line,) = [vars(each) for each in caplog.records if each.levelname == "ERROR"]
    assert (line["sequence"], line["reason"]) == (1, BreakReason.NOT_BEGUN.value)
    assert (await verified(house)).found == [Break(1, BreakReason.NOT_BEGUN)]


async def test_a_trail_that_lost_its_beginning_with_its_seals_is_broken(
    house: House, sealed: Sealer, tmp_path: Path
) -> None:
    edit(tmp_path, "DELETE FROM events", "DELETE FROM audit_seals")
    await house.sql.write(lambda writing: writing.append(event(1)))
    sealer = sealer_of(house)
    await sealer.seal_new()
    assert sealer._broken == Break(6, BreakReason.NOT_BEGUN)
    assert (await verified(house)).found == [Break(6, BreakReason.NOT_BEGUN)]


@pytest.mark.parametrize(
    ("before", "after", "level"),
    [(0, 100, "INFO"), (0, 101, "WARNING"), (5, 1000, "INFO"), (5, 1001, "WARNING")],
    ids=["a fresh start", "no seal at all", "after a kill", "many since the last seal"],
)
async def test_a_start_says_how_much_it_found_without_a_seal(
    house: House, caplog: pytest.LogCaptureFixture, before: int, after: int, level: str
) -> None:
    if before:
        await grow(house, before)
        await sealer_of(house).seal_new()
    await grow(house, after)
    caplog.clear()
    caplog.set_level(logging.INFO)
    starting = sealer_of(house)
    for _ in range(2):
        await starting.seal_new()
        await grow(house, 1)
    (line,) = [each for each in caplog.records if "events without a seal were found" in each.message]
    assert (line.levelname, vars(line)["events"], vars(line)["after"]) == (level, after, before)


@pytest.mark.parametrize("spoilt", ["'abc'", "x'616263'", "5", "CAST(x'ff' AS TEXT)"])
async def test_a_last_digest_that_is_none_stops_no_recording_and_is_found(
    house: House, sealed: Sealer, tmp_path: Path, spoilt: str
) -> None:
    edit(tmp_path, f"UPDATE events SET digest = {spoilt} WHERE sequence = 5")  # noqa: S608 - our own words
    await grow(house, 2)
    await grow(house, 1)
    await sealed.seal_new()
    assert sealed._broken is not None
    assert sealed._broken.sequence == 5
    assert (await verified(house)).found[-1].sequence == 5
    edit(tmp_path, "UPDATE events SET digest = zeroblob(32) WHERE sequence = 5")
    assert (await verified(house)).found[-1].sequence == 5


async def test_without_the_table_of_seals_it_is_an_error(
    house: House, sealed: Sealer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(tmp_path, "DROP TABLE audit_seals")
    await grow(house, 1)
    await sealed.seal_new()
    (line,) = [each for each in caplog.records if each.name == "hsmkms.service.sealing"]
    assert (line.levelname, line.message) == ("ERROR", "the audit trail cannot be sealed")


async def test_a_defect_does_not_end_the_sealer(
    house: House, sealed: Sealer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grow(house, 1)
    with monkeypatch.context() as patch:
        patch.setattr(house.hsm, "seal_head", spoilt_call)
        await sealed.seal_new()
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    await sealed.seal_new()
    assert house.hsm.sealed[-1] == await head(house)


async def spoilt_call(*_: object) -> None:
    raise TypeError


async def remade(house: House, tmp_path: Path) -> None:
    """Change the second event and make all digests anew, as whoever may write the whole database can."""
    trail = await house.sql.trail().events(0, 100)
    events = [each.event for each in trail]
    events[1] = Event(EventTag.KEY_DECRYPTED, Instant(1), None, "ak-2")
    edit(tmp_path, "DELETE FROM events", "DELETE FROM sqlite_sequence WHERE name = 'events'")
    await house.sql.write(lambda writing: writing.append(*events))


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_edit_with_all_digests_made_anew_is_not_sealed(
    house: House, sealed: Sealer, tmp_path: Path, restarted: bool
) -> None:
    await remade(house, tmp_path)
    await grow(house, 3)
    sealer = sealer_of(house) if restarted else sealed
    await sealer.seal_new()
    assert sealer._broken == Break(5, BreakReason.SEALED_AND_GONE)
    assert [each.sequence for each in house.hsm.sealed] == [5]
    assert (await verified(house)).found == [Break(5, BreakReason.SEALED_OTHERWISE)]


async def test_a_seal_over_the_attackers_digest_is_refused_by_the_token(
    house: House, sealed: Sealer, tmp_path: Path
) -> None:
    await remade(house, tmp_path)
    edit(tmp_path, "UPDATE audit_seals SET digest = (SELECT digest FROM events WHERE sequence = 5)")
    await grow(house, 3)
    sealer = sealer_of(house)
    await sealer.seal_new()
    assert sealer._broken == Break(5, BreakReason.SEAL_FORGED)
    assert (await verified(house)).found == [Break(5, BreakReason.SEAL_FORGED)]


async def test_a_seal_of_another_deployment_is_none_of_ours(house: House, sealed: Sealer) -> None:
    done = await verify(house.sql.trail(), house.hsm, "another deployment", None)
    assert done.found == [Break(5, BreakReason.SEAL_FORGED)]


async def test_a_trail_may_grow_and_be_sealed_while_it_is_verified(house: House, sealed: Sealer) -> None:
    await grow(house, SEAL_BLOCK - 100)
    await sealed.seal_new()
    compare: Callable[[str, AuditHead, bytes], Awaitable[bool]] = house.hsm.holds_seal
    grown = 0

    async def grow_meanwhile(deployment_id: str, head: AuditHead, mac: bytes) -> bool:
        nonlocal grown
        if grown < 4:
            grown += 1
            await grow(house, 400)
            await sealed.seal_new()
        return await compare(deployment_id, head, mac)

    house.hsm.holds_seal = grow_meanwhile  # type: ignore[method-assign]
    done = await verified(house)
    assert (done.found, done.newer) == ([], 0)
    assert done.sealed == await head(house)
