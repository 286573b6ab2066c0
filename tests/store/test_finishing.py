from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hsmkms.store.finishing import Completion, begun_in, finished, undeterred


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


# --- the same, with one future --------------------------------------------------------------------------------


async def test_a_completion_brings_the_result_or_the_error_however_often_it_is_asked() -> None:
    for fault in (None, KeyError("mine"), StopIteration()):
        completion = Completion[str]()
        waiting = asyncio.create_task(completion.wait())
        await asyncio.sleep(0)
        completion.end("done", fault)
        for wait in (waiting, completion.wait()):
            if fault is None:
                assert await wait == "done"
            else:
                with pytest.raises((KeyError, RuntimeError), match=r"mine|StopIteration"):
                    await wait


async def test_who_waits_for_a_completion_may_be_cancelled_and_wait_again() -> None:
    completion = Completion[str]()
    for _ in range(3):
        waiting = asyncio.create_task(completion.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    last = asyncio.create_task(completion.wait())
    await asyncio.sleep(0)
    assert not last.done()
    completion.end("done", None)
    assert await last == "done"


@pytest.mark.parametrize("fault", [None, KeyError()])
async def test_who_waits_undeterred_hears_of_the_end_only(fault: Exception | None) -> None:
    completion = Completion[str]()
    waiting = asyncio.create_task(completion.wait_undeterred())
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    completion.end("done", fault)
    await waiting


async def test_work_in_a_thread_brings_its_completion() -> None:
    with ThreadPoolExecutor(1) as executor:
        assert await begun_in(executor, threading.get_ident).wait() != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await begun_in(executor, divmod, 1, 0).wait()


def test_an_event_loop_that_has_ended_is_not_rung() -> None:
    gate = threading.Event()

    async def leave(executor: ThreadPoolExecutor) -> None:
        begun_in(executor, gate.wait)

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(leave(executor))
        gate.set()
