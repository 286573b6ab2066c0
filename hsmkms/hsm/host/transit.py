"""The transit key: made by the security officer, used by the user, and gone with the process.

Only the security officer makes a key with CKA_TRUSTED (PKCS#11 2.40, table 10), and sees no private object; the user
sees the sealing keys, and makes no such key. A public object of the session is there for both, one after the other.

Laws:

- the transit key is never a token object: it is on no disk, and no other process sees it;
- each PIN is sent once, the security officer's first, and not if the token says that its next refusal is the last;
  the user's is sent only after there is a transit key;
- the security officer is logged out before anything else is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11 import TokenFlag, UserType

from hsmkms.core.errors import PinRefused, TokenUnusable
from hsmkms.hsm.host import evidence, faults, pins, templates
from hsmkms.hsm.host.cryptoki import Calls
from hsmkms.hsm.host.mapper import Mapper
from hsmkms.hsm.host.module import no_session, one_login
from hsmkms.hsm.host.session import TokenSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.settings import HostSettings

_BITS: Final = 256


def open_session(token: pkcs11.Token, settings: HostSettings, before_login: Callable[[], None]) -> TokenSession:
    """Return the one session of a host that is to transfer: of the user, with the transit key in it.

    Args:
        token: the token.
        settings: of this host.
        before_login: called when the next thing is to send a PIN.

    Raises:
        PinRefused: the token refused a PIN; the message says which.
        LoginUnanswered: it neither took nor refused one.
        TokenUnusable: a PIN or the token cannot be used, or the token does not make a transit key.
    """
    so_pin, pin = pins.read_so_pin(settings), pins.read_pin(settings)
    _require_a_try_to_spare(token)
    try:
        opened: Any = token.open(rw=True, attribute_mapper=Mapper())
    except pkcs11.PKCS11Error as error:
        raise no_session(settings, error) from error
    calls = Calls(opened.handle)
    before_login()
    refused = (
        "The token refused the security officer's PIN; it was tried once. Correct what is in the file "
        f"'{settings.so_pin_file}' before you try again."
    )
    with one_login(settings, refused, "security officer's PIN"):
        calls.log_in(UserType.SO, so_pin)
    transit_key = _made(TokenSession(opened), settings)
    _log_out(calls, settings)
    with one_login(settings, PinRefused.text):
        calls.log_in(UserType.USER, pin)
    session = TokenSession(opened, transit_key)
    _require_as_made(session, transit_key, settings)
    return session


def _require_a_try_to_spare(token: pkcs11.Token) -> None:
    """Return if a wrong PIN of the security officer would not lock the token (PKCS#11 2.40, table 7)."""
    if token.flags & TokenFlag.SO_PIN_LOCKED:
        raise TokenUnusable(
            f"The token '{token.label}' has locked the security officer's PIN after wrong ones, and without the "
            "security officer it cannot transfer material: see its maker's manual."
        )
    if token.flags & TokenFlag.SO_PIN_FINAL_TRY:
        raise TokenUnusable(
            f"The token '{token.label}' says that one more wrong PIN of the security officer locks it, so none was "
            "sent. Log in as security officer with the maker's own tool, which gives the tries back, and repeat the "
            "command."
        )


def _made(session: TokenSession, settings: HostSettings) -> TokenObject:
    try:
        return session.generate_secret(_BITS, templates.transit())
    except pkcs11.PKCS11Error as error:
        raise _unfit(settings, f"the security officer cannot make it ({faults.word(error)})") from error


def _log_out(calls: Calls, settings: HostSettings) -> None:
    try:
        calls.log_out()
    except pkcs11.PKCS11Error as error:
        raise _unfit(settings, f"the security officer cannot log out ({faults.word(error)})") from error


def _require_as_made(session: TokenSession, key: TokenObject, settings: HostSettings) -> None:
    try:
        found = evidence.findings(session, key, templates.transit(), generated=True)
    except pkcs11.PKCS11Error as error:
        raise _unfit(settings, f"it is gone when the user logs in ({faults.word(error)})") from error
    if found:
        raise _unfit(settings, f"it is not as it was asked for ({', '.join(found)})")


def _unfit(settings: HostSettings, why: str) -> TokenUnusable:
    return TokenUnusable(f"The token '{settings.token_label}' has no transit key: {why}. It cannot transfer material.")
