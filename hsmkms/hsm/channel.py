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
from typing import TYPE_CHECKING, Final, TypeVar

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


class HostChannel:
    """Our end of one host's socket."""

    def __init__(
        self,
        name: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_closed: Callable[[HostChannel], None] | None = None,
    ) -> None:
        """Take an open connection; use `open`."""
        self.name = name
        self._reader = reader
        self._writer = writer
        self._on_closed = on_closed
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[messages.Answer]] = {}
        self._closed = False
        self._receiving = asyncio.create_task(self._receive(), name=f"receive from {name}")

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
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=frames.MAX_FRAME_BYTES)
        return cls(name, reader, writer, on_closed)

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return not self._closed

    async def call(self, verb: messages.Verb, expected: type[AnswerT], seconds: float) -> AnswerT:
        """Send `verb` and return its answer.

        Raises:
            TokenNotAsked: the channel had ended before.
            TokenGaveNoAnswer: the host died, missed the deadline of `seconds`, or found the token sick.
            InternalFault: the request is beyond the bounds of `messages`; it was not sent.
            HsmkmsError: whatever else the host answered, as `error_of` has it.
        """
        if self._closed:
            raise errors.TokenNotAsked
        number = next(self._numbers)
        future: asyncio.Future[messages.Answer] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self._writer.write(frames.frame(Request(number=number, verb=verb, request_id=REQUEST_ID.get())))
            async with asyncio.timeout(seconds):
                answer = await future
        except TimeoutError:
            _logger.error(
                "host missed its deadline", extra={"host": self.name, "verb": type(verb).__name__, "seconds": seconds}
            )
            self.give_up()
            raise errors.TokenGaveNoAnswer from None
        except (frames.FrameTooLarge, msgspec.ValidationError) as error:
            field = frames.field_of(error) if isinstance(error, msgspec.ValidationError) else "the whole"
            _logger.error("request beyond its bounds", extra={"verb": type(verb).__name__, "field": field})
            raise errors.InternalFault from error
        finally:
            self._calls.pop(number, None)
        if isinstance(answer, Fault):
            if answer.kind is FaultKind.SICK:
                self.give_up()
            raise error_of(answer)
        if not isinstance(answer, expected):
            self.give_up()
            raise errors.InternalFault
        return answer

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
        await asyncio.gather(self._receiving, return_exceptions=True)

    def give_up(self) -> None:
        """Close, fail what is in flight, and tell the owner: once."""
        if self._closed:
            return
        self._closed = True
        self._writer.transport.abort()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(errors.TokenGaveNoAnswer())
        if self._on_closed is not None:
            self._on_closed(self)

    async def _receive(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(frames.LENGTH.size)
                reply = frames.parse_reply(await self._reader.readexactly(frames.payload_length(header)))
                future = self._calls.get(reply.number)
                if future is not None and not future.done():
                    future.set_result(reply.answer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the host ended, or we closed
        except (frames.FrameTooLarge, msgspec.DecodeError):
            _logger.error("malformed reply", extra={"host": self.name})
        finally:
            self.give_up()
