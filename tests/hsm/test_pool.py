"""The async side alone, against a host played by the test."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.ciphertexts import MOST_CIPHERTEXT_BYTES, MOST_CONTEXT_BYTES, CipherAlgorithm
from hsmkms.core.errors import (
    CiphertextInvalid,
    HsmkmsError,
    InternalFault,
    MaterialLengthWrong,
    MaterialUndecryptable,
    NotTransferable,
    RecordBroken,
    TokenGaveNoAnswer,
    TokenNotAsked,
    TokenUnusable,
)
from hsmkms.core.ids import AccessId, PairId
from hsmkms.core.material import Edition
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import of_credential, of_pair
from hsmkms.core.secrets import Plaintext, SecretKey
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm import frames, messages
from hsmkms.hsm.channel import MOST_AT_ONCE, HostChannel, error_of
from hsmkms.hsm.client import HostPool, PoolLimits
from hsmkms.hsm.messages import Fault, FaultKind, Reply
from hsmkms.hsm.report import AlgorithmFinding, CipherFinding, TokenDescription, TokenReport
from hsmkms.hsm.settings import Duty
from hsmkms.log import REQUEST_ID
from tests.contract.hsm_contract import ALICE, owner_of
from tests.hsm.played import PlayedHost, end_of_play
from tests.hsm.tokens import planned
from tests.hsm.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OWNER = owner_of(Edition.FIPS)
SEALED = messages.MaterialSealed(record=b"r", fingerprint_algorithm="a", fingerprint=b"f")
PAIR = messages.PairMade(public_key=b"k", record=b"r")
ATTACHED = messages.Attached()
OAEP = WrappingAlgorithm.RSAES_OAEP_SHA_1
GCM = CipherAlgorithm.AES_256_GCM
ABLE = messages.Attached(algorithms=frozenset({OAEP}), ciphers=frozenset({GCM}))
REPORT = TokenReport(
    token=TokenDescription(
        label="l",
        serial="s",
        manufacturer="m",
        model="m",
        module="m",
        module_description="m",
        module_version="1",
        profile="p",
    ),
    edition=Edition.FIPS,
    algorithms=(AlgorithmFinding(algorithm=OAEP, works=True, why_not="", damaged="", lengths=()),),
    ciphers=(CipherFinding(algorithm=GCM, works=True, why_not=""),),
    checks=(),
    value_len="",
    fingerprint_algorithm="",
    fingerprint_note="",
)
"""Of a token that does one wrapping algorithm and the cipher."""


class Play:
    """A pool and its played hosts."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.hosts: list[PlayedHost] = []
        self.pool = self.pool_with()

    def pool_with(self, *, probe_first: bool = False, queue: float = 5, verb: float = 5) -> HostPool:
        limits = PoolLimits(queue_seconds=queue, verb_timeout_seconds=verb, pair_timeout_seconds=verb)
        self.pool = HostPool(planned(Edition.FIPS), limits, self.lost.append, probe_first=probe_first)
        return self.pool

    async def join(
        self, *, sessions: int = 1, duties: frozenset[Duty] = frozenset(Duty), attached: messages.Attached = ATTACHED
    ) -> PlayedHost:
        host = PlayedHost(f"host {len(self.hosts)}")
        self.hosts.append(host)
        adding = asyncio.ensure_future(self.pool.add(host.name, host.ours, sessions=sessions, duties=duties))
        host.answer(await host.receive(), attached)
        await adding
        return host

    def generate(self) -> asyncio.Task[object]:
        return asyncio.ensure_future(self.pool.generate_material(OWNER))


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    made = Play()
    yield made
    await end_of_play(made.pool, made.hosts)


async def test_a_host_is_used_after_it_attached_and_not_before(play: Play) -> None:
    host = PlayedHost("host")
    play.hosts.append(host)
    adding = asyncio.ensure_future(play.pool.add("host", host.ours))
    attach = await host.receive()
    assert isinstance(attach.verb, messages.Attach)
    assert not play.pool.usable
    host.answer(attach, messages.Attached())
    await adding
    assert play.pool.usable


