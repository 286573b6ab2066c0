"""What a token must do and refuse for a sealing key to let material go to its successor and nowhere else.

Laws:

- whether a token enforces CKA_WRAP_WITH_TRUSTED and CKA_TRUSTED is tried, never concluded from what it reports;
- a token that does not is not excused: a deployment on it can only be one that is not transferable.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, TypeAlias

import pkcs11
from pkcs11 import Attribute

from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm.host import faults, outside, templates
from hsmkms.hsm.host.faults import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hsmkms.hsm.host.session import TokenObject, TokenSession

Attempt: TypeAlias = "Callable[[], TokenObject | bytes | None]"
Ways: TypeAlias = "Generator[tuple[str, Attempt], None, None]"

_BITS: Final = 256
_BYTES: Final = 32
_MECHANISM: Final = templates.MATERIAL_SEALING_MECHANISM

UNSEALING_UNGUARDED: Final = "enforces UNWRAP_TEMPLATE: WRAP_WITH_TRUSTED"
WRAPPING_BY_ITSELF: Final = "refuses to wrap transferable material under its own sealing key"
WRAPPING_BY_ANOTHER: Final = "refuses to wrap transferable material under a key that is not TRUSTED"
UNGUARDING_A_COPY: Final = "refuses to copy transferable material without WRAP_WITH_TRUSTED"
UNGUARDING: Final = "refuses to change WRAP_WITH_TRUSTED"
MAKING_TRUSTED: Final = "refuses the user to generate a TRUSTED key"
UNWRAPPING_TRUSTED: Final = "refuses the user to unwrap a TRUSTED key"
COPYING_TO_TRUSTED: Final = "refuses the user to copy a key to TRUSTED"
CREATING_TRUSTED: Final = "refuses the user to create a TRUSTED key of a known value"
CHANGING_TO_TRUSTED: Final = "refuses the user to change a key to TRUSTED"


def refusal_of(session: TokenSession, attempt: Attempt) -> pkcs11.PKCS11Error | None:
    """Make an attempt, and return with what the token refused it; None if it did not."""
    try:
        with session.to_be_refused():
            made = attempt()
    except pkcs11.PKCS11Error as error:
        return error
    if made is not None and not isinstance(made, bytes):
        made.destroy()
    return None


def unseals_unguarded(session: TokenSession, sealing: TokenObject, blob: bytes) -> bool:
    """Tell whether what is sealed comes out without CKA_WRAP_WITH_TRUSTED, as of no transferable sealing key.

    Which error a token has for it is its own affair.

    Args:
        session: to work in.
        sealing: the sealing key.
        blob: something that it sealed.

    Raises:
        PKCS11Error: the token speaks of itself.
    """
    try:
        with session.to_be_refused():
            unsealed = session.unwrap(sealing, blob, templates.material(), _MECHANISM)
    except pkcs11.PKCS11Error as error:
        if faults.classify(error) is ErrorClass.TOKEN:
            raise
        return False
    with session.temporary(unsealed):
        return True


def is_transferable(session: TokenSession, sealing: TokenObject) -> bool:
    """Tell by trials, because no token reports an UNWRAP_TEMPLATE in a form that can be compared.

    Raises:
        PKCS11Error: it unseals neither as a transferable key nor as one that is not.
    """
    blob = _sealed(session, sealing)
    if unseals_unguarded(session, sealing, blob):
        return False
    with session.temporary(session.unwrap(sealing, blob, templates.material(transferable=True), _MECHANISM)):
        return True


def letting_go(session: TokenSession, sealing: TokenObject) -> Ways:
    """Yield how material could leave a transferable sealing key for another than a trusted one.

    Each with an attempt that the token must refuse, to be made before the next one is asked for.
    """
    wide = templates.material(extractable=True, transferable=True)
    blob = _sealed(session, sealing)
    unguarded = templates.misused(wide, Attribute.WRAP_WITH_TRUSTED, value=False)
    yield UNSEALING_UNGUARDED, lambda: session.unwrap(sealing, blob, unguarded, _MECHANISM)
    try:
        unsealed = session.unwrap(sealing, blob, wide, _MECHANISM)
    except pkcs11.PKCS11Error:
        return  # what is never let go cannot go astray
    with (
        session.temporary(unsealed),
        session.temporary(session.generate_secret(_BITS, templates.wrapping())) as own,
    ):
        yield WRAPPING_BY_ITSELF, lambda: session.wrap(sealing, unsealed, _MECHANISM)
        yield WRAPPING_BY_ANOTHER, lambda: session.wrap(own, unsealed, _MECHANISM)
        yield UNGUARDING_A_COPY, lambda: session.copy(unsealed, templates.unguarding())
        yield UNGUARDING, lambda: session.change(unsealed, Attribute.WRAP_WITH_TRUSTED, value=False)


def trusting(session: TokenSession) -> Ways:
    """Yield how the user could come by a trusted key, as `letting_go` does."""
    trusted = templates.wrapping(trusted=True)
    with session.temporary(session.generate_secret(_BITS, templates.wrapping())) as own:
        blob = session.wrap(own, own, _MECHANISM)
        yield MAKING_TRUSTED, lambda: session.generate_secret(_BITS, trusted)
        yield CREATING_TRUSTED, lambda: session.create(templates.known(trusted, outside.throw_away(_BYTES)))
        yield UNWRAPPING_TRUSTED, lambda: session.unwrap(own, blob, trusted, _MECHANISM)
        yield COPYING_TO_TRUSTED, lambda: session.copy(own, templates.trusting())
        yield CHANGING_TO_TRUSTED, lambda: session.change(own, Attribute.TRUSTED, value=True)


def _sealed(session: TokenSession, sealing: TokenObject) -> bytes:
    with session.temporary(session.generate_secret(_BITS, templates.material(extractable=True))) as throw_away:
        return session.wrap(sealing, throw_away, _MECHANISM)


def require(session: TokenSession, sealing: TokenObject, label: str) -> None:
    """Return if the token makes of `sealing` a key that lets material go to a trusted key and to no other.

    Raises:
        TokenUnusable: it does not.
    """
    wide = templates.material(extractable=True, transferable=True)
    try:
        session.unwrap(sealing, _sealed(session, sealing), wide, _MECHANISM).destroy()
    except pkcs11.PKCS11Error as error:
        raise _unfit(label, "does not unseal for a transfer") from error
    for ways in (letting_go(session, sealing), trusting(session)):
        with contextlib.closing(ways):
            for check, attempt in ways:
                if refusal_of(session, attempt) is None:
                    raise _unfit(label, f"does not do this: {check}")


def _unfit(label: str, why: str) -> TokenUnusable:
    return TokenUnusable(
        f"The object '{label}' was not made, because this token {why}: on it no sealing key can be transferable; "
        "go on without --transferable."
    )
