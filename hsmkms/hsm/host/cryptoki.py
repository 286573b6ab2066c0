"""The functions of a PKCS#11 module, called directly: those that every import and every use of a key needs.

python-pkcs11 asks first how long each output will be, reads ten attributes of each object that comes to be, and makes
a class of them: that is 39 calls of the token for an import, where 22 do, and each is a round trip to an HSM on a
network. What is done once for each process stays with python-pkcs11: slots, the user's login, searches, pairs. It does
not log in one user after the other in one session, which a transfer needs.

Laws:

- a buffer that C wrote to is wiped once its content was taken out;
- what is not CKR_OK is raised as python-pkcs11 would raise it (`return_values`);
- a process has one module, as it has one C_Initialize: the last one that was loaded;
- no call holds the interpreter's lock, so that the sessions of a host work at the same time.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, c_char_p, c_ubyte, c_ulong, c_void_p
from typing import TYPE_CHECKING, Any, Final

from hsmkms.hsm.host.packing import CkAttribute
from hsmkms.hsm.host.return_values import CKR_FUNCTION_FAILED, CKR_OK, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pkcs11 import UserType

    from hsmkms.core.secrets import Pin
    from hsmkms.hsm.host.packing import Packed, Parameter

_NAMES: Final = (
    "C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo "
    "C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession C_CloseSession "
    "C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState C_Login C_Logout C_CreateObject "
    "C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit "
    "C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit C_Decrypt "
    "C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign "
    "C_SignUpdate C_SignFinal C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal "
    "C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate "
    "C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey C_SeedRandom "
    "C_GenerateRandom"
)
"""The order of CK_FUNCTION_LIST behind its version (PKCS#11 2.40, appendix A)."""
_FUNCTIONS: Final = tuple(_NAMES.split())
_BUFFER_BYTES: Final = 8192
"""More than any output: a sealed 4096-bit pair has 2.4 KiB, a ciphertext 4.1 KiB."""
_INVALID_HANDLE: Final = 0
"""CK_INVALID_HANDLE."""

_INIT: Final = CFUNCTYPE(c_ulong, c_ulong, c_void_p, c_ulong)
_PROCESS: Final = CFUNCTYPE(c_ulong, c_ulong, c_char_p, c_ulong, c_void_p, c_void_p)


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST."""

    _fields_ = (("version", c_ubyte * 2), ("addresses", c_void_p * len(_FUNCTIONS)))


class Functions:
    """The functions of a module."""

    def __init__(self, path: str) -> None:
        """Ask the module at `path` for its list of functions.

        Raises:
            OSError, AttributeError: it is no PKCS#11 module.
            PKCS11Error: it does not give the list.
        """
        get_function_list = ctypes.CDLL(path).C_GetFunctionList
        get_function_list.restype = c_ulong
        found = c_void_p()
        answer = get_function_list(ctypes.byref(found))
        if answer != CKR_OK or not found.value:
            raise error_of(answer or CKR_FUNCTION_FAILED)
        self._addresses: Mapping[str, int | None] = dict(
            zip(_FUNCTIONS, _FunctionList.from_address(found.value).addresses, strict=True)
        )
        self.initialize = self._of("C_Initialize", CFUNCTYPE(c_ulong, c_void_p))
        self.create_object = self._of("C_CreateObject", CFUNCTYPE(c_ulong, c_ulong, c_void_p, c_ulong, c_void_p))
        self.copy_object = self._of("C_CopyObject", CFUNCTYPE(c_ulong, c_ulong, c_ulong, c_void_p, c_ulong, c_void_p))
        self.destroy_object = self._of("C_DestroyObject", CFUNCTYPE(c_ulong, c_ulong, c_ulong))
        of_attributes = CFUNCTYPE(c_ulong, c_ulong, c_ulong, c_void_p, c_ulong)
        self.get_attribute_value = self._of("C_GetAttributeValue", of_attributes)
        self.set_attribute_value = self._of("C_SetAttributeValue", of_attributes)
        self.encrypt_init, self.encrypt = self._of("C_EncryptInit", _INIT), self._of("C_Encrypt", _PROCESS)
        self.decrypt_init, self.decrypt = self._of("C_DecryptInit", _INIT), self._of("C_Decrypt", _PROCESS)
        self.sign_init, self.sign = self._of("C_SignInit", _INIT), self._of("C_Sign", _PROCESS)
        self.generate_key = self._of(
            "C_GenerateKey", CFUNCTYPE(c_ulong, c_ulong, c_void_p, c_void_p, c_ulong, c_void_p)
        )
        self.wrap_key = self._of(
            "C_WrapKey", CFUNCTYPE(c_ulong, c_ulong, c_void_p, c_ulong, c_ulong, c_void_p, c_void_p)
        )
        self.unwrap_key = self._of(
            "C_UnwrapKey",
            CFUNCTYPE(c_ulong, c_ulong, c_void_p, c_ulong, c_char_p, c_ulong, c_void_p, c_ulong, c_void_p),
        )
        self.generate_random = self._of("C_GenerateRandom", CFUNCTYPE(c_ulong, c_ulong, c_void_p, c_ulong))
        self.login = self._of("C_Login", CFUNCTYPE(c_ulong, c_ulong, c_ulong, c_char_p, c_ulong))
        self.logout = self._of("C_Logout", CFUNCTYPE(c_ulong, c_ulong))

    def _of(self, name: str, prototype: Any) -> Callable[..., int]:  # noqa: ANN401 - ctypes' own type is private
        address = self._addresses[name]
        if not address:
            raise AttributeError(name)
        function: Callable[..., int] = prototype(address)
        return function


_loaded: list[Functions] = []


def load(path: str) -> Functions:
    """Return the functions of the module at `path`, which is this process's from now on.

    Raises:
        OSError, AttributeError, PKCS11Error: as `Functions`.
    """
    _loaded[:] = [Functions(path)]
    return _loaded[0]


class Calls:
    """Direct calls in one session; for one thread at a time.

    Objects are named by their handles.
    """

    def __init__(self, session: int) -> None:
        """Take the handle of an open session of the module that this process has loaded."""
        (self._functions,) = _loaded
        self._session = session
        self._buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
        self._output = ctypes.addressof(self._buffer)
        self._number = c_ulong()
        self._result = ctypes.addressof(self._number)

    def _taken(self, answer: int) -> bytes:
        """Return what a function wrote to the buffer, and wipe it.

        Raises:
            PKCS11Error: it said that it wrote nothing.
        """
        length = self._number.value
        if answer == CKR_OK and length > _BUFFER_BYTES:
            answer = CKR_FUNCTION_FAILED  # there is no room for what it says it wrote
        taken = ctypes.string_at(self._output, length) if answer == CKR_OK else b""
        ctypes.memset(self._output, 0, _BUFFER_BYTES)  # all of it: it may have written more than it says
        if answer != CKR_OK:
            raise error_of(answer)
        return taken

    def _made(self, function: Callable[..., int], *arguments: object) -> int:
        """Call a function whose last argument is where it writes the handle of what it made.

        Raises:
            PKCS11Error: as the token says, or CKR_FUNCTION_FAILED if it wrote none: the last one is another object's.
        """
        self._number.value = _INVALID_HANDLE
        answer = function(self._session, *arguments, self._result)
        if answer == CKR_OK and self._number.value == _INVALID_HANDLE:
            answer = CKR_FUNCTION_FAILED
        if answer != CKR_OK:
            raise error_of(answer)
        return self._number.value

    def _processed(
        self,
        init: Callable[..., int],
        process: Callable[..., int],
        key: int,
        data: bytes,
        parameter: Parameter,
        *,
        announced: bool = False,
    ) -> bytes:
        """Begin an operation and do it on all of `data` (PKCS#11 2.40, 5.2)."""
        answer = init(self._session, parameter.address, key)
        if answer != CKR_OK:
            raise error_of(answer)
        self._number.value = _BUFFER_BYTES
        if announced:
            answer = process(self._session, data, len(data), None, self._result)
            if answer != CKR_OK:
                raise error_of(answer)
            self._number.value = min(self._number.value, _BUFFER_BYTES)  # what it takes for room, it may fill
        return self._taken(process(self._session, data, len(data), self._output, self._result))

    def sign(self, key: int, data: bytes, parameter: Parameter) -> bytes:
        """C_SignInit, C_Sign."""
        return self._processed(self._functions.sign_init, self._functions.sign, key, data, parameter)

    def encrypt(self, key: int, data: bytes, parameter: Parameter) -> bytes:
        """C_EncryptInit, C_Encrypt."""
        return self._processed(self._functions.encrypt_init, self._functions.encrypt, key, data, parameter)

    def encrypt_as_announced(self, key: int, data: bytes, parameter: Parameter) -> bytes:
        """C_EncryptInit, C_Encrypt for the size of the output, and C_Encrypt with just that room."""
        encrypt = self._functions.encrypt
        return self._processed(self._functions.encrypt_init, encrypt, key, data, parameter, announced=True)

    def decrypt(self, key: int, data: bytes, parameter: Parameter) -> bytes:
        """C_DecryptInit, C_Decrypt."""
        return self._processed(self._functions.decrypt_init, self._functions.decrypt, key, data, parameter)

    def wrap(self, wrapping: int, key: int, parameter: Parameter) -> bytes:
        """C_WrapKey."""
        self._number.value = _BUFFER_BYTES
        wrap_key = self._functions.wrap_key
        return self._taken(wrap_key(self._session, parameter.address, wrapping, key, self._output, self._result))

    def unwrap(self, unwrapping: int, blob: bytes, template: Packed, parameter: Parameter) -> int:
        """C_UnwrapKey; returns the handle of what it made."""
        unwrap_key = self._functions.unwrap_key
        return self._made(unwrap_key, parameter.address, unwrapping, blob, len(blob), template.address, template.count)

    def generate(self, template: Packed, parameter: Parameter) -> int:
        """C_GenerateKey; returns the handle of what it made."""
        return self._made(self._functions.generate_key, parameter.address, template.address, template.count)

    def create(self, template: Packed) -> int:
        """C_CreateObject; returns the handle of what it made."""
        return self._made(self._functions.create_object, template.address, template.count)

    def copy(self, key: int, template: Packed) -> int:
        """C_CopyObject; returns the handle of the copy."""
        return self._made(self._functions.copy_object, key, template.address, template.count)

    def destroy(self, key: int) -> None:
        """C_DestroyObject."""
        answer = self._functions.destroy_object(self._session, key)
        if answer != CKR_OK:
            raise error_of(answer)

    def random(self, size: int) -> bytes:
        """C_GenerateRandom.

        Raises:
            ValueError: more than the buffer holds, or less than nothing.
        """
        if not 0 <= size <= _BUFFER_BYTES:
            raise ValueError(size)
        self._number.value = size
        return self._taken(self._functions.generate_random(self._session, self._output, size))

    def read(self, key: int, attribute: int) -> bytes:
        """C_GetAttributeValue, of one attribute: first its size, because NSS refuses more room than it needs.

        Raises:
            PKCS11Error: as the token says, or CKR_FUNCTION_FAILED if it has no value and does not say so.
        """
        one = CkAttribute(attribute, None, 0)
        arguments = self._session, key, ctypes.addressof(one), 1
        answer = self._functions.get_attribute_value(*arguments)
        if answer == CKR_OK and one.length <= _BUFFER_BYTES:  # CK_UNAVAILABLE_INFORMATION is more
            one.value = self._output
            answer = self._functions.get_attribute_value(*arguments)
        self._number.value = one.length
        return self._taken(answer)

    def log_in(self, user: UserType, pin: Pin) -> None:
        """C_Login, for all sessions of this process: once."""
        content = pin.reveal()
        answer = self._functions.login(self._session, user, content, len(content))
        if answer != CKR_OK:
            raise error_of(answer)

    def log_out(self) -> None:
        """C_Logout, of all sessions of this process."""
        answer = self._functions.logout(self._session)
        if answer != CKR_OK:
            raise error_of(answer)

    def write(self, key: int, template: Packed) -> None:
        """C_SetAttributeValue."""
        answer = self._functions.set_attribute_value(self._session, key, template.address, template.count)
        if answer != CKR_OK:
            raise error_of(answer)
