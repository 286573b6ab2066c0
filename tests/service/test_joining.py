"""The same import again: until its failure is answered nobody can tell whether it is over, by attempts neither."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core import errors
from hsmkms.core.keys import KeyState
from hsmkms.dialects.huawei.states import POLICY as HUAWEI
from hsmkms.dialects.tencent.states import POLICY as TENCENT
from hsmkms.service import joining
from tests.service.house import DAY, Settings, refusal, undecryptable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.service.commands import ImportMaterial
    from tests.service.house import House

PERIOD: Final = 0.25
LATER: Final = (0.0, 0.001, 0.1, 0.249)


async def fate(house: House, command: ImportMaterial) -> errors.HsmkmsError:
    """Return what an import is refused for, before anybody waits for the moment to say so."""
    with pytest.raises(errors.HsmkmsError) as caught:
        await house.imports.import_material(house.caller, command)
    return caught.value


@pytest.fixture
async def patient(housed: Callable[..., Awaitable[House]]) -> House:
    """A deployment that answers failed imports at multiples of a quarter of a second, and whose caller asks now."""
    house = await housed(Settings(failure_seconds=PERIOD, tickets_per_pair=100))
    house.caller = replace(house.caller, received=house.timer.seconds())
    return house


@pytest.mark.parametrize("passed", LATER)
async def test_until_the_failure_is_answered_the_same_request_fails_alike_and_counts_nothing(
    passed: float, patient: House
) -> None:
    command = undecryptable(patient.command(await patient.parameters(await patient.key())))
    first = await fate(patient, command)
    patient.timer.advance(passed)
    assert await fate(patient, command) is first
    assert (patient.hsm.calls, (await patient.ticket(command)).attempts) == (1, 1)


@pytest.mark.parametrize("worked", [0.0, 0.2, 0.25, 0.6])
async def test_from_the_moment_of_the_answer_on_it_is_another_attempt(worked: float, patient: House) -> None:
    command = undecryptable(patient.command(await patient.parameters(await patient.key())))

    async def work() -> None:
        patient.timer.advance(worked)

    patient.hsm.before_judging = work
    await refusal(patient, command)  # returns at the moment of the answer
    await fate(patient, command)
    assert (await patient.ticket(command)).attempts == 2


@pytest.mark.parametrize(("worked", "still"), [(0.2, 0.04), (0.25, 0.24), (0.6, 0.14)])
async def test_work_of_several_periods_is_joined_until_its_own_answer(
    worked: float, still: float, patient: House
) -> None:
    command = undecryptable(patient.command(await patient.parameters(await patient.key())))

    async def work() -> None:
        patient.timer.advance(worked)

    patient.hsm.before_judging = work
    await fate(patient, command)
    patient.timer.advance(still)
    await fate(patient, command)
    assert (await patient.ticket(command)).attempts == 1


async def test_who_joins_late_does_not_put_the_moment_off(patient: House) -> None:
    command = undecryptable(patient.command(await patient.parameters(await patient.key())))
    await fate(patient, command)
    patient.caller = replace(patient.caller, received=patient.timer.advance(0.2))
    await fate(patient, command)
    patient.timer.advance(0.05)
    await fate(patient, command)
    assert (await patient.ticket(command)).attempts == 2


async def test_each_is_answered_by_its_own_receipt(patient: House) -> None:
    command = undecryptable(patient.command(await patient.parameters(await patient.key())))
    begun = patient.timer.seconds()
    await fate(patient, command)
    patient.caller = replace(patient.caller, received=patient.timer.advance(0.2))
    await refusal(patient, command)
    assert patient.timer.slept_until == pytest.approx([begun + 0.2 + PERIOD])
    assert (await patient.ticket(command)).attempts == 1, "the control: it joined"


async def test_without_a_period_each_is_an_attempt(house: House) -> None:
    command = undecryptable(house.command(await house.parameters(await house.key())))
    for count in (1, 2):
        await fate(house, command)
        assert (await house.ticket(command)).attempts == count


async def test_what_never_counted_is_judged_anew(patient: House) -> None:
    """Its failure says nothing of the ciphertext, and who repairs the cause need not wait."""
    key_id = await patient.key()
    await patient.imported(key_id)
    command = patient.command(await patient.parameters(key_id))
    await patient.switch(key_id, on=False)
    assert isinstance(await fate(patient, command), errors.KeyStateForbids)
    await patient.switch(key_id, on=True)
    await patient.run(command)


async def test_a_failure_is_dropped_when_its_time_has_come_though_nobody_asks(
    housed: Callable[..., Awaitable[House]],
) -> None:
    house = await housed(Settings(failure_seconds=0.01))
    house.caller = replace(house.caller, received=house.timer.seconds())
    joinable = house.imports._joinable
    await fate(house, undecryptable(house.command(await house.parameters(await house.key()))))
    assert len(joinable._failed) == 1
    house.timer.advance(0.01)
    async with asyncio.timeout(30):
        while joinable._failed:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.001)
    assert not joinable._under_way
    assert not joinable._counted


async def test_they_are_bounded_and_nobody_s_failure_is_forgotten_to_make_room(
    patient: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MOST_FAILED", 2)
    good = patient.command(await patient.parameters(await patient.key()))
    for number in range(2):
        await fate(patient, undecryptable(good, number))
    assert isinstance(await fate(patient, undecryptable(good, 2)), errors.ServiceOverloaded)
    for number in range(2):
        await fate(patient, undecryptable(good, number))
    assert (patient.hsm.calls, (await patient.ticket(good)).attempts) == (2, 2)
    patient.timer.advance(PERIOD)
    await patient.run(good)


# --- what is the same request ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [{"policy": HUAWEI}, {"algorithm_field": "wrapping_algorithm"}, {"valid_to": DAY}],
    ids=lambda changed: next(iter(changed)),
)
async def test_what_another_rule_may_decide_is_no_repetition(changed: dict[str, object], patient: House) -> None:
    command = replace(undecryptable(patient.command(await patient.parameters(await patient.key()))), policy=TENCENT)
    if "valid_to" in changed:
        changed = {"valid_to": patient.clock.now() + DAY}
    await fate(patient, command)
    await fate(patient, replace(command, **changed))  # type: ignore[arg-type]
    assert (await patient.ticket(command)).attempts == 2


async def test_one_cloud_s_import_under_way_does_not_answer_what_the_other_refuses(patient: House) -> None:
    """An enabled key may be imported into by the one API and not by the other."""
    key_id = await patient.key()
    await patient.imported(key_id)
    command = replace(patient.command(await patient.parameters(key_id)), policy=TENCENT)
    asked = replace(command, policy=HUAWEI)
    at_the_token, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        at_the_token.set()
        await go_on.wait()

    patient.hsm.before_judging = wait
    running = asyncio.create_task(patient.run(command))
    async with asyncio.timeout(30):
        await at_the_token.wait()
        fates = itertools.chain([await fate(patient, asked)])
        go_on.set()
        await running
    [refused] = fates
    assert isinstance(refused, errors.KeyStateForbids)
    assert await patient.state(key_id) is KeyState.ENABLED
