from __future__ import annotations

import asyncio

import pytest

from hsmkms.store.finishing import finished, undeterred


async def test_the_result_and_the_error_come_through() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    assert await finished(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError, match="mine"):
        await finished(fail())


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_waits_for_the_end(fails: bool) -> None:
    gate = asyncio.Event()
    ended = []

    async def work() -> None:
        await gate.wait()
        ended.append(True)
        if fails:
            raise KeyError

    caller = asyncio.create_task(finished(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == [True]


@pytest.mark.parametrize("fails", [False, True])
async def test_an_undeterred_caller_does_not_hear_of_it(fails: bool) -> None:
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        if fails:
            raise KeyError
        return "done"

    caller = asyncio.create_task(undeterred(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    gate.set()
    if fails:
        with pytest.raises(KeyError):
            await caller
    else:
        assert await caller == "done"
