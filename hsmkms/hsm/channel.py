"""One host, from the async side: calls over its socket.

Laws:

- a call ends with its answer, with its deadline, or with the host; it never waits for anything else;
- a host whose deadline was missed is closed for good: a late answer is never taken for that of another call;
- faults become errors of `core` here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from hsmkms.core import errors
from hsmkms.hsm import frames, messages
from hsmkms.hsm.messages import Fault, FaultKind, Request
from hsmkms.hsm.parts import Place
from hsmkms.log import REQUEST_ID

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from hsmkms.core.custody import CustodyObject, Deployment
    from hsmkms.hsm.report import TokenReport

_logger = logging.getLogger(__name__)
AnswerT = TypeVar("AnswerT", bound=messages.Answer)

ATTACH_SECONDS: Final = 60.0
"""Objects are found and proved, and an RSA pair is generated."""
INITIALISE_SECONDS: Final = 300.0
PROBE_SECONDS: Final = 300.0


_ERRORS: Final[Mapping[FaultKind, type[errors.HsmkmsError]]] = {
    FaultKind.UNDECRYPTABLE: errors.MaterialUndecryptable,
    FaultKind.RECORD_BROKEN: errors.RecordBroken,
    FaultKind.CIPHERTEXT_INVALID: errors.CiphertextInvalid,
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


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that was sent."""

    verb: str
    expected: type[Any]
    answer: asyncio.Future[Any]
    seconds: float
    deadline: float
    """By the loop's clock."""
    over: Callable[[errors.HsmkmsError | None], None] | None
    """To be called when the host is done with it, or gone."""

    def end(self, outcome: messages.Answer | errors.HsmkmsError) -> None:
        """Tell whoever waits for it, if anybody still does, and then its owner."""
        error = outcome if isinstance(outcome, errors.HsmkmsError) else None
        if not self.answer.done():
            if error is None:
                self.answer.set_result(outcome)
            else:
                self.answer.set_exception(error)
        if self.over is not None:
            self.over(error)


class HostChannel(asyncio.Protocol):
    """Our end of one host's socket."""

    def __init__(self, name: str, on_closed: Callable[[HostChannel], None] | None = None) -> None:
        """Have no connection yet; use `open`."""
        self.name = name
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._received = b""
        self._closed = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._alarm: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls, name: str, connection: socket.socket, on_closed: Callable[[HostChannel], None] | None = None
    ) -> HostChannel:
        """Return a channel over `connection`, which it owns from here on.

        Args:
            name: of the host, for the log.
            connection: our end of the socket pair.
            on_closed: called once, when the channel ends for any reason but `close`.
        """
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(name, on_closed), sock=connection)
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
        over: Callable[[errors.HsmkmsError | None], None] | None = None,
    ) -> asyncio.Future[AnswerT]:
        """Send `verb` and return its answer to come, which ends as `call` does.

        Args:
            verb: what to do.
            expected: the kind of answer.
            seconds: after which the host is given up.
            over: called with the error, if it is one, when the host is done with it, or gone, even if nobody waits for
                the answer any more. Not called if nothing was sent.

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
        deadline = self._loop.time() + seconds
        self._calls[number] = _Call(type(verb).__name__, expected, answer, seconds, deadline, over)
        self._transport.write(framed)
        if self._alarm is None or self._alarm.when() > deadline:
            self._set_alarm(deadline)
        return answer

    async def call(self, verb: messages.Verb, expected: type[AnswerT], seconds: float) -> AnswerT:
        """Send `verb` and return its answer.

        Raises:
            TokenNotAsked: the channel had ended before.
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
        if self._closed:
            return
        self._closed = True
        self._transport.abort()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._on_closed is not None:
            self._on_closed(self)
        while self._calls:
            self._calls.popitem()[1].end(errors.TokenGaveNoAnswer())

    # --- deadlines: one timer, which is moved only to an earlier one ------------------------------------

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        self._alarm = None
        if not self._calls:
            return
        first = min(self._calls.values(), key=lambda call: call.deadline)
        if first.deadline > self._loop.time():
            self._set_alarm(first.deadline)
            return
        facts = {"host": self.name, "verb": first.verb, "seconds": first.seconds}
        _logger.error("host missed its deadline", extra=facts)
        self.give_up()

    # --- asyncio.Protocol ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        received = self._received + data if self._received else data
        begin, header = 0, frames.LENGTH.size
        try:
            while not self._closed and len(received) - begin >= header:
                end = begin + header + frames.payload_length(received[begin : begin + header])
                if len(received) < end:
                    break
                self._answered(frames.parse_reply(received[begin + header : end]))
                begin = end
        except (frames.FrameTooLarge, msgspec.DecodeError):
            _logger.error("malformed reply", extra={"host": self.name})
            self.give_up()
        self._received = received[begin:]

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`; also at the end of the stream."""
        del exc  # the host ended, or we closed
        self.give_up()
        if not self._ended.done():
            self._ended.set_result(None)

    def _answered(self, reply: messages.Reply) -> None:
        call, answer = self._calls.pop(reply.number, None), reply.answer
        if call is None:
            return
        if isinstance(answer, call.expected):
            call.end(answer)
            return
        error = error_of(answer) if isinstance(answer, Fault) else errors.InternalFault()
        if not isinstance(answer, Fault) or answer.kind is FaultKind.SICK:
            self.give_up()  # first, or the end of the call would give its place here to the next one
        call.end(error)
