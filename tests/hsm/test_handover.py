"""The socket between supervisor and web process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from hsmkms.hsm.handover import SupervisorEnd, WebEnd, control_pair
from hsmkms.hsm.settings import Duty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SECONDS = 10
LOST = b'{"type":"lost","host":"host-1"}'
OFFER = b'{"type":"offer","host":"%s","duty":"pairs","sessions":1}'


@pytest.fixture
async def ends() -> AsyncIterator[tuple[SupervisorEnd, WebEnd]]:
    ours, theirs = control_pair()
    supervisor, web = SupervisorEnd(ours), WebEnd(theirs)
    yield supervisor, web
    supervisor.close()
    web.close()


async def test_an_offer_carries_the_hosts_only_socket(ends: tuple[SupervisorEnd, WebEnd]) -> None:
    supervisor, web = ends
    ours, theirs = socket.socketpair()
    with theirs:
        assert supervisor.offer("host-1", Duty.PAIRS, 3, ours)
        assert ours.fileno() == -1
        async with asyncio.timeout(SECONDS):
            offered = await web.offered()
        assert offered is not None
        assert (offered.host, offered.duty, offered.sessions) == ("host-1", Duty.PAIRS, 3)
        with offered.socket:
            theirs.sendall(b"hello")
            offered.socket.settimeout(SECONDS)
            assert offered.socket.recv(5) == b"hello"
        theirs.settimeout(SECONDS)
        assert theirs.recv(1) == b""  # nobody else holds it


async def test_a_host_that_was_given_up_is_named(ends: tuple[SupervisorEnd, WebEnd]) -> None:
    supervisor, web = ends
    web.give_up("host-2")
    web.give_up("host-3")
    async with asyncio.timeout(SECONDS):
        assert [await supervisor.lost(), await supervisor.lost()] == ["host-2", "host-3"]


async def test_the_web_process_notices_that_the_supervisor_is_gone(ends: tuple[SupervisorEnd, WebEnd]) -> None:
    supervisor, web = ends
    supervisor.close()
    async with asyncio.timeout(SECONDS):
        assert await web.offered() is None
    web.give_up("host-1")  # says nothing to nobody


async def test_the_supervisor_notices_that_the_web_process_is_gone(ends: tuple[SupervisorEnd, WebEnd]) -> None:
    supervisor, web = ends
    web.close()
    async with asyncio.timeout(SECONDS):
        assert await supervisor.lost() is None
    ours, theirs = socket.socketpair()
    with theirs:
        assert not supervisor.offer("host-1", Duty.OPERATIONS, 1, ours)
        theirs.settimeout(SECONDS)
        assert theirs.recv(1) == b""


async def test_a_host_offered_to_a_web_process_that_dies_is_let_go(ends: tuple[SupervisorEnd, WebEnd]) -> None:
    supervisor, web = ends
    ours, theirs = socket.socketpair()
    with theirs:
        assert supervisor.offer("host-1", Duty.OPERATIONS, 1, ours)
        web.close()
        theirs.settimeout(SECONDS)
        assert theirs.recv(1) == b""


# --- neither trusts the other's packets ------------------------------------------------------------------------------


async def test_a_descriptor_sent_to_the_supervisor_is_let_go() -> None:
    ours, theirs = control_pair()
    supervisor = SupervisorEnd(ours)
    kept, sent = socket.socketpair()
    with theirs, kept:
        with sent:
            socket.send_fds(theirs, [LOST], [sent.fileno()] * 3)
        async with asyncio.timeout(SECONDS):
            assert await supervisor.lost() == "host-1"
        kept.settimeout(SECONDS)
        assert kept.recv(1) == b""  # the supervisor does not hold its other end
        supervisor.close()


@pytest.mark.parametrize("packet", [b"junk", b"", b'{"type":"offer","host":"h","duty":"pairs","sessions":1}', b"\xff"])
async def test_a_web_process_that_talks_nonsense_is_as_good_as_gone(
    packet: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = control_pair()
    supervisor = SupervisorEnd(ours)
    with theirs:
        theirs.send(packet)
        async with asyncio.timeout(SECONDS):
            assert await supervisor.lost() is None
        assert [record.levelname for record in caplog.records] == (["CRITICAL"] if packet else [])
        supervisor.close()


async def test_a_flood_of_packets_waits_outside_and_leaves_the_supervisor_its_turn() -> None:
    ours, theirs = control_pair()
    supervisor = SupervisorEnd(ours)
    with theirs:
        theirs.settimeout(0)

        async def turns() -> int:
            """Take packets while others come; return how often somebody else had the event loop."""
            taken = 0
            other = asyncio.create_task(count())
            while taken < 100:
                fill(theirs)
                assert await supervisor.lost() == "host-1"
                taken += 1
            other.cancel()
            return counted

        counted = 0

        async def count() -> None:
            nonlocal counted
            while True:
                counted += 1
                await asyncio.sleep(0)

        fill(theirs)
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):  # nobody asks for them: they are not taken in
            theirs.send(LOST)
        async with asyncio.timeout(SECONDS):
            assert await turns() >= 100
        supervisor.close()


def fill(control: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            control.send(LOST)


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Make every new descriptor of this process fail with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_an_offer_whose_descriptor_does_not_fit_is_given_up(ends: tuple[SupervisorEnd, WebEnd]) -> None:
    supervisor, web = ends
    first, second = socket.socketpair(), socket.socketpair()
    with first[1], second[1]:
        assert supervisor.offer("host-1", Duty.PAIRS, 1, first[0])
        offering = asyncio.create_task(web.offered())
        async with asyncio.timeout(SECONDS):
            with no_more_descriptors():
                assert await supervisor.lost() == "host-1"
            assert supervisor.offer("host-2", Duty.PAIRS, 1, second[0])
            offered = await offering
        assert offered is not None
        assert offered.host == "host-2"
        offered.socket.close()


async def test_an_offer_that_is_none_is_passed_over() -> None:
    theirs, ours = control_pair()
    web = WebEnd(ours)
    first, second = socket.socketpair(), socket.socketpair()
    with theirs:
        socket.send_fds(theirs, [b"junk"], [first[0].fileno()])
        first[0].close()
        nothing = os.open(os.devnull, os.O_RDONLY)  # a descriptor, and no socket
        socket.send_fds(theirs, [OFFER % b"host-1"], [nothing])
        os.close(nothing)
        socket.send_fds(theirs, [OFFER % b"host-2"], [second[0].fileno()])
        second[0].close()
        async with asyncio.timeout(SECONDS):
            offered = await web.offered()
        assert offered is not None
        assert offered.host == "host-2"
        theirs.settimeout(SECONDS)
        assert theirs.recv(100) == LOST
        for each in (first[1], second[1]):
            each.settimeout(SECONDS)
        offered.socket.close()
        assert [each.recv(1) for each in (first[1], second[1])] == [b"", b""]
        first[1].close()
        second[1].close()
        web.close()


async def test_who_waits_for_a_packet_when_its_end_is_closed_is_told(ends: tuple[SupervisorEnd, WebEnd]) -> None:
    supervisor, _ = ends
    waiting = asyncio.create_task(supervisor.lost())
    await asyncio.sleep(0)
    supervisor.close()
    async with asyncio.timeout(SECONDS):
        assert await waiting is None
