"""The caller can mend it: which key, its state, the import, the use of a key."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from hsmkms.core.errors.tree import CallerFault

if TYPE_CHECKING:
    from collections.abc import Iterable


class KeyFault(CallerFault):
    """The key named cannot be used in this way."""


class KeyIdMalformed(KeyFault):
    """Not of key-id form."""

    text = "The key id must be a lower-case UUID of 36 characters."


class KeyNotFound(KeyFault):
    """No such key in this account."""

    text = "There is no such key in this account."


class KeyNotExternal(KeyFault):
    """The key's material was generated in the token."""

    text = "The material of this key was generated in the token; only a key of external origin takes imported material."


class KeyStateForbids(KeyFault):
    """The key's present state does not allow the action."""

    def __init__(self, state: str, action: str, allowed: Iterable[str]) -> None:
        """Take the state shown, the action's words (a `KeyAction`), and the states that allow it."""
        self.state = state
        self.action = action
        super().__init__(f"The key is {state}; to {action} it must be {' or '.join(allowed)}.")


# --- the caller: the import ----------------------------------------------------------------------------


class ImportFault(CallerFault):
    """The import itself is refused; the key is as it was."""


class ExpiryInvalid(ImportFault):
    """The expiry is not later than now, or above the maximum."""

    text = "The expiry must be later than now and at most 2147443200 (Unix seconds); leave it out or send 0 for none."


class ImportTokenUnknown(ImportFault):
    """Not an import token of this service."""

    text = "The import token is not one that this service issued. Get new import parameters."


class ImportTokenForeign(ImportFault):
    """The import token was issued for another key or account."""

    text = "The import token was issued for another key. Get import parameters for this key."


class TicketEnd(StrEnum):
    """Why an import token is no longer good."""

    EXPIRED = "its time is over"
    EXHAUSTED = "too many attempts with it failed"
    VOID = "newer import parameters replaced it"
    SPENT = "it has been used"


class ImportTokenOver(ImportFault):
    """The import token was good once."""

    def __init__(self, end: TicketEnd) -> None:
        """Take the reason why it is over."""
        self.end = end
        super().__init__(f"The import token is no longer valid: {end.value}. Get new import parameters.")


class CiphertextSizeWrong(ImportFault):
    """The wrapped material is not as long as the wrapping key's modulus."""

    def __init__(self, expected_bytes: int) -> None:
        """Take the size in bytes that the wrapping key asks for."""
        super().__init__(f"The encrypted key material must decode to exactly {expected_bytes} bytes.")


class MaterialUndecryptable(ImportFault):
    """The token could not unwrap it: one error for every reason there is."""

    text = (
        "The encrypted key material could not be decrypted. Wrap it with the public key and the "
        "algorithm of the import parameters that this import token came with."
    )


class MaterialLengthWrong(ImportFault):
    """The unwrapped material is not of the edition's length."""

    def __init__(self, needed_bits: int) -> None:
        """Take the length in bits that the edition needs."""
        self.needed_bits = needed_bits
        super().__init__(
            "The key material is of the wrong length: "
            f"this service imports exactly {needed_bits} bits ({needed_bits // 8} bytes)."
        )


class MaterialMismatch(ImportFault):
    """The key once had other material, and a key only ever has the same."""

    text = (
        "The key material differs from what was first imported into this key. Import the same material, "
        "or create another key."
    )


# --- the caller: the use of a key -----------------------------------------------------------------------


class UseFault(CallerFault):
    """The key cannot be used for this."""


class CiphertextInvalid(UseFault):
    """It does not decrypt: one error for every reason there is."""

    text = (
        "The ciphertext cannot be decrypted. Send it exactly as this service returned it, to the account whose key "
        "made it, with the same encryption context."
    )


class DataKeyDigestWrong(UseFault):
    """The digest that came with a data key is another one's."""

    text = "The digest does not belong to the data key."


class KeyUsedUp(UseFault):
    """The key has encrypted as often as one key may."""

    text = "This key has encrypted as often as one key may. Create another key; this one still decrypts."


class CipherNotOffered(UseFault):
    """The token does not do the edition's cipher."""

    def __init__(self, algorithm: str) -> None:
        """Take the algorithm that the token lacks."""
        super().__init__(
            f"Keys cannot encrypt or decrypt here: the token of this deployment does not offer {algorithm}. "
            "'hsmkms doctor' says why."
        )


class RotationOfExternal(UseFault):
    """A key with imported material only ever has that."""

    text = "A key of external origin cannot be rotated: it only ever has the material that was imported into it."


class RotationNotOffered(UseFault):
    """Generated keys are not rotated here."""

    text = "This service does not rotate keys. Create another key and re-encrypt."
