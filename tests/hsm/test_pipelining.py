"""Calls that are sent ahead to a host at work, and answers that come together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from hsmkms.core.errors import InternalFault, TokenGaveNoAnswer, TokenNotAsked
from hsmkms.core.ids import PairId
from hsmkms.core.material import Edition, SealedMaterial
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import of_pair
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm import frames, messages
from hsmkms.hsm.client import HostPool, PoolLimits
from hsmkms.hsm.host import departures
from hsmkms.hsm.host.departures import Departures
from hsmkms.hsm.messages import Fault, FaultKind, Reply
from hsmkms.hsm.parts import Identity
from hsmkms.hsm.pipelining import LIGHT, MOST_HELD, most_begun
from hsmkms.hsm.seats import MOST_AHEAD
from tests.contract.hsm_contract import owner_of
from tests.hsm.played import PlayedHost, end_of_play
from tests.hsm.tokens import planned
from tests.hsm.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.hsm.conftest import Hosts

OWNER: Final = owner_of(Edition.FIPS)
PAIR: Final = of_pair(PairId("p"), Edition.FIPS)
SEALED: Final = messages.MaterialSealed(record=b"r", fingerprint_algorithm="a", fingerprint=b"f")
QUICK: Final = 100
"""Microseconds."""
AS_AN_IMPORT: Final = 1100
AS_A_NETWORK_HSM: Final = 20_000
SHORT: Final = 0.05
SECONDS: Final = 5


class Play:
    """A pool and its played hosts, which have said how long a call takes them."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.hosts: list[PlayedHost] = []
        self.pool = self.pool_with()

    def pool_with(self, *, queue: float = SECONDS, verb: float = SECONDS) -> HostPool:
        limits = PoolLimits(queue_seconds=queue, verb_timeout_seconds=verb)
        self.pool = HostPool(planned(Edition.FIPS), limits, self.lost.append)
        return self.pool

    async def join(self, microseconds: int | None, *, sessions: int = 1) -> PlayedHost:
        host = PlayedHost(f"host {len(self.hosts)}")
        self.hosts.append(host)
        adding = asyncio.ensure_future(self.pool.add(host.name, host.ours, sessions=sessions))
        host.answer(await host.receive(), messages.Attached())
        await adding
        call = self.generate()
        host.answer(await host.receive(), SEALED, microseconds)
        await call
        return host

    def generate(self) -> asyncio.Task[SealedMaterial]:
        return asyncio.ensure_future(self.pool.generate_material(OWNER))

    def encrypt(self) -> asyncio.Task[bytes]:
        return asyncio.ensure_future(self.pool.encrypt(HeldMaterial(OWNER, b"record"), Plaintext(b"p"), b""))


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    made = Play()
    yield made
    await end_of_play(made.pool, made.hosts)


async def nothing_more(host: PlayedHost) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT):
            await host.receive()


async def outcomes(calls: list[asyncio.Task[SealedMaterial]] | list[asyncio.Task[bytes]]) -> list[type]:
    async with asyncio.timeout(SECONDS):
        return [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)]


# --- how many ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("microseconds", "sessions", "most"),
    [
        pytest.param(None, 1, 1, id="nothing is known yet"),
        pytest.param(QUICK, 1, 1 + MOST_AHEAD, id="quick"),
        pytest.param(AS_AN_IMPORT, 1, 5, id="imports"),
        pytest.param(AS_A_NETWORK_HSM, 1, 1, id="a network HSM"),
        pytest.param(AS_A_NETWORK_HSM, 4, 4, id="a network HSM with sessions"),
    ],
)
async def test_a_host_is_sent_ahead_what_it_will_soon_begin(
    play: Play, microseconds: int | None, sessions: int, most: int
) -> None:
    host = await play.join(microseconds, sessions=sessions)
    calls = [play.generate() for _ in range(most + 1)]
    requests = [await host.receive() for _ in range(most)]
    await nothing_more(host)
    host.answer(requests[0], SEALED, microseconds)
    requests.append(await host.receive())
    for request in requests[1:]:
        host.answer(request, SEALED, microseconds)
    assert await outcomes(calls) == [SealedMaterial] * (most + 1)


async def test_a_host_that_became_slow_is_sent_less_ahead(play: Play) -> None:
    host = await play.join(QUICK)
    for _ in range(20):
        call = play.generate()
        host.answer(await host.receive(), SEALED, AS_A_NETWORK_HSM)
        await call
    calls = [play.generate() for _ in range(2)]
    request = await host.receive()
    await nothing_more(host)
    host.answer(request, SEALED)
    host.answer(await host.receive(), SEALED)
    await outcomes(calls)


