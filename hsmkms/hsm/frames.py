"""Messages as bytes on a stream.

Law: a frame is a length of 4 bytes (big-endian) and that many bytes of MessagePack, at most `MAX_FRAME_BYTES`.
"""

from __future__ import annotations

import re
import struct
from typing import Final, TypeVar

import msgspec

from hsmkms.hsm.messages import Reply, Request

MAX_FRAME_BYTES: Final = 1 << 16
"""The largest message is the answer to Probe: 8.8 KiB on NSS."""
LENGTH: Final = struct.Struct(">I")

MessageT = TypeVar("MessageT", Request, Reply)

_FIELD: Final = re.compile(r".* - at `([^`]+)`", re.DOTALL)

_encoder: Final = msgspec.msgpack.Encoder()
_request_decoder: Final = msgspec.msgpack.Decoder(Request)
_reply_decoder: Final = msgspec.msgpack.Decoder(Reply)


class FrameTooLarge(ValueError):
    """A frame is longer than `MAX_FRAME_BYTES`."""


def frame(message: Request | Reply) -> bytes:
    """Return the frame of a message.

    A request that the host would refuse to read, and then end, is not sent.

    Raises:
        FrameTooLarge: the message does not fit.
        msgspec.ValidationError: a value of a request is beyond its bounds.
    """
    payload = _encoder.encode(message)
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameTooLarge
    if isinstance(message, Request):
        parse_request(payload)
    return LENGTH.pack(len(payload)) + payload


def field_of(error: msgspec.ValidationError) -> str:
    """Return the path of the field that is beyond its bounds, as msgspec spells it; never a value. Empty: not known."""
    named = _FIELD.fullmatch(str(error))
    return "" if named is None else named[1]


def payload_length(header: bytes) -> int:
    """Return the number of bytes that follow the 4 bytes of `header`.

    Raises:
        FrameTooLarge: more than the limit.
    """
    (length,) = LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise FrameTooLarge
    return int(length)


class Stream:
    """What came over a socket, of which whole frames are taken; what was taken is not kept."""

    def __init__(self) -> None:
        """Have nothing yet."""
        self._received = b""
        self._begin = 0
        """Where the next frame begins."""

    def add(self, part: bytes) -> None:
        """Have what was received next."""
        self._received = self._received[self._begin :] + part
        self._begin = 0

    def next(self) -> bytes | None:
        """Take the payload of the next frame, if all of it is here.

        Raises:
            FrameTooLarge: it is announced as longer than the limit.
        """
        begin = self._begin + LENGTH.size
        if len(self._received) < begin:
            return None
        end = begin + payload_length(self._received[self._begin : begin])
        if len(self._received) < end:
            return None
        payload = self._received[begin:end]
        self._begin = end
        if end == len(self._received):  # whoever is idle must not hold on to the last plaintext
            self._received, self._begin = b"", 0
        return payload


def parse_request(payload: bytes) -> Request:
    """Return the request of a frame's payload.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoded(_request_decoder, payload)


def parse_reply(payload: bytes) -> Reply:
    """Return the reply of a frame's payload.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoded(_reply_decoder, payload)


def _decoded(decoder: msgspec.msgpack.Decoder[MessageT], payload: bytes) -> MessageT:
    try:
        return decoder.decode(payload)
    except UnicodeDecodeError:  # which msgspec lets through, with all of the text in it
        raise msgspec.DecodeError("a text is not UTF-8") from None