async def test_a_host_that_may_not_attach_is_closed_and_the_reason_is_raised(play: Play) -> None:
    host = PlayedHost("host")
    play.hosts.append(host)
    adding = asyncio.ensure_future(play.pool.add("host", host.ours))
    host.answer(await host.receive(), Fault(kind=FaultKind.UNUSABLE, message="because"))
    with pytest.raises(TokenUnusable, match="because"):
        await adding
    await host.hung_up_on()
    assert not play.pool.usable
    assert play.lost == []


async def test_of_a_request_that_is_not_sent_the_log_has_the_field_and_no_value(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    await play.join()
    material = HeldMaterial(OWNER, b"record")
    with caplog.at_level(logging.ERROR), pytest.raises(InternalFault):
        await play.pool.encrypt(material, Plaintext(b"x"), b"needle".ljust(MOST_CONTEXT_BYTES + 1))
    (logged,) = [record for record in caplog.records if record.message == "request beyond its bounds"]
    assert (logged.__dict__["verb"], logged.__dict__["field"]) == ("Encrypt", "$.verb.context")
    assert "needle" not in str(logged.__dict__)


async def test_a_host_has_at_most_as_many_calls_as_sessions(play: Play) -> None:
    host = await play.join(sessions=2)
    calls = [play.generate() for _ in range(3)]
    first, second = await host.receive(), await host.receive()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await host.receive()
    host.answer(second, SEALED)
    third = await host.receive()
    for request in (first, third):
        host.answer(request, SEALED)
    assert len(await asyncio.gather(*calls)) == 3


async def test_idle_hosts_are_called_in_turn(play: Play) -> None:
    hosts = [await play.join() for _ in range(3)]
    for host in hosts * 2:
        call = play.generate()
        host.answer(await host.receive(), SEALED)
        await call


async def test_a_host_is_read_in_pieces_that_leave_no_holes_in_the_heap() -> None:
    sizes: list[int] = []

    class Noting(HostChannel):
        def data_received(self, data: bytes) -> None:
            sizes.append(len(data))
            super().data_received(data)

    ours, its = socket.socketpair()
    with its:
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST_AT_ONCE)
        its.sendall(bytes(2 * MOST_AT_ONCE))  # in the socket before anybody reads
        channel = await Noting.open("host", ours)
        await until(lambda: bool(sizes))
        await channel.close()
    assert sizes[0] == MOST_AT_ONCE


async def test_answers_find_their_calls_in_any_order(play: Play) -> None:
    host = await play.join(sessions=2)
    calls = [play.generate(), asyncio.ensure_future(play.pool.make_pair(of_pair(PairId("p"), Edition.FIPS), 2048))]
    requests = [await host.receive(), await host.receive()]
    for request in reversed(requests):
        host.answer(request, SEALED if isinstance(request.verb, messages.GenerateMaterial) else PAIR)
    sealed, pair = await asyncio.gather(*calls)
    assert sealed.record == b"r"  # type: ignore[attr-defined]
    assert pair.pair_id == "p"  # type: ignore[attr-defined]


async def test_a_call_waits_for_a_host_that_joins(play: Play) -> None:
    call = play.generate()
    host = await play.join()
    host.answer(await host.receive(), SEALED)
    await call


async def test_a_call_does_not_wait_longer_than_the_queue_allows(play: Play) -> None:
    play.pool_with(queue=0.05)
    with pytest.raises(TokenNotAsked):
        await play.generate()


async def test_only_so_many_wait_for_a_host_and_who_went_is_not_kept(play: Play) -> None:
    limits = PoolLimits(queue_seconds=0.01, most_waiting=2)
    play.pool = HostPool(planned(Edition.FIPS), limits)
    for _ in range(3):  # no host comes who would clear them away
        waiting = [play.generate() for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [each.done() for each in waiting] == [False, False, True], "one too many is refused at once"
        fates = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in fates] == [TokenNotAsked] * 3


async def test_who_stops_waiting_takes_no_place_along(play: Play) -> None:
    host = await play.join()
    busy = play.generate()
    request = await host.receive()
    waiting = [play.generate() for _ in range(3)]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    host.answer(request, SEALED)
    await busy
    last = play.generate()
    host.answer(await host.receive(), SEALED)
    await last