async def test_an_idle_host_is_asked_before_anything_is_sent_ahead(play: Play) -> None:
    busy, idle = await play.join(QUICK), await play.join(QUICK)
    calls = [play.generate() for _ in range(2)]
    first, second = await busy.receive(), await idle.receive()
    for _ in range(3):
        idle.answer(second, SEALED, QUICK)
        await calls[-1]
        calls.append(play.generate())
        second = await idle.receive()
    calls.append(play.generate())
    for host, request in ((idle, second), (busy, first), (busy, await busy.receive())):
        host.answer(request, SEALED, QUICK)
    assert await outcomes(calls) == [SealedMaterial] * 6


async def test_answers_in_one_piece_are_those_of_their_calls(play: Play) -> None:
    host = await play.join(QUICK)
    calls = [play.generate() for _ in range(5)]
    requests = [await host.receive() for _ in calls]
    records = [b"%d" % number for number in range(5)]
    replies = [
        Reply(
            number=each.number,
            answer=messages.MaterialSealed(record=record, fingerprint_algorithm="a", fingerprint=b""),
        )
        for each, record in zip(requests, records, strict=True)
    ]
    host.send(b"".join(map(frames.frame, replies)))
    assert [each.record for each in await asyncio.gather(*calls)] == records


# --- hosts that end ------------------------------------------------------------------------------------


async def test_what_a_lost_host_had_not_begun_is_asked_of_another(play: Play) -> None:
    ending = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(3)]
    for _ in calls:
        await ending.receive()
    sound = await play.join(None)
    ending.hang_up()
    for _ in calls[1:]:
        sound.answer(await sound.receive(), SEALED)
    assert await outcomes(calls) == [TokenGaveNoAnswer, SealedMaterial, SealedMaterial]
    assert play.lost == [ending.name]


async def test_of_light_calls_those_may_have_begun_whose_answers_may_be_held(play: Play) -> None:
    ending = await play.join(QUICK)
    calls = [play.encrypt() for _ in range(MOST_HELD + 3)]
    for _ in calls:
        await ending.receive()
    sound = await play.join(None)
    ending.hang_up()
    for _ in range(2):
        sound.answer(await sound.receive(), messages.Encrypted(ciphertext=b"c"))
    assert await outcomes(calls) == [TokenGaveNoAnswer] * (MOST_HELD + 1) + [bytes] * 2


async def test_an_answer_that_was_given_counts_though_the_host_is_gone_when_it_is_asked_more(play: Play) -> None:
    ending = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(2)]
    requests = [await ending.receive() for _ in calls]
    ending.answer(requests[0], SEALED)
    ending.shut_down()
    seat = play.pool._seats[ending.name]
    seat.channel.start(messages.Random(size=1), messages.RandomMade, SECONDS)
    seat.channel._send_together()  # our end finds out as it sends, before it reads
    assert await outcomes(calls) == [SealedMaterial, TokenGaveNoAnswer]


async def test_what_waits_behind_a_call_that_hangs_is_asked_of_another(play: Play) -> None:
    play.pool_with(verb=SHORT)
    hanging = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(2)]
    for _ in calls:
        await hanging.receive()
    play.pool._limits = PoolLimits(queue_seconds=SECONDS, verb_timeout_seconds=SECONDS)
    sound = await play.join(None)
    sound.answer(await sound.receive(), SEALED)
    assert await outcomes(calls) == [TokenGaveNoAnswer, SealedMaterial]
    assert play.lost == [hanging.name]


async def test_a_call_that_hangs_when_the_one_before_it_is_answered_is_noticed(play: Play) -> None:
    play.pool_with(verb=SHORT)
    host = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(2)]
    requests = [await host.receive() for _ in calls]
    host.answer(requests[0], SEALED, AS_AN_IMPORT)
    assert await outcomes(calls) == [SealedMaterial, TokenGaveNoAnswer]
    assert play.lost == [host.name]


async def test_an_answer_that_nobody_had_time_to_read_is_no_reason_to_give_a_host_up(play: Play) -> None:
    host = await play.join(AS_AN_IMPORT)
    call = play.generate()
    request = await host.receive()
    channel = play.pool._seats[host.name].channel
    (waiting,) = channel._calls.values()
    waiting.seconds = 0.0
    host.answer(request, SEALED)
    channel._look_at_deadlines()
    assert await outcomes([call]) == [SealedMaterial]
    assert play.lost == []


