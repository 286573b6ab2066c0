"""The socket between supervisor and web process."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from hsmkms.hsm.handover import SupervisorEnd, WebEnd, control_pair
from hsmkms.hsm.settings import Duty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = 10


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