async def test_a_place_that_comes_with_the_cancellation_goes_to_the_next(play: Play) -> None:
    host = await play.join()
    calls = [play.generate() for _ in range(3)]
    first = await host.receive()
    _, cancelled, last = calls
    (seat,) = play.pool._seats.values()
    seat.sessions = 2
    play.pool._offer(seat)  # the second call has its place now, and has not run yet
    cancelled.cancel()
    second = await host.receive()
    for request in (first, second):
        host.answer(request, SEALED)
    await last
    assert cancelled.cancelled()


async def test_a_place_is_free_only_when_the_host_is_done_even_if_nobody_waits(play: Play) -> None:
    host = await play.join()
    abandoned, next_call = play.generate(), play.generate()
    request = await host.receive()
    abandoned.cancel()
    await asyncio.gather(abandoned, return_exceptions=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await host.receive()
    host.answer(request, Fault(kind=FaultKind.RECORD_BROKEN))
    host.answer(await host.receive(), SEALED)
    await next_call


async def test_a_host_that_attaches_to_a_closed_pool_is_not_kept(play: Play) -> None:
    host = PlayedHost("late")
    play.hosts.append(host)
    adding = asyncio.ensure_future(play.pool.add("late", host.ours))
    request = await host.receive()
    await play.pool.close()
    host.answer(request, messages.Attached())
    with pytest.raises(TokenNotAsked):
        await adding
    await host.hung_up_on()


async def test_pairs_are_made_where_pairs_are_made(play: Play) -> None:
    operations = await play.join(duties=frozenset({Duty.OPERATIONS}))
    pairs = await play.join(duties=frozenset({Duty.PAIRS}))
    making = asyncio.ensure_future(play.pool.make_pair(of_pair(PairId("p"), Edition.FIPS), 2048))
    request = await pairs.receive()
    generating = play.generate()
    operations.answer(await operations.receive(), SEALED)
    await generating
    pairs.answer(request, PAIR)
    await making
    operations.hang_up()
    await pairs_only(play)


async def pairs_only(play: Play) -> None:
    await until(lambda: len(play.pool.hosts) == 1)
    assert not play.pool.usable


async def test_a_missed_deadline_ends_the_host_and_a_late_answer_is_nobody_s(play: Play) -> None:
    play.pool_with(verb=0.05)
    host = await play.join()
    call = play.generate()
    request = await host.receive()
    with pytest.raises(TokenGaveNoAnswer):
        await call
    assert play.lost == [host.name]
    host.answer(request, SEALED)
    await host.hung_up_on()
    assert play.pool.hosts == frozenset()


async def test_a_host_that_hangs_up_fails_its_own_calls_only(play: Play) -> None:
    first, second = await play.join(), await play.join()
    calls = [play.generate(), play.generate()]
    await first.receive()
    surviving = await second.receive()
    first.hang_up()
    second.answer(surviving, SEALED)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each).__name__ for each in outcomes] == ["TokenGaveNoAnswer", "SealedMaterial"]
    assert play.lost == [first.name]


async def test_a_sick_token_takes_its_host_out_at_once(play: Play) -> None:
    host = await play.join(sessions=2)
    calls = [play.generate(), play.generate()]
    request, _other = await host.receive(), await host.receive()
    host.answer(request, Fault(kind=FaultKind.SICK))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, TokenGaveNoAnswer) for each in outcomes)
    assert play.lost == [host.name]


@pytest.mark.parametrize("last", [Fault(kind=FaultKind.SICK), messages.SecretOpened(secret=b"s")])
async def test_who_waits_for_a_host_gets_none_that_is_given_up(play: Play, last: messages.Answer) -> None:
    ending, sound = await play.join(), await play.join()
    calls = [play.generate() for _ in range(3)]
    in_the_sound, in_the_ending = await sound.receive(), await ending.receive()
    ending.answer(in_the_ending, last)
    await until(lambda: play.lost == [ending.name])
    sound.answer(in_the_sound, SEALED)
    sound.answer(await sound.receive(), SEALED)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, HsmkmsError) for each in outcomes) == 1, outcomes


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(frames.LENGTH.pack(5) + b"\xc1\xc1\xc1\xc1\xc1", id="no MessagePack"),
        pytest.param(frames.LENGTH.pack(frames.MAX_FRAME_BYTES + 1), id="too large"),
    ],
)
async def test_a_host_that_talks_nonsense_is_given_up(play: Play, garbage: bytes) -> None:
    host = await play.join()
    call = play.generate()
    await host.receive()
    host.send(garbage)
    with pytest.raises(TokenGaveNoAnswer):
        await call
    assert play.lost == [host.name]