async def test_a_call_has_its_whole_time_from_when_the_one_before_it_is_answered(play: Play) -> None:
    play.pool_with(verb=0.4)
    host = await play.join(AS_AN_IMPORT)
    loop = asyncio.get_running_loop()
    calls = [play.generate() for _ in range(3)]
    requests = [await host.receive() for _ in calls]
    began = loop.time()
    for number, request in enumerate(requests, start=1):
        await until(lambda number=number: loop.time() > began + 0.25 * number)  # type: ignore[misc]
        host.answer(request, SEALED, AS_AN_IMPORT)
    assert await outcomes(calls) == [SealedMaterial] * 3


async def test_a_call_is_not_asked_of_one_host_after_the_other_without_end(play: Play) -> None:
    hosts = [await play.join(AS_AN_IMPORT) for _ in range(3)]
    begun = [play.generate() for _ in hosts]
    for host in hosts:
        await host.receive()
    behind = play.generate()
    for host in hosts[:-1]:
        await host.receive()
        host.hang_up()
    await hosts[-1].receive()
    sound = await play.join(None)
    hosts[-1].hang_up()
    assert await outcomes([*begun, behind]) == [*[TokenGaveNoAnswer] * 3, TokenNotAsked]
    await nothing_more(sound)


async def test_a_call_that_nobody_waits_for_any_more_is_not_asked_of_another(play: Play) -> None:
    ending = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(2)]
    for _ in calls:
        await ending.receive()
    calls[1].cancel()
    await asyncio.gather(calls[1], return_exceptions=True)
    sound = await play.join(None)
    ending.hang_up()
    await outcomes(calls)
    await nothing_more(sound)


async def test_a_host_that_says_it_ends_begins_no_more(play: Play) -> None:
    ending = await play.join(QUICK)
    calls = [play.encrypt() for _ in range(3)]
    requests = [await ending.receive() for _ in calls]
    sound = await play.join(None)
    ending.answer(requests[0], Fault(kind=FaultKind.SICK))
    for _ in calls[1:]:
        sound.answer(await sound.receive(), messages.Encrypted(ciphertext=b"c"))
    assert await outcomes(calls) == [TokenGaveNoAnswer, bytes, bytes]


MALFORMED: Final = frames.LENGTH.pack(1) + b"\xc1"


@pytest.mark.parametrize("which", ["malformed", "never asked", "answered twice", "not sent yet"])
async def test_of_a_host_that_talks_nonsense_all_calls_may_have_begun(play: Play, which: str) -> None:
    play.pool_with(queue=SHORT)
    host = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(3)]
    requests = [await host.receive() for _ in calls]
    answered = [SealedMaterial] if which == "answered twice" else []
    channel = play.pool._seats[host.name].channel
    unsent: list[asyncio.Future[messages.RandomMade]] = []
    if which == "not sent yet":
        unsent = [channel.start(messages.Random(size=1), messages.RandomMade, SECONDS)]
    for _ in answered:
        host.answer(requests[0], SEALED)
    number = {"never asked": 1000, "answered twice": requests[0].number, "not sent yet": max(channel._calls)}.get(which)
    nonsense = MALFORMED if number is None else frames.frame(Reply(number=number, answer=SEALED))
    host.send(nonsense)
    channel._look_at_deadlines()
    assert play.lost == [host.name]
    assert await outcomes(calls) == answered + [TokenGaveNoAnswer] * (len(calls) - len(answered))
    assert [type(each) for each in await asyncio.gather(*unsent, return_exceptions=True)] == [TokenNotAsked] * len(
        unsent
    )


async def test_behind_an_answer_of_the_wrong_kind_all_calls_may_have_begun(play: Play) -> None:
    play.pool_with(queue=SHORT)
    host = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(3)]
    requests = [await host.receive() for _ in calls]
    host.answer(requests[0], messages.RandomMade(content=b"r"))
    assert await outcomes(calls) == [InternalFault, TokenGaveNoAnswer, TokenGaveNoAnswer]


async def test_a_host_that_is_given_up_can_answer_no_more_and_what_it_answered_counts(play: Play) -> None:
    play.pool_with(queue=SHORT)
    host = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(3)]
    requests = [await host.receive() for _ in calls]
    host.answer(requests[0], SEALED)
    play.pool._seats[host.name].channel.give_up()
    assert host.cannot_send(), "so it begins nothing before which it must answer"
    assert await outcomes(calls) == [SealedMaterial, TokenGaveNoAnswer, TokenNotAsked]


