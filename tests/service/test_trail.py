"""What changes no state is in the audit trail, too: in order, within a second, or nothing is done any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.verification import Walk
from hsmkms.core.errors import (
    CredentialUnknown,
    FieldMissing,
    HsmkmsError,
    InternalFault,
    RequestRateExceeded,
    SignatureMismatch,
    StoreUnavailable,
)
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import Instant, KeyId, RequestId
from hsmkms.core.keys import Origin
from hsmkms.core.secrets import Plaintext
from hsmkms.service import commands
from hsmkms.service.auditing import Trail, TrailLimits
from tests.fakes.clock import SteppedTimer
from tests.service.house import PLAINTEXT, undecryptable

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsmkms.service.commands import Command
    from tests.service.house import House

NO_KEY = KeyId("00000000-0000-4000-8000-000000000000")


async def told(house: House) -> list[Event]:
    """Return the events that are written now and were not before."""
    before = len(await house.events())
    await house.trail.write()
    return (await house.events())[before:]


async def asked(house: House, command: Command) -> None:
    with pytest.raises(HsmkmsError):
        await house.service.execute(house.caller, command)


async def test_every_use_of_a_key_is_one_event_in_its_order(house: House) -> None:
    one, other = await house.key(origin=Origin.GENERATED), await house.key(origin=Origin.GENERATED)
    ciphertext = await house.encrypted(one)
    await house.decrypted(ciphertext)
    for command in (
        commands.ReEncrypt(ciphertext, target=other),
        commands.MakeDataKey(one, 16, shown=False),
        commands.MakeRandom(8),
        commands.DescribeKey(other),
        commands.DescribeKeys((other, one)),
        commands.ListKeys(0, 10),
        commands.DescribeService(),
    ):
        await house.service.execute(house.caller, command)
    events = await told(house)
    assert [(each.tag.value, each.key_id, dict(each.detail)) for each in events] == [
        ("key:encrypted", one, {}),
        ("key:decrypted", one, {}),
        ("key:re-encrypted", other, {"source": one, "changed": True}),
        ("key:data-key:made", one, {"bytes": 16, "shown": False}),
        ("random:made", None, {"bytes": 8}),
        ("key:described", other, {}),
        ("key:described", None, {"keys": f"{other} {one}"}),
        ("keys:listed", None, {"offset": 0, "keys_shown": 2}),
        ("service:described", None, {}),
    ]
    who = (house.caller.account.name, house.caller.access_id, house.caller.request_id, house.clock.now())
    assert {(each.account, each.actor, each.request_id, each.at) for each in events} == {who}
    assert Walk().follow(await house.sql.trail().events(0, 1000)) is None


async def test_what_changes_state_is_told_once(house: House) -> None:
    key_id = await house.key()
    await house.imported(key_id)
    await house.switch(key_id, on=False)
    await house.schedule(key_id)
    await house.cancel(key_id)
    before = [each.tag for each in await house.events()]
    assert await told(house) == []
    assert before.count(EventTag.MATERIAL_IMPORTED) == 1


async def test_what_found_everything_as_it_was_to_be_is_told_too(house: House) -> None:
    one, other = await house.key(origin=Origin.GENERATED), await house.key(origin=Origin.GENERATED)
    imported = house.command(await house.parameters(await house.key()))
    await house.run(imported)
    await house.switch(other, on=False)
    before = len(await house.events())
    for command in (
        commands.SwitchKey(one, on=True),
        commands.SwitchKeys((one, other), on=False),
        commands.SwitchKeys((one, other), on=False),
        commands.RelabelKey(one, description=""),
        imported,
    ):
        await house.service.execute(house.caller, command)
    await house.trail.write()
    assert [(each.tag.value, each.key_id, dict(each.detail)) for each in (await house.events())[before:]] == [
        ("key:disabled", one, {}),
        ("key:unchanged", one, {"command": "SwitchKey"}),
        ("key:unchanged", None, {"command": "SwitchKeys", "keys": f"{one} {other}"}),
        ("key:unchanged", one, {"command": "RelabelKey"}),
        ("key:unchanged", imported.key_id, {"command": "ImportMaterial"}),
    ]


async def test_who_joins_an_import_that_is_under_way_is_told_of_by_himself(house: House) -> None:
    command = house.command(await house.parameters(await house.key()))
    second = replace(house.caller, request_id=RequestId("request-2"))
    before = len(await house.events())
    await asyncio.gather(*(house.service.execute(each, command) for each in (house.caller, second)))
    await house.trail.write()
    assert {(each.tag, each.request_id) for each in (await house.events())[before:]} == {
        (EventTag.MATERIAL_IMPORTED, house.caller.request_id),
        (EventTag.KEY_UNCHANGED, second.request_id),
    }


async def test_every_refused_command_is_told_with_its_reason(house: House) -> None:
    key_id, other = await house.key(), await house.key(origin=Origin.GENERATED)
    ciphertext = await house.encrypted(other)
    await told(house)
    await asked(house, commands.Encrypt(NO_KEY, Plaintext(PLAINTEXT)))
    await asked(house, commands.Encrypt(key_id, Plaintext(PLAINTEXT)))
    await asked(house, commands.Decrypt(ciphertext[:-1] + b"?"))
    await asked(house, commands.Decrypt(b"nothing of ours"))
    await asked(house, commands.Decrypt(ciphertext, key_id=key_id))
    await asked(house, commands.DescribeKeys((key_id, NO_KEY)))
    await asked(house, commands.CreateKey("key-1"))
    with pytest.raises(HsmkmsError):
        await house.service.execute(replace(house.caller, roles=frozenset()), commands.DescribeKey(other))
    shown = [(each.tag, each.key_id, dict(each.detail)) for each in await told(house)]
    refused = EventTag.REQUEST_REFUSED
    assert [each for each in shown if each[0] is refused] == [
        (refused, NO_KEY, {"command": "Encrypt", "fault": "KeyNotFound"}),
        (refused, key_id, {"command": "Encrypt", "fault": "KeyStateForbids"}),
        (refused, other, {"command": "Decrypt", "fault": "CiphertextInvalid"}),
        (refused, None, {"command": "Decrypt", "fault": "CiphertextInvalid"}),
        (refused, None, {"command": "Decrypt", "fault": "CiphertextInvalid", "keys": f"{key_id} {other}"}),
        (refused, None, {"command": "DescribeKeys", "fault": "KeyNotFound", "keys": f"{key_id} {NO_KEY}"}),
        (refused, None, {"command": "CreateKey", "fault": "AliasTaken"}),
        (refused, other, {"command": "DescribeKey", "fault": "RoleMissing"}),
    ]


async def test_a_refused_import_is_told_as_a_request_and_as_an_attempt(house: House) -> None:
    key_id = await house.key()
    command = undecryptable(house.command(await house.parameters(key_id)))
    await asked(house, command)
    await house.trail.write()
    attempt, request = (await house.events())[-2:]
    assert (attempt.tag, attempt.detail["reason"]) == (EventTag.MATERIAL_REFUSED, "MaterialUndecryptable")
    assert request.detail == {"command": "ImportMaterial", "fault": "MaterialUndecryptable"}
    assert request.key_id == key_id


async def test_a_caller_who_is_turned_away_is_told_with_the_action(house: House) -> None:
    house.service.note_refusal(FieldMissing("KeyId"), "192.0.2.1", house.caller, "Encrypt")
    (event,) = await told(house)
    assert (event.tag, event.actor, event.key_id) == (EventTag.REQUEST_REFUSED, house.caller.access_id, None)
    assert event.detail == {"action": "Encrypt", "fault": "FieldMissing"}


async def test_requests_of_unknown_origin_are_one_row_a_source_and_minute(house: House) -> None:
    house.clock.set(Instant(house.clock.now() // 60_000 * 60_000))
    minute = house.clock.now()
    for source, error in (
        ("192.0.2.1", SignatureMismatch()),
        ("192.0.2.1", SignatureMismatch()),
        ("192.0.2.1", CredentialUnknown()),
        ("::ffff:192.0.2.1", CredentialUnknown()),
        ("2001:db8:1:2:3::4", CredentialUnknown()),
        ("2001:db8:1:2:ffff::1", CredentialUnknown()),
        ("no address", CredentialUnknown()),
    ):
        house.service.note_refusal(error, source, None, None)
    assert await told(house) == [], "the minute is not over"
    house.clock.advance(seconds=60)
    house.service.note_refusal(SignatureMismatch(), "192.0.2.9", None, None)
    events = await told(house)
    assert {(each.tag, each.at, each.account, each.key_id) for each in events} == {
        (EventTag.STRANGERS_REFUSED, minute, None, None)
    }
    assert [dict(each.detail) for each in events] == [
        {"source": "192.0.2.1", "requests": 4, "SignatureMismatch": 2, "CredentialUnknown": 2},
        {"source": "2001:db8:1:2::/64", "requests": 2, "CredentialUnknown": 2},
        {"source": "unknown", "requests": 1, "CredentialUnknown": 1},
    ]
    await house.trail.finish()
    assert (await house.events())[-1].detail == {"source": "192.0.2.9", "requests": 1, "SignatureMismatch": 1}


async def test_the_sources_of_a_minute_are_bounded(house: House) -> None:
    for number in range(1200):
        house.service.note_refusal(CredentialUnknown(), f"10.0.{number // 256}.{number % 256}", None, None)
    await house.trail.finish()
    events = await house.events(EventTag.STRANGERS_REFUSED)
    assert len(events) == 1001
    assert events[-1].detail == {"source": "others", "requests": 200, "CredentialUnknown": 200}


# --- when it cannot be written ---------------------------------------------------------------------------


@pytest.fixture
async def full(house: House) -> House:
    """A house whose database takes nothing, with an event that has waited too long."""
    house.store.break_append = StoreUnavailable()
    await house.service.execute(house.caller, commands.DescribeService())
    house.timer.advance(5.5)
    return house


async def test_what_cannot_be_written_for_long_stops_every_command_and_nothing_is_lost(full: House) -> None:
    calls = len(full.hsm.ciphered)
    for command in (commands.DescribeService(), commands.MakeRandom(8), commands.Encrypt(NO_KEY, Plaintext(b""))):
        with pytest.raises(StoreUnavailable):
            await full.service.execute(full.caller, command)
    assert len(full.hsm.ciphered) == calls
    with pytest.raises(StoreUnavailable):
        await full.trail.write()
    full.store.break_append = None
    assert [(each.tag, dict(each.detail)) for each in await told(full)] == [
        (EventTag.SERVICE_DESCRIBED, {}),
        (EventTag.REQUEST_REFUSED, {"access_id": full.caller.access_id, "requests": 3}),
    ], "who was refused for want of room is counted"
    await full.service.execute(full.caller, commands.DescribeService())  # without a restart


async def test_too_many_events_stop_every_command(house: House) -> None:
    trail = Trail(house.store, house.clock, house.timer, TrailLimits(most_events=3))
    for _ in range(3):
        await trail.until_writable()
        trail.done(house.caller, commands.DescribeService(), commands.Done())
    with pytest.raises(StoreUnavailable):
        await trail.until_writable()
    await trail.write()
    await trail.until_writable()


class WritingTimer(SteppedTimer):
    """A timer in whose time the trail is written: from then on, whenever somebody sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.trail: Trail
        self.writes_at = float("inf")

    async def sleep_until(self, seconds: float) -> None:
        await super().sleep_until(seconds)
        if self.seconds() >= self.writes_at:
            await self.trail.write()


