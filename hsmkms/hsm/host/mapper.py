"""Templates as C reads them.

Laws:

- every value is packed once in Python before it goes out, because python-pkcs11 0.10.1 ends the process with SIGSEGV
  on a value that it cannot pack;
- nothing is left to a default of python-pkcs11's: what a template does not name is not sent.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

from pkcs11 import Attribute, Mechanism
from pkcs11.attributes import AttributeMapper

from hsmkms.hsm.host.packing import Packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.hsm.host.templates import Template


class Mapper(AttributeMapper):
    """Packs our templates; adds nothing to them."""

    def __init__(self) -> None:
        super().__init__()
        self._nested: dict[tuple[tuple[int, int], ...], tuple[bytes, list[ctypes.Array[ctypes.c_char]]]] = {}
        self.register_handler(Attribute.ALLOWED_MECHANISMS, _pack_mechanisms, _unpack_mechanisms)
        self.register_handler(Attribute.UNWRAP_TEMPLATE, self._pack_nested, bytes)

    def _pack_nested(self, template: Mapping[Attribute, bool | int]) -> bytes:
        """Return an array of CK_ATTRIBUTE; the buffers it points to live as long as this mapper."""
        key = tuple((int(attribute), int(value)) for attribute, value in template.items())
        if key not in self._nested:
            packed, buffers = b"", []
            for attribute, value in template.items():
                raw = self.pack_attribute(attribute, value)
                buffer = ctypes.create_string_buffer(raw, len(raw))
                buffers.append(buffer)
                packed += struct.pack("@LPL", attribute, ctypes.addressof(buffer), len(raw))
            self._nested[key] = (packed, buffers)
        return self._nested[key][0]

    def checked(self, template: Template) -> Template:
        """Return `template` if python-pkcs11 can pack all of it and MODIFIABLE is last.

        Raises:
            TypeError: a defect of ours, found before it reaches C.
        """
        for attribute, value in template.items():
            if not isinstance(self.pack_attribute(attribute, value), bytes):
                raise TypeError(attribute.name)
        if Attribute.MODIFIABLE in template and tuple(template)[-1] is not Attribute.MODIFIABLE:
            raise TypeError(Attribute.MODIFIABLE.name)
        return template

    def packed(self, template: Template) -> Packed:
        """Return `template` as C reads it, after it was `checked`."""
        items = self.checked(template).items()
        return Packed((attribute, self.pack_attribute(attribute, value)) for attribute, value in items)

    # What python-pkcs11 would add by itself: nothing.

    def secret_key_template(self, **_defaults: Any) -> dict[Attribute, Any]:  # noqa: ANN401 - its signature
        """Return no attributes."""
        return {}

    def public_key_template(self, **_defaults: Any) -> dict[Attribute, Any]:  # noqa: ANN401 - its signature
        """Return no attributes."""
        return {}

    def private_key_template(self, **_defaults: Any) -> dict[Attribute, Any]:  # noqa: ANN401 - its signature
        """Return no attributes."""
        return {}

    def generic_key_template(
        self,
        base_template: dict[Attribute, Any],
        **_defaults: Any,  # noqa: ANN401 - its signature
    ) -> dict[Attribute, Any]:
        """Return no attributes, not even the base's."""
        del base_template
        return {}


def _pack_mechanisms(mechanisms: tuple[Mechanism, ...]) -> bytes:
    return struct.pack(f"@{len(mechanisms)}L", *mechanisms)


def _unpack_mechanisms(raw: bytes) -> tuple[int, ...]:
    return struct.unpack(f"@{len(raw) // struct.calcsize('@L')}L", raw)
