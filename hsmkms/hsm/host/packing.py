"""Templates and mechanisms as C reads them.

Law: a value that C is to read is kept by whoever holds its address, for as long as C may read it.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_ulong, c_void_p
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterable

_DATA_SPECIFIED: Final = 1
"""CKZ_DATA_SPECIFIED: the label of OAEP is given, here as none."""
_BITS: Final = 8


class CkAttribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", c_ulong), ("value", c_void_p), ("length", c_ulong))


class _Mechanism(ctypes.Structure):
    """CK_MECHANISM."""

    _fields_ = (("mechanism", c_ulong), ("parameter", c_void_p), ("length", c_ulong))


class _OaepParameters(ctypes.Structure):
    """CK_RSA_PKCS_OAEP_PARAMS."""

    _fields_ = (
        ("hash", c_ulong),
        ("mask_generation", c_ulong),
        ("source", c_ulong),
        ("label", c_void_p),
        ("label_length", c_ulong),
    )


class _GcmParameters(ctypes.Structure):
    """CK_GCM_PARAMS."""

    _fields_ = (
        ("iv", c_void_p),
        ("iv_length", c_ulong),
        ("iv_bits", c_ulong),
        ("authenticated", c_char_p),
        ("authenticated_length", c_ulong),
        ("tag_bits", c_ulong),
    )


@dataclass(frozen=True, slots=True)
class Parameter:
    """A mechanism with its parameter, as C reads it."""

    address: int
    _holds: tuple[object, ...] = field(repr=False)
    """What C points into."""


def _parameter(
    mechanism: Mechanism, parameter: ctypes.Structure | ctypes.Array[Any] | None, *pointed_to: object
) -> Parameter:
    address, length = (None, 0) if parameter is None else (ctypes.addressof(parameter), ctypes.sizeof(parameter))
    packed = _Mechanism(mechanism, address, length)
    return Parameter(ctypes.addressof(packed), (packed, parameter, *pointed_to))


def plain(mechanism: Mechanism) -> Parameter:
    """Return a mechanism that takes no parameter."""
    return _parameter(mechanism, None)


def oaep(hash_mechanism: int, mask_generation: int) -> Parameter:
    """Return RSAES-OAEP without a label."""
    return _parameter(
        Mechanism.RSA_PKCS_OAEP, _OaepParameters(hash_mechanism, mask_generation, _DATA_SPECIFIED, None, 0)
    )


def with_iv(mechanism: Mechanism, iv: bytes) -> Parameter:
    """Return a mechanism whose parameter is an IV."""
    return _parameter(mechanism, ctypes.create_string_buffer(iv, len(iv)))


def gcm(iv: bytes, authenticated: bytes, tag_bytes: int) -> Parameter:
    """Return AES-GCM."""
    own = ctypes.create_string_buffer(
        iv, len(iv)
    )  # some tokens write an IV of their own there, and bytes do not change
    return _parameter(
        Mechanism.AES_GCM,
        _GcmParameters(
            ctypes.addressof(own), len(iv), len(iv) * _BITS, authenticated, len(authenticated), tag_bytes * _BITS
        ),
        own,
    )


class Packed:
    """A template as C reads it."""

    __slots__ = ("_values", "address", "attributes", "count")

    def __init__(self, attributes: Iterable[tuple[int, bytes]]) -> None:
        """Take each attribute's type and packed value, in their order."""
        self._values = [
            (kind, ctypes.create_string_buffer(value, len(value)), len(value)) for kind, value in attributes
        ]
        self.count = len(self._values)
        self.attributes = (CkAttribute * self.count)(
            *(CkAttribute(kind, ctypes.addressof(value), length) for kind, value, length in self._values)
        )
        self.address = ctypes.addressof(self.attributes)
