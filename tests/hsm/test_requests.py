"""How requests reach the threads of a host, in whatever pieces the socket brings them."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

import pytest

from hsmkms.hsm import frames, messages
from hsmkms.hsm.host.arrivals import Arrivals
from hsmkms.hsm.messages import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = [Request(number=number, verb=messages.Random(size=1)) for number in range(5)]
SHORT = 0.01
SECONDS = 5


class Left(BaseException):
    """In place of the end of the process."""


def leave() -> NoReturn:
    raise Left


class Ends:
    """The caller's end of a socket, and what a host has of the other."""

    def __init__(self) -> None:
        self.caller, self.host = socket.socketpair()
        self.arrivals = Arrivals(self.host, leave)

    def close(self) -> None:
        self.caller.close()
        self.host.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_requests_that_come_together_are_taken_one_by_one(ends: Ends) -> None:
    ends.caller.sendall(b"".join(map(frames.frame, REQUESTS)))
    assert [ends.arrivals.next(SECONDS) for _ in REQUESTS] == REQUESTS
    assert ends.arrivals.next(SHORT) is None


def test_a_request_that_comes_in_pieces_is_whole(ends: Ends) -> None:
    stream = b"".join(map(frames.frame, REQUESTS[:2]))
    for cut in range(1, len(stream)):
        ends.caller.sendall(stream[:cut])
        taken = [ends.arrivals.next(0) for _ in range(2)]
        ends.caller.sendall(stream[cut:])
        taken += [ends.arrivals.next(0) for _ in range(2)]
        assert [each for each in taken if each is not None] == REQUESTS[:2]


def test_nothing_more_is_read_while_a_request_is_at_hand(ends: Ends) -> None:
    ends.caller.sendall(frames.frame(REQUESTS[0]) + frames.frame(REQUESTS[1]))
    assert ends.arrivals.next(SECONDS) == REQUESTS[0]
    ends.caller.sendall(frames.frame(REQUESTS[2]))
    assert ends.arrivals.next(SECONDS) == REQUESTS[1]
    assert ends.host.recv(1 << 16) == frames.frame(REQUESTS[2])


def test_nothing_of_a_request_stays_when_it_was_taken(ends: Ends) -> None:
    ends.caller.sendall(b"".join(map(frames.frame, REQUESTS)))
    for _ in REQUESTS:
        ends.arrivals.next(SECONDS)
    assert not ends.arrivals._received._received  # such as the plaintext to encrypt


def test_threads_share_what_comes(ends: Ends) -> None:
    with ThreadPoolExecutor(len(REQUESTS)) as executor:
        waiting = [executor.submit(ends.arrivals.next, SECONDS) for _ in REQUESTS]
        for request in REQUESTS:
            ends.caller.sendall(frames.frame(request))
        taken = [each.result(SECONDS) for each in waiting]
    assert sorted(each.number for each in taken if each is not None) == [each.number for each in REQUESTS]


def test_a_thread_behind_one_that_reads_waits_no_longer_than_it_may(ends: Ends) -> None:
    began = threading.Event()

    def first() -> Request | None:
        began.set()
        return ends.arrivals.next(SECONDS)

    with ThreadPoolExecutor(1) as executor:
        reading = executor.submit(first)
        began.wait(SECONDS)
        assert ends.arrivals.next(SHORT) is None
        ends.caller.sendall(frames.frame(REQUESTS[0]))
        assert reading.result(SECONDS) == REQUESTS[0]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(frames.LENGTH.pack(1) + b"\xc1", id="no MessagePack"),
        pytest.param(frames.LENGTH.pack(4) + b"\x81\xa1\xff\x01", id="no UTF-8"),
        pytest.param(frames.LENGTH.pack(frames.MAX_FRAME_BYTES + 1), id="too large"),
        pytest.param(b"", id="the end"),
        pytest.param(frames.frame(REQUESTS[0])[:-1], id="the end within a request"),
    ],
)
def test_what_is_no_request_ends_the_process(ends: Ends, said: bytes) -> None:
    ends.caller.sendall(said)
    ends.caller.shutdown(socket.SHUT_WR)
    with pytest.raises(Left):
        ends.arrivals.next(SECONDS)