@pytest.mark.parametrize(
    ("waited", "written_after", "waits"), [(0.7, 0.0, 0.0), (0.8, 2.0, 2.0), (0.8, 4.9, 4.9)], ids=str
)
async def test_while_an_event_waits_for_long_a_command_waits_and_is_not_refused(
    house: House, waited: float, written_after: float, waits: float
) -> None:
    timer = WritingTimer()
    timer.trail = Trail(house.store, house.clock, timer)
    timer.trail.done(house.caller, commands.DescribeService(), commands.Done())
    began = timer.advance(waited)
    timer.writes_at = began + written_after
    await timer.trail.until_writable()
    assert timer.seconds() - began == pytest.approx(waits, abs=0.06)


async def test_after_five_seconds_it_is_refused(house: House) -> None:
    house.trail.done(house.caller, commands.DescribeService(), commands.Done())
    began = house.timer.advance(0.8)
    with pytest.raises(StoreUnavailable):
        await house.trail.until_writable()
    assert house.timer.seconds() - began == pytest.approx(5, abs=0.06)


async def test_a_defect_does_not_end_the_writer(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.store.break_append = TypeError()
    writing = asyncio.create_task(house.trail.keep_writing())
    await house.service.execute(house.caller, commands.DescribeService())
    await until(lambda: bool(caplog.records) or writing.done())
    assert not writing.done()
    assert caplog.records[0].levelname == "ERROR"
    house.store.break_append = None
    await until(lambda: not house.trail._waiting)
    assert [each.tag for each in await house.events()] == [EventTag.SERVICE_DESCRIBED]
    writing.cancel()


async def test_who_is_turned_away_while_there_is_no_room_is_counted(full: House) -> None:
    for _ in range(40_000):
        full.service.note_refusal(FieldMissing("KeyId"), "192.0.2.1", full.caller, "Encrypt")
    full.service.note_refusal(FieldMissing("KeyId"), "192.0.2.1", full.stranger, "Encrypt")
    assert len(full.trail._waiting) == 1
    full.store.break_append = None
    counted = [each for each in await told(full) if each.tag is EventTag.REQUEST_REFUSED]
    assert [(each.account, dict(each.detail)) for each in counted] == [
        ("acme", {"access_id": full.caller.access_id, "requests": 40_000}),
        ("stranger", {"access_id": full.stranger.access_id, "requests": 1}),
    ]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the condition is in what is tested, which knows no events of ours
            await asyncio.sleep(0)


async def test_the_background_writes_again_until_it_works(house: House) -> None:
    house.store.break_commit = StoreUnavailable()
    writing = asyncio.create_task(house.trail.keep_writing())
    started = house.timer.seconds()
    await house.service.execute(house.caller, commands.DescribeService())
    await until(lambda: house.timer.seconds() > started + 1)
    assert await house.events() == []
    house.store.break_commit = None
    await until(lambda: not house.trail._waiting)
    assert [each.tag for each in await house.events()] == [EventTag.SERVICE_DESCRIBED]
    commits, idle = house.store.commits, house.timer.seconds()
    for _ in range(50):
        await asyncio.sleep(0)
    assert (house.store.commits, house.timer.seconds()) == (commits, idle), "an idle trail does nothing"
    writing.cancel()


async def test_a_cancelled_writer_writes_nothing_twice(house: House) -> None:
    """Cancelled at any moment of a transaction, the trail goes on after the last event that was committed."""
    for steps in range(0, 60, 3):
        house.trail.done(house.caller, commands.MakeRandom(steps + 1), commands.Done())
        writing = asyncio.create_task(house.trail.keep_writing())
        for _ in range(steps):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait((writing,))
    await house.trail.finish()
    sizes = [each.detail["bytes"] for each in await house.events(EventTag.RANDOM_MADE)]
    assert sizes == [steps + 1 for steps in range(0, 60, 3)]


async def test_the_end_waits_for_the_database_and_says_what_was_lost(
    full: House, caplog: pytest.LogCaptureFixture
) -> None:
    began = full.timer.seconds()
    await full.trail.finish()
    assert full.timer.seconds() - began == pytest.approx(10, abs=0.5)
    (line,) = [each for each in caplog.records if each.levelname == "CRITICAL"]
    assert vars(line)["events"] == 1


async def test_no_event_holds_what_was_encrypted(house: House) -> None:
    key_id = await house.key(origin=Origin.GENERATED)
    ciphertext = await house.encrypted(key_id)
    await house.decrypted(ciphertext)
    await asked(house, commands.Decrypt(ciphertext[:-1] + b"?"))
    text = repr(await told(house))
    assert key_id in text
    for secret in (PLAINTEXT, ciphertext[-16:], ciphertext[38:54]):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text


async def test_a_defect_is_told_with_the_caller_and_not_as_a_strangers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(await house.events())
    monkeypatch.setattr(house.hsm, "random", None)
    with pytest.raises(TypeError):
        await house.service.execute(house.caller, commands.MakeRandom(8))
    house.service.note_refusal(InternalFault(), "192.0.2.1", None, "GenerateRandom")
    await house.trail.finish()
    (event,) = (await house.events())[before:]
    assert (event.actor, event.detail) == (house.caller.access_id, {"command": "MakeRandom", "fault": "InternalFault"})


async def test_requests_over_a_rate_are_counted_and_not_told_one_by_one(house: House) -> None:
    for _ in range(1000):
        house.service.note_refusal(RequestRateExceeded("Encrypt", 0.1), "192.0.2.1", house.caller, "Encrypt")
    (event,) = await told(house)
    assert (event.tag, event.account) == (EventTag.REQUEST_REFUSED, house.caller.account.name)
    assert event.detail == {"access_id": house.caller.access_id, "requests": 1000}
