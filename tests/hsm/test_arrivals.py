"""What becomes of a host that arrives broken, on both sides of the socket that it came through."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from hsmkms import supervisor as supervising
from hsmkms.core.material import Edition
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm import messages
from hsmkms.hsm.client import HostPool
from hsmkms.hsm.handover import SupervisorEnd, WebEnd, control_pair
from hsmkms.hsm.messages import Fault, FaultKind
from hsmkms.hsm.settings import Duty
from hsmkms.supervisor import Supervisor
from hsmkms.wiring.web_process import _Arrivals
from tests.hsm.played import PlayedHost
from tests.hsm.tokens import planned
from tests.hsm.waiting import until

if TYPE_CHECKING:
    from hsmkms.config import Settings

SECONDS = 10


@pytest.mark.parametrize("kind", [FaultKind.INTERNAL, FaultKind.REFUSED, FaultKind.SICK, FaultKind.RECORD_BROKEN])
async def test_a_host_that_cannot_attach_is_given_up_and_the_web_process_goes_on(kind: FaultKind) -> None:
    ours, theirs = control_pair()
    supervisor, web = SupervisorEnd(ours), WebEnd(theirs)
    pool = HostPool(planned(Edition.FIPS), on_lost=web.give_up)
    arriving = asyncio.create_task(_Arrivals(web, pool, tuple(WrappingAlgorithm)).run())
    broken, sound = PlayedHost("broken"), PlayedHost("sound")
    supervisor.offer("broken", Duty.PAIRS, 1, broken.ours)
    broken.answer(await broken.receive(), Fault(kind=kind))
    async with asyncio.timeout(SECONDS):
        assert await supervisor.lost() == "broken"
    supervisor.offer("sound", Duty.PAIRS, 1, sound.ours)
    sound.answer(await sound.receive(), messages.Attached())
    await until(lambda: pool.hosts == {"sound"})
    assert not arriving.done()
    arriving.cancel()
    await asyncio.gather(arriving, return_exceptions=True)
    await pool.close()
    for host in (broken, sound):
        host.hang_up()
    for end in (supervisor, web):
        end.close()


async def test_a_web_process_that_talks_nonsense_and_goes_on_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervising, "_GRACE_SECONDS", 0.05)
    supervisor = Supervisor(cast("Settings", None), Path())
    web = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    supervisor._web = web
    ours, theirs = control_pair()
    control = SupervisorEnd(ours)
    try:
        with theirs:
            theirs.send(b"junk")
            async with asyncio.timeout(SECONDS):
                await supervisor._kill_lost(control)
                assert await web.wait() == -signal.SIGKILL
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
        assert "the web process did not end and is killed: the audit trail may lack its last events" in said
    finally:
        control.close()
        if web.returncode is None:
            web.kill()
            await web.wait()
