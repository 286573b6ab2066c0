"""Every template that is ever sent to a token, built in one typed place.

Laws:

- CKA_MODIFIABLE is the last attribute: SoftHSM 2.6.1 applies a template in order, and after MODIFIABLE=false it
  answers CKR_ATTRIBUTE_READ_ONLY to what follows;
- every value is packed once in Python before it goes out, because python-pkcs11 0.10.1 ends the process with SIGSEGV
  on a value that it cannot pack;
- nothing is left to a default of python-pkcs11's: what a template does not name is not sent;
- CKA_VALUE_LEN is never in an unwrap template: NSS truncates the key to it without a word.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.attributes import AttributeMapper

from hsmkms.core.custody import CustodyRole
from hsmkms.hsm.host.packing import Packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value: TypeAlias = "bool | int | str | bytes | tuple[Mechanism, ...] | Mapping[Attribute, bool | int]"
Template: TypeAlias = "Mapping[Attribute, Value]"

SECRET_KEY_USES: Final = (
    Attribute.ENCRYPT,
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.WRAP,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
"""PKCS#11 2.40, table 10 and table 32: what a secret key may be used for."""
PRIVATE_KEY_USES: Final = (
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.SIGN_RECOVER,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
"""PKCS#11 2.40, table 30: what a private key may be used for."""

_UNSEALED_MATERIAL: Final[Mapping[Attribute, bool | int]] = {
    Attribute.CLASS: ObjectClass.SECRET_KEY,
    Attribute.KEY_TYPE: KeyType.AES,
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
    Attribute.MODIFIABLE: False,
}
_UNSEALED_PAIR: Final[Mapping[Attribute, bool | int]] = {
    Attribute.CLASS: ObjectClass.PRIVATE_KEY,
    Attribute.KEY_TYPE: KeyType.RSA,
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.UNWRAP: True,
    Attribute.DECRYPT: False,
    Attribute.SIGN: False,
    Attribute.DERIVE: False,
    Attribute.MODIFIABLE: False,
}

_CUSTODY_USES: Final[Mapping[CustodyRole, tuple[Attribute, ...]]] = {
    CustodyRole.MATERIAL_SEALING: (Attribute.WRAP, Attribute.UNWRAP),
    CustodyRole.PAIR_SEALING: (Attribute.WRAP, Attribute.UNWRAP),
    CustodyRole.RECORD: (Attribute.ENCRYPT, Attribute.DECRYPT),
    CustodyRole.CREDENTIAL: (Attribute.ENCRYPT, Attribute.DECRYPT),
    CustodyRole.MAC: (Attribute.SIGN, Attribute.VERIFY),
}
MATERIAL_SEALING_MECHANISM: Final = Mechanism.AES_KEY_WRAP
"""RFC 3394: it adds exactly 8 bytes, which is half of the proof of a length."""
PAIR_SEALING_MECHANISM: Final = Mechanism.AES_KEY_WRAP_PAD
"""RFC 5649: a private half (PKCS#8) has any length."""

_CUSTODY_MECHANISMS: Final[Mapping[CustodyRole, tuple[Mechanism, ...]]] = {
    CustodyRole.MATERIAL_SEALING: (MATERIAL_SEALING_MECHANISM,),
    CustodyRole.PAIR_SEALING: (PAIR_SEALING_MECHANISM,),
    CustodyRole.RECORD: (Mechanism.AES_CBC_PAD,),
    CustodyRole.CREDENTIAL: (Mechanism.AES_CBC_PAD,),
    CustodyRole.MAC: (Mechanism.SHA256_HMAC,),
}
_CUSTODY_UNWRAP_TEMPLATES: Final[Mapping[CustodyRole, Mapping[Attribute, bool | int]]] = {
    CustodyRole.MATERIAL_SEALING: _UNSEALED_MATERIAL,
    CustodyRole.PAIR_SEALING: _UNSEALED_PAIR,
}


def _secret_key(
    key_type: KeyType, uses: Iterable[Attribute], *, token: bool = False, extractable: bool = False
) -> Template:
    allowed = frozenset(uses)
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: key_type,
        Attribute.TOKEN: token,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: extractable,
        **{use: use in allowed for use in SECRET_KEY_USES},
    }


def _unmodifiable(template: Template) -> Template:
    return {**template, Attribute.MODIFIABLE: False}


