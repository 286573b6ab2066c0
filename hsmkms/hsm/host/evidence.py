"""Reading names and security attributes back and comparing them with what was asked for.

Law: what differs, or is not reported, is a finding; only the token's profile can excuse it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pkcs11 import Attribute, KeyType, ObjectClass

from hsmkms.hsm.host import templates

if TYPE_CHECKING:
    from hsmkms.hsm.host.session import TokenObject, TokenSession
    from hsmkms.hsm.host.templates import Template

_COMPARED: Final = frozenset(
    (
        Attribute.ID,
        Attribute.LABEL,
        Attribute.CLASS,
        Attribute.KEY_TYPE,
        Attribute.TOKEN,
        Attribute.PRIVATE,
        Attribute.SENSITIVE,
        Attribute.EXTRACTABLE,
        Attribute.MODIFIABLE,
        Attribute.ALLOWED_MECHANISMS,
        Attribute.TRUSTED,
        Attribute.WRAP_WITH_TRUSTED,
        *templates.SECRET_KEY_USES,
        *templates.PRIVATE_KEY_USES,
    )
)


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.name if isinstance(value, ObjectClass | KeyType) else str(value)


def findings(session: TokenSession, key: TokenObject, asked: Template, *, generated: bool = False) -> list[str]:
    """Return in which names and security attributes `key` is not what `asked` asked for, as `ATTRIBUTE is value`.

    Of an object `generated` in the token, CKA_LOCAL and CKA_ALWAYS_SENSITIVE must be true, and CKA_NEVER_EXTRACTABLE
    the opposite of EXTRACTABLE (PKCS#11 2.40, 4.9 and 4.10: no caller can set them).
    """
    wanted = {attribute: value for attribute, value in asked.items() if attribute in _COMPARED}
    if generated:
        wanted[Attribute.LOCAL] = True
        wanted[Attribute.ALWAYS_SENSITIVE] = True
        wanted[Attribute.NEVER_EXTRACTABLE] = not asked[Attribute.EXTRACTABLE]
    found = []
    for attribute, value in wanted.items():
        actual = session.read(key, attribute)
        if actual is None:
            found.append(f"{attribute.name} is not reported")
        elif actual != value:
            found.append(f"{attribute.name} is {_shown(actual)}")
    return found
