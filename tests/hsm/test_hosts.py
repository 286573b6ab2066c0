"""Host processes at work, and what their end takes with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hsmkms.core.errors import InternalFault, MaterialUndecryptable, TokenGaveNoAnswer, TokenUnusable
from hsmkms.core.events import AuditHead
from hsmkms.core.ids import AccessId, PairId
from hsmkms.core.material import Edition
from hsmkms.core.records import of_credential, of_pair
from hsmkms.core.secrets import SecretKey
from hsmkms.hsm import frames, messages
from hsmkms.hsm.channel import HostChannel
from hsmkms.hsm.client import PoolLimits
from hsmkms.hsm.host import outside
from hsmkms.hsm.host.serving import Host
from hsmkms.hsm.messages import Request
from hsmkms.hsm.parts import Identity
from hsmkms.hsm.report import TokenDescription
from hsmkms.hsm.settings import HostExit, HostPurpose, HostSettings
from tests.contract.hsm_contract import ALICE, HsmContract, owner_of
from tests.hsm import tokens
from tests.hsm.conftest import Hosts
from tests.hsm.waiting import until

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from hsmkms.core.ports import ImportOrder
    from hsmkms.hsm.client import HostPool
    from hsmkms.hsm.host.workbench import Workbench
    from tests.hsm.tokens import TestToken

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIPS = Edition.FIPS


async def good_order(pool: HostPool) -> ImportOrder:
    owner = owner_of(FIPS)
    return await HsmContract.order(pool, owner, outside.throw_away(FIPS.material_bytes))


async def logged_by(hosts: Hosts, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """End the hosts and return what they logged."""
    await hosts.pool.close()
    for process in hosts.processes:
        await process.wait()
    return [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]


# --- working ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "times"), [("softhsm", 200), ("nss", 40)])
async def test_two_sessions_of_one_host_work_at_the_same_time(
    request: pytest.FixtureRequest, kind: str, times: int
) -> None:
    token: TestToken = request.getfixturevalue(kind)
    hosts = Hosts(token, await tokens.initialised(token, tokens.planned(FIPS)), PoolLimits(queue_seconds=30))
    process = await hosts.add(sessions=2)
    order = await good_order(hosts.pool)
    sealed = await asyncio.gather(*(hosts.pool.import_material(order) for _ in range(times)))
    assert len({each.record for each in sealed}) == times
    assert all(each.fingerprint.matches(sealed[0].fingerprint) for each in sealed)
    await hosts.pool.close()
    assert await process.wait() == HostExit.ORPHANED


async def test_a_pair_made_in_one_host_works_in_another(hosts: Hosts, deployment: Deployment) -> None:
    await hosts.add()
    order = await good_order(hosts.pool)
    (first,) = hosts.processes
    first.kill()
    await first.wait()
    await until(lambda: not hosts.pool.hosts)
    await hosts.add()
    await hosts.pool.import_material(order)


async def test_an_identity_of_another_edition_is_our_defect(hosts: Hosts) -> None:
    await hosts.add()
    with pytest.raises(InternalFault):
        await hosts.pool.generate_material(owner_of(Edition.SM))


async def test_before_attach_a_host_obeys_nothing(softhsm: TestToken) -> None:
    host = await tokens.start(softhsm, FIPS)
    channel = await HostChannel.open(host.name, host.socket)
    with pytest.raises(InternalFault):
        await channel.probe()
    await channel.close()
    await host.wait()


async def test_only_a_command_s_host_makes_credentials(softhsm: TestToken, deployment: Deployment) -> None:
    identity = of_credential(ALICE, AccessId("AKIDexample"), FIPS)
    serving, operating = (Hosts(softhsm, deployment, PoolLimits()) for _ in range(2))
    await serving.add()
    with pytest.raises(InternalFault):
        await serving.pool.protect_secret(identity, SecretKey(b"secret"))
    await operating.add(purpose=HostPurpose.OPERATE)
    record = await operating.pool.protect_secret(identity, SecretKey(b"secret"))
    assert await serving.pool.open_secret(identity, record) == SecretKey(b"secret")
    head = AuditHead(1, bytes(32))
    assert await operating.pool.holds_seal("d", head, await serving.pool.seal_head("d", head)), "the trail's, both do"
    for hosts in (serving, operating):
        await hosts.pool.close()


async def test_only_a_command_s_host_cuts_the_audit_trail(softhsm: TestToken, deployment: Deployment) -> None:
    head = AuditHead(1, bytes(range(32)))
    serving, operating = (Hosts(softhsm, deployment, PoolLimits()) for _ in range(2))
    await serving.add()
    await operating.add(purpose=HostPurpose.OPERATE)
    mac = await operating.pool.cut_after("d", head)
    assert await operating.pool.holds_cut("d", head, mac)
    with pytest.raises(InternalFault):
        await serving.pool.cut_after("d", head)
    with pytest.raises(InternalFault):
        await serving.pool.holds_cut("d", head, mac)
    assert not await serving.pool.holds_seal("d", head, mac), "nor is there another way to ask"
    for hosts in (serving, operating):
        await hosts.pool.close()


async def test_a_host_started_for_init_does_nothing_else(softhsm: TestToken, deployment: Deployment) -> None:
    hosts = Hosts(softhsm, deployment, PoolLimits())
    await hosts.add(purpose=HostPurpose.INIT)
    with pytest.raises(InternalFault):
        await hosts.pool.generate_material(owner_of(FIPS))
    with pytest.raises(InternalFault):
        await hosts.pool.protect_secret(of_credential(ALICE, AccessId("AKIDexample"), FIPS), SecretKey(b"secret"))
    with pytest.raises(InternalFault):
        await hosts.pool.seal_head("d", AuditHead(1, bytes(32)))
    with pytest.raises(InternalFault):
        await hosts.pool.holds_seal("d", AuditHead(1, bytes(32)), bytes(32))
    with pytest.raises(InternalFault):
        await hosts.pool.cut_after("d", AuditHead(1, bytes(32)))
    with pytest.raises(InternalFault):
        await hosts.pool.holds_cut("d", AuditHead(1, bytes(32)), bytes(32))
    await hosts.pool.close()


async def test_each_verb_is_one_line_in_the_log_at_debug_level(hosts: Hosts, capfd: pytest.CaptureFixture[str]) -> None:
    await hosts.add(log_level="DEBUG")
    order = await good_order(hosts.pool)
    await hosts.pool.import_material(order)
    with pytest.raises(MaterialUndecryptable):
        await hosts.pool.import_material(replace(order, ciphertext=outside.damage(order.ciphertext)))
    lines = await logged_by(hosts, capfd)
    verbs = [(line["verb"], line["count"], line["outcome"]) for line in lines if line["event"] == "verb"]
    assert verbs == [
        ("Attach", 1, "done"),
        ("MakePair", 1, "done"),
        ("ImportMaterial", 1, "done"),
        ("ImportMaterial", 2, "material undecryptable"),
    ]
    (refused,) = [line for line in lines if line["event"] == "import refused"]
    assert (refused["step"], refused["answer"]) == ("unwrapping", "GeneralError")
    assert tokens.PIN not in str(lines)


async def test_what_is_not_below_the_modulus_never_reaches_the_token(
    hosts: Hosts, capfd: pytest.CaptureFixture[str]
) -> None:
    await hosts.add()
    order = await good_order(hosts.pool)
    with pytest.raises(MaterialUndecryptable):
        await hosts.pool.import_material(replace(order, ciphertext=b"\xff" * len(order.ciphertext)))
    (refused,) = [line for line in await logged_by(hosts, capfd) if line["event"] == "import refused"]
    assert refused["step"] == "size and value of the ciphertext"


# --- ending ------------------------------------------------------------------------------------------------------


async def test_the_end_of_the_socket_ends_the_host(softhsm: TestToken) -> None:
    host = await tokens.start(softhsm, FIPS)
    host.socket.close()
    async with asyncio.timeout(10):
        assert await host.wait() == HostExit.ORPHANED


def taken_by(connection: socket.socket, frame: bytes) -> int:
    """Send `frame` until nobody takes more for a second; return how often."""
    taken = 0
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_WRITE)
        while selector.select(1) and taken < 20_000:
            with contextlib.suppress(BlockingIOError):
                connection.send(frame)
                taken += 1
    return taken


async def test_a_host_with_its_hands_full_reads_no_more_and_still_ends_with_its_socket() -> None:
    ours, theirs = socket.socketpair()
    program = (
        "import socket, sys, threading\n"
        "from hsmkms.hsm.host.serving import Host\n"
        "from hsmkms.hsm.settings import HostSettings\n"
        "settings = HostSettings(module='', token_label='', pin_file='', edition='fips')\n"
        "host = Host(socket.socket(fileno=int(sys.argv[1])), settings, [None], None)\n"
        "host._benches = [None]  # attached\n"
        "host._work = lambda bench: (host._arrivals.next(), threading.Event().wait())  # with the first for ever\n"
        "host.serve()\n"
    )
    with theirs:
        host = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(theirs.fileno()), pass_fds=[theirs.fileno()]
        )
    ours.setblocking(False)
    making = messages.MakePair(identity=Identity.of(of_pair(PairId("p"), FIPS)), bits=2048)
    frame = frames.frame(Request(number=1, verb=making))
    try:
        assert await asyncio.to_thread(taken_by, ours, frame) < 10_000
        assert host.returncode is None
        ours.close()
        async with asyncio.timeout(5):
            assert await host.wait() == HostExit.ORPHANED
    finally:
        if host.returncode is None:
            host.kill()
            await host.wait()


async def test_a_host_ignores_the_terminal_s_interrupt(hosts: Hosts) -> None:
    process = await hosts.add()
    os.kill(process.pid, signal.SIGINT)
    await hosts.pool.generate_material(owner_of(FIPS))
    assert process.returncode is None


async def test_a_host_dies_with_the_process_that_started_it(softhsm: TestToken) -> None:
    program = (
        "import asyncio, sys, msgspec\n"
        "from hsmkms.hsm.settings import HostSettings\n"
        "from hsmkms.hsm.spawn import spawn_host\n"
        "async def main():\n"
        "    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=HostSettings)\n"
        "    host = await spawn_host(settings, 'child')\n"
        "    await host.ready()\n"
        "    print(host.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(msgspec.json.encode(softhsm.host_settings(FIPS)))
    parent.stdin.close()
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    def gone() -> bool:
        try:
            state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"  # dead; whoever inherited it has not asked yet

    await until(gone, 5)


async def test_a_malformed_request_ends_the_host(softhsm: TestToken) -> None:
    host = await tokens.start(softhsm, FIPS)
    host.socket.setblocking(True)
    host.socket.sendall(frames.LENGTH.pack(frames.MAX_FRAME_BYTES + 1))
    async with asyncio.timeout(10):
        assert await host.wait() == HostExit.ORPHANED
    host.socket.close()


async def test_a_killed_host_fails_only_its_own_calls(hosts: Hosts) -> None:
    stopped, working = await hosts.add(), await hosts.add()
    order = await good_order(hosts.pool)
    os.kill(stopped.pid, signal.SIGSTOP)
    calls = [asyncio.ensure_future(hosts.pool.import_material(order)) for _ in range(20)]
    await until(lambda: sum(call.done() for call in calls) == len(calls) - 1)
    stopped.kill()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, TokenGaveNoAnswer) for each in outcomes) == 1
    assert sum(not isinstance(each, BaseException) for each in outcomes) == len(calls) - 1
    assert hosts.pool.hosts == {working.name}
    assert hosts.lost == [stopped.name]
    await hosts.pool.import_material(order)


async def test_a_host_that_misses_its_deadline_is_given_up(
    softhsm: TestToken, deployment: Deployment, hosts: Hosts
) -> None:
    slow = Hosts(softhsm, deployment, PoolLimits(queue_seconds=5, verb_timeout_seconds=0.3))
    process = await slow.add()
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(TokenGaveNoAnswer):
        await slow.pool.generate_material(owner_of(FIPS))
    assert slow.lost == [process.name]
    assert not slow.pool.usable
    os.kill(process.pid, signal.SIGCONT)
    async with asyncio.timeout(10):  # it finds its socket closed, whatever it was doing
        assert await process.wait() == HostExit.ORPHANED


async def test_a_token_that_loses_its_objects_under_a_running_host_is_sick(
    softhsm: TestToken, deployment: Deployment, tmp_path: Path
) -> None:
    copy = tokens.copy_of(softhsm, tmp_path / "copy")
    hosts = Hosts(copy, deployment, PoolLimits())
    process = await hosts.add()
    order = await good_order(hosts.pool)
    for path in (copy.directory / "tokens").rglob("*.object"):
        if path.name != "token.object":
            path.unlink()
    with pytest.raises(TokenGaveNoAnswer):
        await hosts.pool.import_material(order)
    async with asyncio.timeout(10):
        assert await process.wait() == HostExit.TOKEN_SICK
    assert hosts.lost == [process.name]


async def test_a_bad_ciphertext_is_not_taken_for_a_sick_token(hosts: Hosts) -> None:
    process = await hosts.add()
    order = await good_order(hosts.pool)
    wrong = replace(order, ciphertext=outside.damage(order.ciphertext))
    for _ in range(30):
        with pytest.raises(MaterialUndecryptable):
            await hosts.pool.import_material(wrong)
    await hosts.pool.import_material(order)
    assert process.returncode is None
    assert hosts.lost == []


async def test_a_host_that_cannot_attach_is_not_used(softhsm: TestToken, tmp_path: Path) -> None:
    hosts = Hosts(softhsm, tokens.planned(FIPS), PoolLimits())
    with pytest.raises(TokenUnusable):
        await hosts.add()
    assert not hosts.pool.usable
    assert hosts.pool.hosts == frozenset()
    assert await hosts.processes[0].wait() == HostExit.ORPHANED
    assert hosts.lost == []


class Idle(BaseException):
    """In place of waiting without an end."""


class OnceAsked(Host):
    """Is asked once, and then waits."""

    kept: tuple[object, ...] | None = None
    """What its loop holds on to as it waits."""
    asked = False

    def _next(self, bench: Workbench) -> Request:
        del bench
        if self.asked:
            self.kept = tuple(sys._getframe(1).f_locals.values())
            raise Idle
        self.asked = True
        return Request(
            number=1, verb=messages.ProtectSecret(identity=Identity.of(of_pair(PairId("p"), FIPS)), secret=b"s")
        )


async def test_a_host_that_waits_keeps_nothing_of_its_last_request() -> None:
    ours, theirs = socket.socketpair()
    description = dict.fromkeys(TokenDescription.__struct_fields__, "")
    with ours, theirs:
        host = OnceAsked(
            theirs, HostSettings(module="", token_label="", edition=FIPS), (), TokenDescription(**description)
        )
        with pytest.raises(Idle):
            host._work(None)  # type: ignore[arg-type]
        ours.setblocking(False)
        assert ours.recv(1 << 10), "it answered"
    assert host.kept == (host, None)
