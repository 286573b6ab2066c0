"""One host, from the async side: calls over its socket.

Laws:

- a call ends with its answer, with its deadline, or with the host; it never waits for anything else;
- its time begins when the host can have begun with it, not before: a call behind a slow one is not taken for hung;
- of a host that is gone, the calls that it cannot have begun were not asked (`pipelining`); of one that talked
  nonsense, all that was sent may have begun, for its word on what it was at is not taken;
- a host whose deadline was missed is closed for good: a late answer is never taken for that of another call;
- faults become errors of `core` here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar, cast

import msgspec

from hsmkms.core import errors
from hsmkms.hsm import frames, messages
from hsmkms.hsm.calls import Call
from hsmkms.hsm.messages import Fault, FaultKind, Request
from hsmkms.hsm.parts import MOST_ITEMS, CustodyItem, Place
from hsmkms.hsm.pipelining import most_begun
from hsmkms.log import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsmkms.core.custody import CustodyObject, Deployment
    from hsmkms.hsm.calls import Over
    from hsmkms.hsm.report import TokenReport

_logger = logging.getLogger(__name__)
AnswerT = TypeVar("AnswerT", bound=messages.Answer)

MOST_AT_ONCE: Final = 1 << 16
"""Bytes."""

ATTACH_SECONDS: Final = 60.0
"""Objects are found and proved, and an RSA pair is generated."""
INITIALISE_SECONDS: Final = 300.0
PROBE_SECONDS: Final = 300.0


_ERRORS: Final[Mapping[FaultKind, type[errors.HsmkmsError]]] = {
    FaultKind.UNDECRYPTABLE: errors.MaterialUndecryptable,
    FaultKind.RECORD_BROKEN: errors.RecordBroken,
    FaultKind.CIPHERTEXT_INVALID: errors.CiphertextInvalid,
    FaultKind.NOT_TRANSFERABLE: errors.NotTransferable,
    FaultKind.SICK: errors.TokenGaveNoAnswer,
    FaultKind.REFUSED: errors.InternalFault,
    FaultKind.INTERNAL: errors.InternalFault,
}
"""Of the faults that say no more than their kind."""


def error_of(fault: Fault) -> errors.HsmkmsError:
    """Return the error that a host's fault is."""
    match fault.kind:
        case FaultKind.LENGTH_WRONG:
            return errors.MaterialLengthWrong(fault.needed_bits)
        case FaultKind.UNUSABLE:
            return errors.TokenUnusable(fault.message)
        case _:
            return _ERRORS[fault.kind]()