async def test_answers_that_come_together_or_in_pieces_are_whole(play: Play) -> None:
    host = await play.join(sessions=3)
    calls = [play.generate() for _ in range(3)]
    requests = [await host.receive() for _ in calls]
    stream = b"".join(frames.frame(Reply(number=each.number, answer=SEALED)) for each in requests)
    cut = len(stream) - 3
    host.send(stream[:cut])
    await until(calls[1].done)
    assert not calls[2].done()
    host.send(stream[cut:])
    await asyncio.gather(*calls)


async def test_a_deadline_that_is_nearer_than_those_before_is_kept(play: Play) -> None:
    host = await play.join(sessions=2)
    (seat,) = play.pool._seats.values()
    far = asyncio.ensure_future(seat.channel.call(messages.Probe(), messages.Probed, 60))
    await host.receive()
    near = seat.channel.call(messages.Random(size=1), messages.RandomMade, 0.05)
    async with asyncio.timeout(5):
        for call in (near, far):
            with pytest.raises(TokenGaveNoAnswer):
                await call
    assert play.lost == [host.name]


async def test_a_call_has_its_whole_time_whenever_it_began(play: Play) -> None:
    play.pool_with(verb=1)
    host = await play.join()
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = play.generate()
    request = await host.receive()
    await until(lambda: loop.time() > began + 0.5)
    host.answer(request, SEALED)
    await first
    second = play.generate()
    request = await host.receive()
    await until(lambda: loop.time() > began + 1.2)  # the first one's deadline has passed
    host.answer(request, SEALED)
    await second
    assert play.lost == []


async def test_an_idle_channel_has_no_timer(play: Play) -> None:
    play.pool_with(verb=0.05)
    host = await play.join()
    call = play.generate()
    host.answer(await host.receive(), SEALED)
    await call
    (seat,) = play.pool._seats.values()
    await until(lambda: seat.channel._alarm is None)


async def test_a_host_is_given_up_for_a_call_that_nobody_waits_for_any_more(play: Play) -> None:
    play.pool_with(verb=0.05)
    for answer in (Fault(kind=FaultKind.SICK), messages.SecretOpened(secret=b"s"), None):
        host = await play.join()
        call = play.generate()
        request = await host.receive()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        if answer is not None:
            host.answer(request, answer)
        await until(lambda: not play.pool.hosts)
        assert play.lost.pop() == host.name


async def test_an_answer_of_another_kind_is_our_defect_and_ends_the_host(play: Play) -> None:
    host = await play.join()
    call = play.generate()
    host.answer(await host.receive(), messages.SecretOpened(secret=b"s"))
    with pytest.raises(InternalFault):
        await call
    assert play.lost == [host.name]


async def test_a_request_too_large_for_a_frame_is_our_defect_and_the_host_goes_on(play: Play) -> None:
    host = await play.join()
    with pytest.raises(InternalFault):
        await play.pool.inspect_material(OWNER, bytes(frames.MAX_FRAME_BYTES))
    call = play.generate()
    host.answer(await host.receive(), SEALED)
    await call


async def test_a_request_that_cannot_be_written_down_takes_no_place_along(play: Play) -> None:
    host = await play.join()
    with pytest.raises(UnicodeEncodeError):
        await play.pool.generate_material(replace(OWNER, owner="\ud800"))
    call = play.generate()
    host.answer(await host.receive(), SEALED)
    await call


async def test_a_request_that_no_host_would_read_is_our_defect_and_the_host_goes_on(play: Play) -> None:
    host = await play.join()
    with pytest.raises(InternalFault):
        await play.pool.protect_secret(of_credential(ALICE, AccessId("AKID"), Edition.FIPS), SecretKey(bytes(257)))
    call = play.generate()
    host.answer(await host.receive(), SEALED)
    await call


@pytest.mark.parametrize("size", [MOST_CIPHERTEXT_BYTES + 1, 100_000])
async def test_what_no_host_would_read_is_no_ciphertext_and_no_host_is_asked(play: Play, size: int) -> None:
    material = HeldMaterial(OWNER, b"record")
    for call in (
        play.pool.decrypt(material, bytes(size), b""),
        play.pool.require_decryptable(material, bytes(size), b""),
        play.pool.re_encrypt(material, bytes(size), b"", material, b""),
    ):
        with pytest.raises(CiphertextInvalid):
            await call


