from __future__ import annotations

import math
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pkcs11 import exceptions as ckr

from hsmkms.core.ids import PairId
from hsmkms.core.material import Edition
from hsmkms.core.records import of_pair
from hsmkms.hsm import frames, messages
from hsmkms.hsm.host.kept import Kept
from hsmkms.hsm.host.serving import Host
from hsmkms.hsm.host.workbench import UNSEALED_KEPT_SECONDS, Workbench
from hsmkms.hsm.messages import Request
from hsmkms.hsm.settings import HostSettings


@dataclass
class Handle:
    """Stands for an object of the token, which must be destroyed once."""

    destroyed: bool = False

    def destroy(self) -> None:
        assert not self.destroyed
        self.destroyed = True


class Hand:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


IDENTITY = of_pair(PairId("one"), Edition.FIPS)


def put(kept: Kept[Handle], record: bytes) -> Handle:
    handle = Handle()
    kept.keep(IDENTITY, record, handle)
    return handle


def test_what_was_not_used_longest_makes_room_and_is_destroyed() -> None:
    kept: Kept[Handle] = Kept(2, math.inf)
    first, second = put(kept, b"1"), put(kept, b"2")
    assert kept.get(IDENTITY, b"1") is first
    third = put(kept, b"3")
    assert (first.destroyed, second.destroyed, third.destroyed) == (False, True, False)
    assert kept.get(IDENTITY, b"2") is None
    assert len(kept) == 2


def test_an_object_is_found_by_identity_and_record_together() -> None:
    kept: Kept[Handle] = Kept(2, math.inf)
    first = put(kept, b"1")
    assert kept.get(IDENTITY, b"1") is first
    assert kept.get(IDENTITY, b"2") is None
    assert kept.get(of_pair(PairId("two"), Edition.FIPS), b"1") is None


def test_what_is_forgotten_or_replaced_is_destroyed() -> None:
    kept: Kept[Handle] = Kept(2, math.inf)
    first = put(kept, b"1")
    second = put(kept, b"1")
    assert (first.destroyed, second.destroyed, len(kept)) == (True, False, 1)
    kept.forget(IDENTITY, b"1")
    kept.forget(IDENTITY, b"1")
    assert (second.destroyed, len(kept)) == (True, 0)


def test_nothing_is_kept_longer_than_it_may_be_however_often_it_is_used() -> None:
    clock = Hand()
    kept: Kept[Handle] = Kept(9, 60, clock)
    first = put(kept, b"1")
    clock.now = 59.9
    second = put(kept, b"2")
    assert kept.get(IDENTITY, b"1") is first
    clock.now = 60
    assert kept.get(IDENTITY, b"1") is None
    assert (first.destroyed, second.destroyed, len(kept)) == (True, False, 1)
    clock.now = 119.8
    kept.drop_overdue()
    assert not second.destroyed
    clock.now = 120
    kept.drop_overdue()
    assert (second.destroyed, len(kept)) == (True, 0)


def test_it_is_known_how_long_nothing_is_overdue() -> None:
    clock = Hand()
    kept: Kept[Handle] = Kept(9, 60, clock)
    assert kept.seconds_left == math.inf
    put(kept, b"1")
    clock.now = 20
    put(kept, b"2")
    assert kept.seconds_left == 40
    clock.now = 61
    assert kept.seconds_left == 0
    kept.drop_overdue()
    assert kept.seconds_left == 19


def bench_of(materials: Kept[Handle], pairs: Kept[Handle]) -> Workbench:
    return cast("Workbench", SimpleNamespace(materials=materials, pairs=pairs))


def test_neither_material_nor_a_pair_is_kept_without_end() -> None:
    bench = Workbench(*(cast("Any", None) for _ in range(4)))
    for kept in (bench.materials, bench.pairs):
        kept.keep(IDENTITY, b"1", cast("Any", Handle()))
        assert 0 < kept.seconds_left <= UNSEALED_KEPT_SECONDS == 60


@pytest.mark.parametrize("asks_for", ["materials", "pairs"])
def test_an_idle_session_destroys_each_object_when_its_time_is_over(asks_for: str) -> None:
    short: Kept[Handle] = Kept(9, 0.05)
    long: Kept[Handle] = Kept(9, 3600)
    bench = bench_of(*((short, long) if asks_for == "materials" else (long, short)))
    ours, theirs = socket.socketpair()
    settings = HostSettings(module="", token_label="", pin_file="", edition=Edition.FIPS)
    host = Host(theirs, settings, [cast("Any", None)], cast("Any", None))
    gone, stays = put(short, b"1"), put(long, b"2")
    request = Request(number=1, verb=messages.Probe())
    with ours, theirs, ThreadPoolExecutor(1) as executor:
        taken = executor.submit(host._next, bench)
        try:
            deadline = time.monotonic() + 5
            while not gone.destroyed and time.monotonic() < deadline:
                with suppress(FutureTimeout):
                    taken.result(0.005)
        finally:
            ours.sendall(frames.frame(request))
        assert taken.result(5) == request
    assert (gone.destroyed, stays.destroyed) == (True, False)


class Stubborn(Handle):
    """An object that the token does not destroy."""

    def destroy(self) -> None:
        super().destroy()
        raise ckr.GeneralError


def test_what_the_token_does_not_destroy_keeps_nothing_else_alive() -> None:
    clock = Hand()
    materials: Kept[Handle] = Kept(9, 60, clock)
    pairs: Kept[Handle] = Kept(9, 60, clock)
    materials.keep(IDENTITY, b"1", Stubborn())
    pair = put(pairs, b"1")
    clock.now = 60
    Host._tidy(bench_of(materials, pairs))
    assert pair.destroyed


def test_a_session_is_tidied_again_after_the_token_did_not_destroy_an_object() -> None:
    clock = Hand()
    kept: Kept[Handle] = Kept(9, 60, clock)
    bench = bench_of(kept, Kept(9, 60, clock))
    handles = [Stubborn(), Stubborn(), Handle()]
    for number, handle in enumerate(handles):
        kept.keep(IDENTITY, bytes((number,)), handle)
    clock.now = 60
    for _ in handles:
        Host._tidy(bench)
    assert all(handle.destroyed for handle in handles)
    assert len(kept) == 0