@functools.cache
def material(*, extractable: bool = False) -> Template:
    """Return the template of a session object holding key material, which can make a MAC and nothing else.

    Only the temporary object of an import is `extractable`: it is about to be sealed.
    """
    return _unmodifiable(_secret_key(KeyType.AES, (Attribute.SIGN,), extractable=extractable))


@functools.cache
def ciphering_material() -> Template:
    """Return the template of a session object holding key material, which can encrypt, decrypt and nothing else."""
    return _unmodifiable(_secret_key(KeyType.AES, (Attribute.ENCRYPT, Attribute.DECRYPT)))


def misused(template: Template, use: Attribute) -> Template:
    """Return `template` with one flag turned on that an UNWRAP_TEMPLATE must refuse; for the probe only."""
    return {**template, use: True}


def custody(role: CustodyRole, object_id: bytes, label: str, *, allowed_mechanisms: bool) -> Template:
    """Return the template of the one long-lived object of `role` in a deployment."""
    names: Template = {Attribute.ID: object_id, Attribute.LABEL: label}
    return {**names, **custody_role(role, allowed_mechanisms=allowed_mechanisms)}


def custody_role(role: CustodyRole, *, allowed_mechanisms: bool) -> Template:
    """Return what every long-lived object of `role` is like; not every token stores `allowed_mechanisms`."""
    key_type = KeyType.GENERIC_SECRET if role is CustodyRole.MAC else KeyType.AES
    template = dict(_secret_key(key_type, _CUSTODY_USES[role], token=True))
    if allowed_mechanisms:
        template[Attribute.ALLOWED_MECHANISMS] = _CUSTODY_MECHANISMS[role]
    if role in _CUSTODY_UNWRAP_TEMPLATES:
        template[Attribute.UNWRAP_TEMPLATE] = _CUSTODY_UNWRAP_TEMPLATES[role]
    return _unmodifiable(template)


def find_by_id(object_id: bytes) -> Template:
    """Return the template that finds a token object by its CKA_ID."""
    return {Attribute.TOKEN: True, Attribute.ID: object_id}


def find_session_objects() -> Template:
    """Return the template that finds objects that do not outlive their session; on SoftHSM also what a kill left."""
    return {Attribute.TOKEN: False}


def of_length(template: Template, size: int) -> Template:
    """Return `template` for a key of `size` bytes to be generated, never to be unwrapped."""
    return {Attribute.VALUE_LEN: size, **template}


def marked(template: Template, mark: bytes) -> Template:
    """Return `template` for an object that is to be found again by `mark`, its CKA_ID; a copy of it has that, too."""
    return {Attribute.ID: mark, **template}


def find_marked(mark: bytes) -> Template:
    """Return the template that finds the session objects that have `mark`."""
    return {Attribute.TOKEN: False, Attribute.ID: mark}


def find_by_label(label: str) -> Template:
    """Return the template that finds a token object by its CKA_LABEL."""
    return {Attribute.TOKEN: True, Attribute.LABEL: label}


def _pair_private(*, extractable: bool) -> Template:
    return {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.KEY_TYPE: KeyType.RSA,
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: extractable,
        **{use: use is Attribute.UNWRAP for use in PRIVATE_KEY_USES},
    }


def fresh_pair_private() -> Template:
    """Return the template of a wrapping pair's private half as generated: extractable until it is narrowed."""
    return {**_pair_private(extractable=True), Attribute.MODIFIABLE: True}


@functools.cache
def pair_private() -> Template:
    """Return the template of a wrapping pair's private half as it is kept and unsealed."""
    return _unmodifiable(_pair_private(extractable=False))


def narrowing() -> Template:
    """Return the template for C_CopyObject that turns a fresh private half into one as it is kept."""
    return {Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False}


def widening() -> Template:
    """Return the template for C_CopyObject that a token must refuse; for the probe only."""
    return {Attribute.EXTRACTABLE: True}


def pair_public() -> Template:
    """Return the template of a wrapping pair's public half, which leaves the token as SubjectPublicKeyInfo."""
    return {
        Attribute.CLASS: ObjectClass.PUBLIC_KEY,
        Attribute.KEY_TYPE: KeyType.RSA,
        Attribute.TOKEN: False,
        Attribute.ENCRYPT: False,
        Attribute.VERIFY: False,
        Attribute.WRAP: True,
    }


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