async def test_a_plaintext_or_a_size_beyond_its_bounds_is_our_defect(play: Play) -> None:
    await play.join()
    material = HeldMaterial(OWNER, b"record")
    for call in (
        play.pool.encrypt(material, Plaintext(bytes(4097)), b""),
        play.pool.encrypt(material, Plaintext(b"p"), bytes(MOST_CONTEXT_BYTES + 1)),
        play.pool.make_data_key(material, 1025, b"", shown=True),
        play.pool.random(0),
    ):
        with pytest.raises(InternalFault):
            await call
    assert play.lost == []


async def test_the_request_id_travels_with_the_call(play: Play) -> None:
    host = await play.join()
    token = REQUEST_ID.set("request-7")
    call = play.generate()
    REQUEST_ID.reset(token)
    request = await host.receive()
    assert request.request_id == "request-7"
    host.answer(request, SEALED)
    await call


async def test_closing_the_pool_is_not_losing_hosts(play: Play) -> None:
    host = await play.join()
    await play.pool.close()
    await host.hung_up_on()
    assert play.lost == []
    assert not play.pool.usable


async def test_before_the_probe_no_other_call_is_made_if_so_asked(play: Play) -> None:
    pool = play.pool_with(probe_first=True)
    await play.join()
    assert not pool.usable
    with pytest.raises(TokenNotAsked):
        await pool.generate_material(OWNER)


LESS = pytest.mark.parametrize(
    "less",
    [messages.Attached(algorithms=ABLE.algorithms), messages.Attached(ciphers=ABLE.ciphers)],
    ids=["no cipher", "no algorithm"],
)


async def _probed(play: Play) -> None:
    """Have the first host's probe find what `REPORT` says."""
    probing = asyncio.ensure_future(play.pool.probe())
    host = play.hosts[0]
    host.answer(await host.receive(), messages.Probed(report=REPORT))
    await probing


@LESS
async def test_a_host_for_which_the_token_did_less_than_is_offered_is_not_used(
    play: Play, less: messages.Attached
) -> None:
    await play.join(attached=ABLE)
    await _probed(play)
    with pytest.raises(TokenGaveNoAnswer):
        await play.join(attached=less)
    await play.hosts[1].hung_up_on()
    assert play.pool.hosts == {"host 0"}
    await play.join(attached=ABLE)
    assert play.pool.hosts == {"host 0", "host 2"}


@LESS
async def test_one_that_came_before_the_probe_is_given_up_after_it(play: Play, less: messages.Attached) -> None:
    await play.join(attached=ABLE, duties=frozenset({Duty.OPERATIONS}))
    await play.join(attached=less, duties=frozenset({Duty.PAIRS}))
    await _probed(play)
    assert play.pool.hosts == {"host 0"}
    assert play.lost == ["host 1"]
    assert play.pool.usable


async def test_a_closed_channel_takes_no_calls() -> None:
    host = PlayedHost("host")
    channel = await HostChannel.open("host", host.ours)
    await channel.close()
    assert not channel.usable
    with pytest.raises(TokenNotAsked):
        await channel.probe()
    host.hang_up()


EXPECTED_ERRORS: dict[FaultKind, type[HsmkmsError]] = {
    FaultKind.UNDECRYPTABLE: MaterialUndecryptable,
    FaultKind.LENGTH_WRONG: MaterialLengthWrong,
    FaultKind.RECORD_BROKEN: RecordBroken,
    FaultKind.CIPHERTEXT_INVALID: CiphertextInvalid,
    FaultKind.NOT_TRANSFERABLE: NotTransferable,
    FaultKind.SICK: TokenGaveNoAnswer,
    FaultKind.UNUSABLE: TokenUnusable,
    FaultKind.REFUSED: InternalFault,
    FaultKind.INTERNAL: InternalFault,
}


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_is_an_error_of_core(kind: FaultKind) -> None:
    assert type(error_of(Fault(kind=kind, message="m", needed_bits=128))) is EXPECTED_ERRORS[kind]
