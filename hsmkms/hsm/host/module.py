"""Loading a PKCS#11 module, finding the token, logging in.

Laws:

- a module is initialised with CKF_OS_LOCKING_OK: python-pkcs11 calls C_Initialize(NULL), after which SoftHSM runs
  without its mutexes while every call releases the GIL (crashes in nearly every run with two threads);
- the PIN is sent once, and last: whatever else may keep the host from starting shows before (`transit` has the
  security officer's).
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11._pkcs11 import lib

from hsmkms.core.errors import LoginUnanswered, PinRefused, TokenUnusable
from hsmkms.hsm.host import cryptoki, faults, pins
from hsmkms.hsm.host.mapper import Mapper
from hsmkms.hsm.host.profiles import profile_of
from hsmkms.hsm.host.return_values import CKR_OK
from hsmkms.hsm.report import TokenDescription
from hsmkms.hsm.settings import HostPurpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from hsmkms.hsm.settings import HostSettings

_CKF_OS_LOCKING_OK: Final = 2


class _InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 2.40, 3.7).

    The one field after `flags` is pReserved. NSS reads its parameter string there, and a NULL after it.
    """

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_char_p),
        ("null", ctypes.c_void_p),
    )


class Library(lib):
    """A module, initialised with locking and, where it needs one, a parameter string."""

    def __new__(cls, path: str, _parameters: str | None) -> Self:
        """Load the module; python-pkcs11 wants the path alone here."""
        return super().__new__(cls, path)  # type: ignore[call-arg] # the stub has no __new__, the class has

    def __init__(self, path: str, parameters: str | None) -> None:
        """Initialise it."""
        self._parameters = parameters.encode() if parameters else None
        super().__init__(path)

    @classmethod
    def load(cls, path: str, parameters: str | None) -> Library:
        """Load and initialise the module at `path`.

        Raises:
            TokenUnusable: there is none, or it does not initialise.
        """
        if not Path(path).is_file():
            raise TokenUnusable(f"The PKCS#11 module '{path}' does not exist: correct hsm.module.")
        try:
            return cls(path, parameters)
        except (pkcs11.PKCS11Error, OSError, AttributeError) as error:
            raise TokenUnusable(
                f"The PKCS#11 module '{path}' cannot be loaded and initialised ({error}): check hsm.module, "
                "hsm.initialize_args and [hsm.env]."
            ) from error

    def initialize(self) -> None:
        """Call C_Initialize; python-pkcs11's constructor calls this method instead of its own."""
        arguments = _InitializeArgs(flags=_CKF_OS_LOCKING_OK, reserved=self._parameters)
        outcome = cryptoki.load(self.so).initialize(ctypes.addressof(arguments))
        if outcome != CKR_OK:
            raise pkcs11.PKCS11Error(f"C_Initialize answered {outcome:#x}")


def find_token(library: Library, label: str) -> pkcs11.Token:
    """Return the one token labelled `label`.

    Raises:
        TokenUnusable: there is none, or more than one.
    """
    tokens = []
    for slot in library.get_slots(token_present=True):
        try:
            tokens.append(slot.get_token())
        except pkcs11.PKCS11Error:
            continue  # a slot without a usable token says nothing about the others
    found = [token for token in tokens if token.label == label]
    if len(found) == 1:
        return found[0]
    if found:
        raise TokenUnusable(
            f"There are {len(found)} tokens labelled '{label}': give ours a label of its own, "
            "and name it in hsm.token_label."
        )
    present = ", ".join(f"'{token.label}'" for token in tokens if token.label) or "none"
    raise TokenUnusable(
        f"There is no token labelled '{label}' (present: {present}): correct hsm.token_label or [hsm.env], "
        "or make the token."
    )


def describe(library: Library, token: pkcs11.Token, path: str) -> TokenDescription:
    """Return which token this is."""
    return TokenDescription(
        label=token.label,
        serial=token.serial.decode("utf-8", "replace").rstrip("\0 "),
        manufacturer=token.manufacturer_id,
        model=token.model,
        module=path,
        module_description=library.library_description,
        module_version=".".join(map(str, library.library_version)),
        profile=profile_of(token.manufacturer_id).name,
    )


def open_sessions(
    token: pkcs11.Token, settings: HostSettings, before_login: Callable[[], None] = lambda: None
) -> list[pkcs11.Session]:
    """Log in once, and return as many sessions as `settings` asks for.

    Args:
        token: the token.
        settings: of this host.
        before_login: called when the next thing is to send the PIN.

    Raises:
        PinRefused: the token refused the PIN.
        LoginUnanswered: it neither took nor refused it.
        TokenUnusable: the PIN or the token cannot be used; the PIN was not sent.
    """
    writable = settings.purpose is HostPurpose.INIT
    pin = pins.read_pin(settings)
    try:
        sessions = [token.open(rw=writable, attribute_mapper=Mapper()) for _ in range(settings.sessions)]
        # python-pkcs11 opens a session and logs in with it in one call; that there is room for it is known now.
        sessions.pop().close()
    except pkcs11.PKCS11Error as error:
        raise no_session(settings, error) from error
    before_login()
    with one_login(settings, PinRefused.text):
        sessions.append(token.open(rw=writable, user_pin=pin.reveal().decode(), attribute_mapper=Mapper()))
    return sessions


def no_session(settings: HostSettings, error: pkcs11.PKCS11Error) -> TokenUnusable:
    """Return what it means that the token opens no session."""
    return TokenUnusable(
        f"The token '{settings.token_label}' opens no session ({faults.word(error)}): see the module's own log, "
        "or lower hsm.sessions_per_host."
    )


@contextmanager
def one_login(settings: HostSettings, refused: str, pin: str = "PIN") -> Iterator[None]:
    """Judge the one login in the block.

    Args:
        settings: of this host.
        refused: the sentence for a PIN that the token refuses.
        pin: which PIN it is, for the other sentences.

    Raises:
        PinRefused: the token refused it.
        LoginUnanswered: it neither took nor refused it.
    """
    try:
        yield
    except pkcs11.PKCS11Error as error:
        if faults.is_pin_refusal(error):
            raise PinRefused(refused) from error
        raise LoginUnanswered(
            f"The token '{settings.token_label}' neither took nor refused the {pin} ({faults.word(error)}): see the "
            "module's own log, and how many tries the token has left, before you start again."
        ) from error
