"""What a PKCS#11 function answers, as the exception that python-pkcs11 raises for it.

Law: a number means the same whoever made the call: `faults` sorts by these classes, and cannot know which way it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11 import exceptions as ckr

if TYPE_CHECKING:
    from collections.abc import Mapping

CKR_OK: Final = 0x0
CKR_FUNCTION_FAILED: Final = 0x6

_CLASSES: Final[Mapping[int, type[pkcs11.PKCS11Error]]] = {
    0x2: ckr.HostMemory,
    0x3: ckr.SlotIDInvalid,
    0x5: ckr.GeneralError,
    CKR_FUNCTION_FAILED: ckr.FunctionFailed,
    0x7: ckr.ArgumentsBad,
    0x8: ckr.NoEvent,
    0x10: ckr.AttributeReadOnly,
    0x11: ckr.AttributeSensitive,
    0x12: ckr.AttributeTypeInvalid,
    0x13: ckr.AttributeValueInvalid,
    0x20: ckr.DataInvalid,
    0x21: ckr.DataLenRange,
    0x30: ckr.DeviceError,
    0x31: ckr.DeviceMemory,
    0x32: ckr.DeviceRemoved,
    0x40: ckr.EncryptedDataInvalid,
    0x41: ckr.EncryptedDataLenRange,
    0x50: ckr.FunctionCancelled,
    0x54: ckr.FunctionNotSupported,
    0x60: ckr.KeyHandleInvalid,
    0x62: ckr.KeySizeRange,
    0x63: ckr.KeyTypeInconsistent,
    0x64: ckr.KeyNotNeeded,
    0x66: ckr.KeyNeeded,
    0x67: ckr.KeyIndigestible,
    0x69: ckr.KeyNotWrappable,
    0x6A: ckr.KeyUnextractable,
    0x70: ckr.MechanismInvalid,
    0x71: ckr.MechanismParamInvalid,
    0x82: ckr.ObjectHandleInvalid,
    0x90: ckr.OperationActive,
    0x91: ckr.OperationNotInitialized,
    0xA0: ckr.PinIncorrect,
    0xA1: ckr.PinInvalid,
    0xA2: ckr.PinLenRange,
    0xA3: ckr.PinExpired,
    0xA4: ckr.PinLocked,
    0xB0: ckr.SessionClosed,
    0xB1: ckr.SessionCount,
    0xB3: ckr.SessionHandleInvalid,
    0xB5: ckr.SessionReadOnly,
    0xB6: ckr.SessionExists,
    0xB7: ckr.SessionReadOnlyExists,
    0xB8: ckr.SessionReadWriteSOExists,
    0xC0: ckr.SignatureInvalid,
    0xC1: ckr.SignatureLenRange,
    0xD0: ckr.TemplateIncomplete,
    0xD1: ckr.TemplateInconsistent,
    0xE0: ckr.TokenNotPresent,
    0xE1: ckr.TokenNotRecognised,
    0xE2: ckr.TokenWriteProtected,
    0xF0: ckr.UnwrappingKeyHandleInvalid,
    0xF1: ckr.UnwrappingKeySizeRange,
    0xF2: ckr.UnwrappingKeyTypeInconsistent,
    0x100: ckr.UserAlreadyLoggedIn,
    0x101: ckr.UserNotLoggedIn,
    0x102: ckr.UserPinNotInitialized,
    0x104: ckr.AnotherUserAlreadyLoggedIn,
    0x105: ckr.UserTooManyTypes,
    0x110: ckr.WrappedKeyInvalid,
    0x112: ckr.WrappedKeyLenRange,
    0x113: ckr.WrappingKeyHandleInvalid,
    0x114: ckr.WrappingKeySizeRange,
    0x115: ckr.WrappingKeyTypeInconsistent,
    0x120: ckr.RandomSeedNotSupported,
    0x121: ckr.RandomNoRNG,
    0x130: ckr.DomainParamsInvalid,
    0x1B5: ckr.ExceededMaxIterations,
    0x1B8: ckr.PinTooWeak,
    0x1B9: ckr.PublicKeyInvalid,
    0x200: ckr.FunctionRejected,
}
"""PKCS#11 3.1, appendix B: the numbers that python-pkcs11 has a class for."""


def error_of(answer: int) -> pkcs11.PKCS11Error:
    """Return the exception for a CK_RV that is not CKR_OK."""
    found = _CLASSES.get(answer)
    return pkcs11.PKCS11Error(f"Unmapped error code {answer:#x}") if found is None else found()
