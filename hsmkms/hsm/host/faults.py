"""Which PKCS#11 errors speak of the data, which of the token, and which say nothing.

Laws:

- an error is sorted by its class; one that python-pkcs11 does not know (CKR_ACTION_PROHIBITED, vendors' numbers) is
  ambiguous, never let out;
- an ambiguous error is judged by the canary: SoftHSM answers CKR_GENERAL_ERROR to a bad ciphertext and to a sick disk.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

import pkcs11
from pkcs11 import exceptions as ckr


class ErrorClass(Enum):
    """Of what an error speaks."""

    DATA = auto()
    TOKEN = auto()
    AMBIGUOUS = auto()


_OF_THE_DATA: Final = (
    ckr.ArgumentsBad,  # NSS, for an OAEP ciphertext of the wrong structure
    ckr.DataInvalid,
    ckr.DataLenRange,
    ckr.EncryptedDataInvalid,
    ckr.EncryptedDataLenRange,
    ckr.KeySizeRange,
    ckr.WrappedKeyInvalid,
    ckr.WrappedKeyLenRange,
)
_OF_THE_TOKEN: Final = (
    ckr.DeviceMemory,
    ckr.DeviceRemoved,
    ckr.HostMemory,
    ckr.OperationActive,  # one whose end was lost: the session begins no other
    ckr.SessionClosed,
    ckr.SessionCount,
    ckr.SessionHandleInvalid,
    ckr.TokenNotPresent,
    ckr.TokenNotRecognised,
    ckr.UserNotLoggedIn,
)
_OF_THE_PIN: Final = (
    ckr.PinExpired,
    ckr.PinIncorrect,
    ckr.PinInvalid,
    ckr.PinLenRange,
    ckr.PinLocked,
    ckr.UserPinNotInitialized,
)


_WITHOUT_A_CLASS: Final = {
    0x1: "CANCEL",
    0x9: "NEED_TO_CREATE_THREADS",
    0xA: "CANT_LOCK",
    0x1B: "ACTION_PROHIBITED",
    0x35: "AEAD_DECRYPT_FAILED",
    0x65: "KEY_CHANGED",
    0x68: "KEY_FUNCTION_NOT_PERMITTED",
    0xB4: "SESSION_PARALLEL_NOT_SUPPORTED",
    0x103: "USER_TYPE_INVALID",
    0x140: "CURVE_NOT_SUPPORTED",
    0x150: "BUFFER_TOO_SMALL",
    0x170: "INFORMATION_SENSITIVE",
    0x190: "CRYPTOKI_NOT_INITIALIZED",
    0x191: "CRYPTOKI_ALREADY_INITIALIZED",
    0x1B0: "NEW_PIN_MODE",
    0x1B6: "FIPS_SELF_TEST_FAILED",
    0x1B7: "LIBRARY_LOAD_FAILED",
    0x201: "TOKEN_RESOURCE_EXCEEDED",
    0x202: "OPERATION_CANCEL_FAILED",
    0x203: "KEY_EXHAUSTED",
}
"""Standard numbers (PKCS#11 3.1) of which the number is told only, in `_UNMAPPED`."""
_SENTENCES: Final = {
    "Buffer was too small. Should never see this.": "BUFFER_TOO_SMALL",
    "Initialisation error (already initialized). Should never see this.": "CRYPTOKI_ALREADY_INITIALIZED",
    "Initialisation error (not initialized). Should never see this.": "CRYPTOKI_NOT_INITIALIZED",
    "Parallel not supported. Should never see this.": "SESSION_PARALLEL_NOT_SUPPORTED",
    "User type invalid. Should never see this.": "USER_TYPE_INVALID",
}
"""Standard numbers of which python-pkcs11 says a sentence that is not for operators."""
_UNMAPPED: Final = re.compile(r"Unmapped error code (0x[0-9a-f]+)")


class TokenSick(Exception):
    """The token cannot be relied on: nothing was judged, and the host must end."""

    def __init__(self, word: str) -> None:
        """Take the token's word for it, for the operator's log."""
        self.word = word
        super().__init__(word)


def classify(error: pkcs11.PKCS11Error) -> ErrorClass:
    """Return of what `error` speaks, when it came from a cryptographic operation."""
    if isinstance(error, _OF_THE_DATA):
        return ErrorClass.DATA
    if isinstance(error, _OF_THE_TOKEN):
        return ErrorClass.TOKEN
    return ErrorClass.AMBIGUOUS


def is_pin_refusal(error: pkcs11.PKCS11Error) -> bool:
    """Tell whether C_Login refused the PIN, so that another try would bring it nearer to its lock."""
    return isinstance(error, _OF_THE_PIN)


def word(error: pkcs11.PKCS11Error) -> str:
    """Return the operator's word for `error`: its class, or the standard's name where python-pkcs11 has no class."""
    if type(error) is not pkcs11.PKCS11Error or not error.args:
        return type(error).__name__
    said = str(error)
    unmapped = _UNMAPPED.fullmatch(said)
    if unmapped is None:
        return _SENTENCES.get(said, said)
    return _WITHOUT_A_CLASS.get(int(unmapped[1], 16), f"error {unmapped[1]}")