async def test_what_was_never_written_cannot_have_begun(play: Play) -> None:
    host = await play.join(QUICK)
    channel = play.pool._seats[host.name].channel
    calls = [channel.start(messages.Random(size=1), messages.RandomMade, SECONDS) for _ in range(3)]
    channel.give_up()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in ends] == [TokenGaveNoAnswer, TokenNotAsked, TokenNotAsked]


async def test_who_was_given_a_place_at_a_host_that_went_asks_another(play: Play) -> None:
    going, sound = await play.join(AS_A_NETWORK_HSM), await play.join(AS_A_NETWORK_HSM)
    begun = [play.generate() for _ in range(2)]
    await going.receive()
    request = await sound.receive()
    third = play.generate()
    await asyncio.sleep(0)
    seat = play.pool._seats[going.name]
    seat.sessions = 2
    play.pool._offer(seat)  # the third has its place now, and has not run yet
    seat.channel.give_up()
    sound.answer(request, SEALED)
    sound.answer(await sound.receive(), SEALED)
    assert await outcomes([*begun, third]) == [TokenGaveNoAnswer, SealedMaterial, SealedMaterial]


async def test_when_the_pool_is_closed_nobody_waits_for_a_host_any_more(play: Play) -> None:
    host = await play.join(AS_AN_IMPORT)
    calls = [play.generate() for _ in range(9)]  # one begins, some are sent ahead, some wait
    await host.receive()
    await play.pool.close()
    async with asyncio.timeout(SECONDS / 2):
        ends = await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(TokenNotAsked):
            await play.generate()
    assert [type(each) for each in ends] == [TokenGaveNoAnswer] + [TokenNotAsked] * 8


async def test_hosts_adopt_one_after_the_other_and_are_asked_nothing_meanwhile(play: Play) -> None:
    hosts = [await play.join(AS_AN_IMPORT) for _ in range(2)]
    adopting = asyncio.ensure_future(play.pool.adopt(planned(Edition.FIPS)))
    for host, other in (hosts, hosts[::-1]):
        told = await host.receive()
        assert isinstance(told.verb, messages.Adopt)
        calls = [play.generate() for _ in range(6)]  # one more than there is room for at the other
        requests = [await other.receive() for _ in calls[1:]]
        await nothing_more(host)
        host.answer(told, messages.Attached())
        host.answer(await host.receive(), SEALED, AS_AN_IMPORT)
        for request in requests:
            assert isinstance(request.verb, messages.GenerateMaterial)
            other.answer(request, SEALED, AS_AN_IMPORT)
        assert await outcomes(calls) == [SealedMaterial] * len(calls)
    await adopting


@pytest.mark.parametrize(
    ("verbs", "sessions", "most"),
    [
        pytest.param([messages.ImportMaterial] * 3, 1, 1, id="imports"),
        pytest.param([messages.Encrypt] * 9, 1, 1 + MOST_HELD, id="light ones"),
        pytest.param([messages.Encrypt, messages.Decrypt, messages.ImportMaterial], 1, 2, id="light, then an import"),
        pytest.param([messages.ImportMaterial, messages.Encrypt], 1, 1, id="an import, then a light one"),
        pytest.param([messages.Encrypt] * 9, 2, 2, id="two sessions"),
        pytest.param([], 1, 1, id="none"),
    ],
)
def test_how_many_calls_can_have_begun(verbs: list[type[messages.Verb]], sessions: int, most: int) -> None:
    assert most_begun(verbs, sessions) == most


# --- the host's end ------------------------------------------------------------------------------------

LIGHT_VERB: Final = messages.Random(size=1)
HEAVY_VERB: Final = messages.GenerateMaterial(owner=Identity.of(OWNER))
REPLIES: Final = [Reply(number=number, answer=messages.Decryptable()) for number in range(MOST_HELD + 2)]


class Left(BaseException):
    """In place of the end of the process."""


def leave() -> NoReturn:
    raise Left


class Ends:
    """The caller's end of a socket, and what a host answers over the other."""

    def __init__(self) -> None:
        self.caller, self.host = socket.socketpair()
        self.caller.setblocking(False)
        self.departures = Departures(self.host, leave, sessions=1)

    @property
    def came(self) -> int:
        """How many answers came since the last look."""
        stream, count = frames.Stream(), 0
        try:
            stream.add(self.caller.recv(1 << 16))
        except BlockingIOError:
            return 0
        while stream.next() is not None:
            count += 1
        return count


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    monkeypatch.setattr(departures, "HELD_SECONDS", SECONDS)
    made = Ends()
    yield made
    made.caller.close()
    made.host.close()


