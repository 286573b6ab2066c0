"""Every template that is ever sent to a token, built in one typed place.

Laws:

- CKA_MODIFIABLE is the last attribute: SoftHSM 2.6.1 applies a template in order, and after MODIFIABLE=false it
  answers CKR_ATTRIBUTE_READ_ONLY to what follows;
- CKA_VALUE_LEN is never in an unwrap template: NSS truncates the key to it without a word.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, TypeAlias

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from hsmkms.core.custody import SEALING_ROLES, CustodyRole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hsmkms.core.custody import CustodyObject

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
_UNSEALED_TRANSIT: Final[Mapping[Attribute, bool | int]] = {
    attribute: value for attribute, value in _UNSEALED_MATERIAL.items() if attribute is not Attribute.EXTRACTABLE
}
"""What the transit key unwraps is the temporary object of an import: extractable, because it is about to be sealed."""
_UNSEALED_TRANSFERABLE: Final[Mapping[Attribute, bool | int]] = {**_UNSEALED_TRANSIT, Attribute.WRAP_WITH_TRUSTED: True}
"""Either not extractable, or to be wrapped by nothing but a key that the security officer trusts."""
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


def _material(uses: Iterable[Attribute], *, extractable: bool, transferable: bool) -> Template:
    template = _secret_key(KeyType.AES, uses, extractable=extractable)
    # SoftHSM wants all that the UNWRAP_TEMPLATE names in the template of what is unsealed; other tokens lack it.
    trusted = {Attribute.WRAP_WITH_TRUSTED: True} if transferable else {}
    return _unmodifiable({**template, **trusted})


@functools.cache
def material(*, extractable: bool = False, transferable: bool = False) -> Template:
    """Return the template of a session object holding key material, which can make a MAC and nothing else.

    Args:
        extractable: of the temporary object of an import, which is about to be sealed, and in a transfer.
        transferable: of what a transferable sealing key unseals: nothing but a trusted key wraps it.
    """
    return _material((Attribute.SIGN,), extractable=extractable, transferable=transferable)


@functools.cache
def ciphering_material(*, transferable: bool = False) -> Template:
    """Return the template of a session object holding key material, which can encrypt, decrypt and nothing else.

    Args:
        transferable: as of `material`.
    """
    return _material((Attribute.ENCRYPT, Attribute.DECRYPT), extractable=False, transferable=transferable)


def misused(template: Template, attribute: Attribute, *, value: bool = True) -> Template:
    """Return `template` with one of its flags as an UNWRAP_TEMPLATE must refuse it; for the probe only."""
    return {**template, attribute: value}


def wrapping(*, trusted: bool = False) -> Template:
    """Return the template of a key as a thief would make one to take material out; for the probe only."""
    template = dict(_secret_key(KeyType.AES, (Attribute.WRAP, Attribute.UNWRAP), extractable=True))
    if trusted:
        template[Attribute.TRUSTED] = True
    return template


def custody(item: CustodyObject, label: str, *, allowed_mechanisms: bool) -> Template:
    """Return the template of one long-lived object of a deployment."""
    names: Template = {Attribute.ID: item.object_id, Attribute.LABEL: label}
    role = custody_role(item.role, transferable=item.transferable, allowed_mechanisms=allowed_mechanisms)
    return {**names, **role}


def custody_role(role: CustodyRole, *, transferable: bool = False, allowed_mechanisms: bool) -> Template:
    """Return what every long-lived object of `role` is like.

    Args:
        role: what it is for.
        transferable: of a material sealing key: see `CustodyObject`.
        allowed_mechanisms: whether the token stores which there are; not every one does.
    """
    key_type = KeyType.GENERIC_SECRET if role is CustodyRole.MAC else KeyType.AES
    template = dict(_secret_key(key_type, _CUSTODY_USES[role], token=True))
    if allowed_mechanisms:
        template[Attribute.ALLOWED_MECHANISMS] = _CUSTODY_MECHANISMS[role]
    if role in SEALING_ROLES:
        of_material = _UNSEALED_TRANSFERABLE if transferable else _UNSEALED_MATERIAL
        template[Attribute.UNWRAP_TEMPLATE] = _UNSEALED_PAIR if role is CustodyRole.PAIR_SEALING else of_material
    return _unmodifiable(template)


def transit() -> Template:
    """Return the template of the transit key, which only the security officer can make.

    It is a public object, because the security officer sees no private one, and one of the session, so that it is
    never on a disk and ends with the process. It takes what nothing but a trusted key wraps, and gives back the
    temporary object of an import.
    """
    template = dict(_secret_key(KeyType.AES, (Attribute.WRAP, Attribute.UNWRAP)))
    template[Attribute.PRIVATE] = False
    template[Attribute.TRUSTED] = True
    template[Attribute.ALLOWED_MECHANISMS] = (MATERIAL_SEALING_MECHANISM,)
    template[Attribute.UNWRAP_TEMPLATE] = _UNSEALED_TRANSIT
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


def known(template: Template, value: bytes) -> Template:
    """Return `template` for a key of this value, which is no secret; for the probe only."""
    return {**template, Attribute.VALUE: value}


def marked(template: Template, mark: bytes) -> Template:
    """Return `template` for an object that is to be found again by `mark`, its CKA_ID; a copy of it has that, too."""
    return {Attribute.ID: mark, **template}


def find_marked(mark: bytes) -> Template:
    """Return the template that finds the session objects that have `mark`."""
    return {Attribute.TOKEN: False, Attribute.ID: mark}


def find_by_label(label: str) -> Template:
    """Return the template that finds a token object by its CKA_LABEL."""
    return {Attribute.TOKEN: True, Attribute.LABEL: label}


def find_wrapping_keys() -> Template:
    """Return the template that finds the token's keys that wrap and unwrap, as sealing keys do."""
    return {
        Attribute.TOKEN: True,
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.WRAP: True,
        Attribute.UNWRAP: True,
    }


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


def unguarding() -> Template:
    """Return the template for C_CopyObject that would let any key wrap what is copied; for the probe only."""
    return {Attribute.WRAP_WITH_TRUSTED: False}


def trusting() -> Template:
    """Return the template for C_CopyObject that would make the user's key a trusted one; for the probe only."""
    return {Attribute.TRUSTED: True}


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