class HostChannel(asyncio.Protocol):
    """Our end of one host's socket."""

    def __init__(
        self, name: str, connection: socket.socket, on_closed: Callable[[HostChannel], None] | None, sessions: int
    ) -> None:
        """Have no transport yet; use `open`."""
        self.name = name
        self._connection = connection
        self._on_closed = on_closed
        self._sessions = sessions
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._calls: dict[int, Call] = {}
        """Not answered yet, in the order in which they were sent."""
        self._unsent: dict[int, bytes] = {}
        """Requests that are not written yet, by their numbers: the last ones of the calls."""
        self._received = frames.Stream()
        self._begins_no_more = False
        """Whether the host has said that it ends."""
        self._closed = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._alarm: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        name: str,
        connection: socket.socket,
        on_closed: Callable[[HostChannel], None] | None = None,
        sessions: int = 1,
    ) -> HostChannel:
        """Return a channel over `connection`, which it owns from here on.

        Args:
            name: of the host, for the log.
            connection: our end of the socket pair.
            on_closed: called once, when the channel ends for any reason but `close`.
            sessions: how many calls the host works on at a time.
        """
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(
            lambda: cls(name, connection, on_closed, sessions), sock=connection
        )
        return channel

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return not self._closed

    def start(
        self,
        verb: messages.Verb,
        expected: type[AnswerT],
        seconds: float,
        over: Over | None = None,
    ) -> asyncio.Future[AnswerT]:
        """Send `verb` and return its answer to come, which ends as `call` does.

        Of a host that is at work, what it is to do next is sent at the end of this turn of the loop, together.

        Args:
            verb: what to do.
            expected: the kind of answer.
            seconds: after which the host is given up.
            over: called when the host is done with it, or gone, even if nobody waits for the answer any more. Not
                called if this raises.

        Raises:
            TokenNotAsked, InternalFault: as `call`; nothing was sent.
        """
        if self._closed:
            raise errors.TokenNotAsked
        number = next(self._numbers)
        try:
            framed = frames.frame(Request(number=number, verb=verb, request_id=REQUEST_ID.get()))
        except (frames.FrameTooLarge, msgspec.ValidationError) as error:
            field = frames.field_of(error) if isinstance(error, msgspec.ValidationError) else "the whole"
            _logger.error("request beyond its bounds", extra={"verb": type(verb).__name__, "field": field})
            raise errors.InternalFault from error
        answer: asyncio.Future[AnswerT] = self._loop.create_future()
        call = Call(type(verb), expected, answer, seconds, over)
        if len(self._calls) < self._sessions:
            self._begin_time(call)
        idle = not self._calls
        self._calls[number] = call
        if idle:
            self._transport.write(framed)
        else:
            if not self._unsent:
                self._loop.call_soon(self._send_together)
            self._unsent[number] = framed
        return answer

    def _send_together(self) -> None:
        if not self._closed:
            self._transport.write(b"".join(self._unsent.values()))
        self._unsent.clear()

    def _begin_time(self, call: Call) -> None:
        call.begun = self._loop.time()
        if self._alarm is None or self._alarm.when() > call.deadline:
            self._set_alarm(call.deadline)

    async def call(self, verb: messages.Verb, expected: type[AnswerT], seconds: float) -> AnswerT:
        """Send `verb` and return its answer.

        Raises:
            TokenNotAsked: the channel had ended before, or ended before the host can have begun.
            TokenGaveNoAnswer: the host died, missed the deadline of `seconds`, or found the token sick.
            InternalFault: the request is beyond the bounds of `messages`; it was not sent.
            HsmkmsError: whatever else the host answered, as `error_of` has it.
        """
        return await self.start(verb, expected, seconds)

    async def attach(self, deployment: Deployment, seconds: float = ATTACH_SECONDS) -> messages.Attached:
        """Have the host find and prove the deployment's objects; every other verb needs it first.

        Returns:
            What the token did for this host.

        Raises:
            TokenUnusable: an object is absent, doubled or not what it was; nothing was created.
            TokenNotAsked, TokenGaveNoAnswer: the host died or missed the deadline.
        """
        return await self.call(messages.Attach(place=Place.of(deployment)), messages.Attached, seconds)

    async def initialise(
        self, deployment: Deployment, seconds: float = INITIALISE_SECONDS
    ) -> tuple[CustodyObject, ...]:
        """Have a host started for `init` make the deployment's objects anew; it is still to be attached.

        Only for a deployment that is not ready: objects under its labels are replaced.

        Returns:
            The objects with their known answers, proved and on the disk.

        Raises:
            TokenUnusable: the token does not make them.
            TokenNotAsked, TokenGaveNoAnswer: the host died or missed the deadline.
        """
        verb = messages.Initialise(place=Place.of(deployment))
        answer = await self.call(verb, messages.Initialised, seconds)
        return tuple(item.core() for item in answer.objects)

    async def adopt(self, deployment: Deployment, seconds: float = ATTACH_SECONDS) -> messages.Attached:
        """Have an attached host go on with the sealing keys that the deployment has now.

        Returns:
            What the token did for this host; whatever it is asked from then on is sealed under the newest version.

        Raises:
            TokenUnusable: a new sealing key is not there as it was made; the host goes on as before.
            TokenNotAsked, TokenGaveNoAnswer: the host died or missed the deadline.
        """
        return await self.call(messages.Adopt(place=Place.of(deployment)), messages.Attached, seconds)

    async def make_sealing_keys(
        self, deployment: Deployment, planned: tuple[CustodyObject, ...], *, replace_unknown: bool = False
    ) -> tuple[CustodyObject, ...]:
        """Have a host started for `init`, which is not attached, make the next version's sealing keys.

        Args:
            deployment: as it is before.
            planned: one for each of `SEALING_ROLES`, of one version.
            replace_unknown: whether what has one of their labels already is destroyed.

        Returns:
            The objects with their known answers, proved and on the disk.

        Raises:
            TokenUnusable: the token does not make them, has objects with their labels, or the deployment has as many
                as it can have.
            TokenNotAsked, TokenGaveNoAnswer: the host died or missed the deadline.
        """
        if len(deployment.objects) + len(planned) > MOST_ITEMS:
            raise errors.TokenUnusable(
                "The deployment has as many versions of its sealing keys as there can be at a time: move what is "
                "under the oldest to the newest with 'hsmkms sealing transfer', and then retire it."
            )
        verb = messages.MakeSealingKeys(
            place=Place.of(deployment),
            planned=tuple(map(CustodyItem.of, planned)),
            replace_unknown=replace_unknown,
        )
        answer = await self.call(verb, messages.Initialised, INITIALISE_SECONDS)
        return tuple(item.core() for item in answer.objects)

    async def destroy_sealing_keys(self, deployment: Deployment, retired: tuple[CustodyObject, ...]) -> int:
        """Have a host started for `init`, which is not attached, destroy sealing keys; those that are gone are none.

        Args:
            deployment: with its newer ones; whether it still names the retired ones does not matter.
            retired: what is to go.

        Returns:
            How many objects were destroyed.

        Raises:
            TokenUnusable: the token did not destroy one, one is still to be used, or an id is another object's.
            TokenNotAsked, TokenGaveNoAnswer: the host died or missed the deadline.
        """
        items = tuple(map(CustodyItem.of, retired))
        verb = messages.DestroySealingKeys(place=Place.of(deployment), retired=items)
        return (await self.call(verb, messages.SealingKeysDestroyed, INITIALISE_SECONDS)).count

    async def probe(self, seconds: float = PROBE_SECONDS) -> TokenReport:
        """Have an attached host find out what the token does.

        Raises:
            TokenNotAsked, TokenGaveNoAnswer: the host died, missed the deadline, or found the token sick.
        """
        return (await self.call(messages.Probe(), messages.Probed, seconds)).report

    async def close(self) -> None:
        """End the channel, and with it the host; calls in flight fail."""
        self._on_closed = None
        self.give_up()
        await self._ended

    def give_up(self) -> None:
        """Close, fail what is in flight, and tell the owner: once."""
        with suppress(OSError):
            # Our end is closed only in a later turn of the loop. Until then the host could answer, and begin the next
            # one; now it fails as it answers. What it has sent before can still be read.
            self._connection.shutdown(socket.SHUT_RDWR)
        self._take_the_rest()
        verbs = [call.verb for call in self._calls.values()]
        self._end(0 if self._begins_no_more else most_begun(verbs, self._sessions))

    def _end(self, begun: int) -> None:
        """Close, and fail the calls: the first ones, as many as can have begun, otherwise than those behind them."""
        if self._closed:
            return
        self._closed = True
        self._transport.abort()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._on_closed is not None:
            self._on_closed(self)
        now, begun = self._loop.time(), min(begun, len(self._calls) - len(self._unsent))
        while self._calls:  # those that came last first: whoever asks another host goes before who waits there
            _, call = self._calls.popitem()
            call.end(errors.TokenGaveNoAnswer() if len(self._calls) < begun else errors.TokenNotAsked(), now)

    def _take_the_rest(self) -> None:
        """Take the answers that the host has given: without them nobody knows what it had begun.

        They are no more than the calls, whatever the host sends: see `_answered`.
        """
        self._take_replies()
        with suppress(OSError):
            while not self._closed and (part := self._connection.recv(MOST_AT_ONCE, socket.MSG_DONTWAIT)):
                self.data_received(part)

    # --- deadlines: one timer, which is moved only to an earlier one -------------------------------------

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        self._alarm = None
        self._take_the_rest()  # what this loop was too busy to read is no reason to give a host up
        if self._closed or not self._calls:
            return
        first = min(self._calls.values(), key=lambda call: call.deadline)
        if first.deadline > self._loop.time():
            self._set_alarm(first.deadline)
            return
        facts = {"host": self.name, "verb": first.verb.__name__, "seconds": first.seconds}
        _logger.error("host missed its deadline", extra=facts)
        self.give_up()

    # --- asyncio.Protocol ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        # asyncio takes 256 KiB for each read, gives most of it back, and leaves holes in the heap.
        self._transport.max_size = MOST_AT_ONCE  # type: ignore[attr-defined] # of its transports, and not documented

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received.add(data)
        self._take_replies()

    def _take_replies(self) -> None:
        try:
            while not self._closed and (payload := self._received.next()) is not None:
                self._answered(frames.parse_reply(payload))
        except (frames.FrameTooLarge, msgspec.DecodeError):
            self._end_malformed()

    def _end_malformed(self) -> None:
        _logger.error("malformed reply", extra={"host": self.name})
        self._end(len(self._calls))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`; also at the end of the stream."""
        del exc  # the host ended, or we closed
        self.give_up()
        if not self._ended.done():
            self._ended.set_result(None)

    def _answered(self, reply: messages.Reply) -> None:
        answer, now = reply.answer, self._loop.time()
        call = None if reply.number in self._unsent else self._calls.pop(reply.number, None)
        if call is None:  # never asked, or answered before: calls that nobody waits for any more are here, too
            self._end_malformed()
            return
        for following in islice(self._calls.values(), self._sessions - 1, self._sessions):
            if following.begun is None:
                self._begin_time(following)
        worked = None if reply.microseconds is None else reply.microseconds / 1_000_000
        if isinstance(answer, call.expected):
            call.end(answer, now, worked)
            return
        error = error_of(answer) if isinstance(answer, Fault) else errors.InternalFault()
        sick = isinstance(answer, Fault) and answer.kind is FaultKind.SICK
        self._begins_no_more = sick and self._sessions == 1
        # The channel ends first, or the end of the call would give its place here to the next one.
        if sick:
            self.give_up()
        elif not isinstance(answer, Fault):
            self._end(len(self._calls))
        call.end(error, now, worked)