def test_answers_are_held_while_light_requests_are_at_hand(ends: Ends) -> None:
    for reply in REPLIES[:MOST_HELD]:
        ends.departures.send_or_hold(LIGHT_VERB, reply)
        ends.departures.make_way(LIGHT_VERB)
        assert ends.came == 0
    ends.departures.send_or_hold(LIGHT_VERB, REPLIES[MOST_HELD])
    ends.departures.make_way(LIGHT_VERB)
    assert ends.came == MOST_HELD + 1


def test_nothing_is_held_while_anything_else_is_begun(ends: Ends) -> None:
    ends.departures.send_or_hold(LIGHT_VERB, REPLIES[0])
    ends.departures.make_way(HEAVY_VERB)
    assert ends.came == 1


def test_an_answer_to_anything_else_is_not_held(ends: Ends) -> None:
    ends.departures.send_or_hold(HEAVY_VERB, REPLIES[0])
    assert ends.came == 1


def test_with_several_sessions_nothing_is_held(ends: Ends) -> None:
    Departures(ends.host, leave, sessions=2).send_or_hold(LIGHT_VERB, REPLIES[0])
    assert ends.came == 1


def test_nothing_is_held_for_long(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "HELD_SECONDS", 0)
    ends.departures.send_or_hold(LIGHT_VERB, REPLIES[0])
    ends.departures.make_way(LIGHT_VERB)
    assert ends.came == 1


def test_what_took_long_is_not_held(ends: Ends) -> None:
    slow = Reply(number=1, answer=messages.Decryptable(), microseconds=SECONDS * 1_000_000 + 1)
    ends.departures.send_or_hold(LIGHT_VERB, slow)
    ends.departures.make_way(LIGHT_VERB)
    assert ends.came == 1


def test_what_is_held_goes_before_what_is_sent(ends: Ends) -> None:
    ends.departures.send_or_hold(LIGHT_VERB, REPLIES[0])
    ends.departures.send(REPLIES[1])
    assert ends.came == 2
    ends.departures.send_held()
    assert ends.came == 0


def test_who_cannot_answer_ends(ends: Ends) -> None:
    ends.caller.close()
    with pytest.raises(Left):
        ends.departures.send(REPLIES[0])


# --- real hosts ----------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="session")
async def test_a_killed_host_s_second_import_is_made_by_another(hosts: Hosts) -> None:
    stopped = await hosts.add()
    pool = hosts.pool
    await pool.generate_material(OWNER)
    (seat,) = pool._seats.values()
    seat.pace = AS_AN_IMPORT / 1_000_000  # whatever this machine is at
    os.kill(stopped.pid, signal.SIGSTOP)
    calls = [asyncio.ensure_future(pool.generate_material(OWNER)) for _ in range(2)]
    await until(lambda: seat.taken == len(calls))
    await hosts.add()
    stopped.kill()
    assert await outcomes(calls) == [TokenGaveNoAnswer, SealedMaterial]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_host_does_all_that_was_sent_together(hosts: Hosts) -> None:
    await hosts.add()
    pool = hosts.pool
    sealed = await pool.generate_material(OWNER)
    held = HeldMaterial(OWNER, sealed.record)
    (seat,) = pool._seats.values()
    seat.pace = QUICK / 1_000_000
    calls = [asyncio.ensure_future(pool.encrypt(held, Plaintext(b"%d" % number), b"")) for number in range(6)]
    heavy = asyncio.ensure_future(pool.generate_material(OWNER))
    ciphertexts = await asyncio.gather(*calls)
    opened = [await pool.decrypt(held, each, b"") for each in ciphertexts]
    assert [each.reveal() for each in opened] == [b"%d" % number for number in range(6)]
    await heavy


@pytest.mark.asyncio(loop_scope="session")
async def test_an_answer_does_not_wait_for_what_takes_long(hosts: Hosts) -> None:
    await hosts.add()
    (seat,) = hosts.pool._seats.values()
    random, pair = messages.Random(size=1), messages.MakePair(identity=Identity.of(PAIR), bits=2048)
    # The first is sent at once, the others together behind it.
    _, second = [seat.channel.start(random, messages.RandomMade, SECONDS) for _ in range(2)]
    making = seat.channel.start(pair, messages.PairMade, 60)
    await second
    assert not making.done()
    await making


def test_every_light_verb_answers_without_an_effect_that_outlives_it() -> None:
    assert not LIGHT & {messages.ImportMaterial, messages.GenerateMaterial, messages.MakePair, messages.Probe}
