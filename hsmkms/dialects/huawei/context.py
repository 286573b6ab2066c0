"""What is authenticated beside a plaintext: a free text, or the named values that it replaced.

Sources: `additional_authenticated_data` of the official SDK's models; `encryption_context` of the documents before it,
which the clouds of Huawei's partners still publish.

Laws:

- a request has one of the two or none: with both it would be open what the ciphertext is bound to;
- the named values are those of Tencent's EncryptionContext: a ciphertext is bound to the same, whoever made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.core.ciphertexts import context_of_pairs, context_of_text
from hsmkms.core.errors import FieldInvalid
from hsmkms.dialects.wire_models import bounded_context

if TYPE_CHECKING:
    from hsmkms.dialects.huawei import wire

MOST_TEXT_BYTES: Final = 128
MOST_PAIRS_CHARACTERS: Final = 8192
"""Of all names and values together."""

_TEXT: Final = "additional_authenticated_data"
_PAIRS: Final = "encryption_context"


def of_request(request: wire.Authenticated) -> bytes:
    """Return the canonical context of a request.

    Raises:
        FieldInvalid: it has both fields, or one breaks its documented rule.
    """
    if not request.encryption_context:
        return of_text(_TEXT, request.additional_authenticated_data)
    if request.additional_authenticated_data:
        raise FieldInvalid(_PAIRS, f"send either this or {_TEXT}.")
    pairs = {name: value for name, value in request.encryption_context.items() if isinstance(value, str)}
    if len(pairs) != len(request.encryption_context):
        raise FieldInvalid(_PAIRS, "every value must be a string.")
    if sum(len(name) + len(value) for name, value in pairs.items()) > MOST_PAIRS_CHARACTERS:
        raise FieldInvalid(_PAIRS, f"it must be at most {MOST_PAIRS_CHARACTERS} characters.")
    return bounded_context(_PAIRS, context_of_pairs(pairs))


def of_text(field: str, text: str) -> bytes:
    """Return the canonical context of the text that is the value of `field`.

    Raises:
        FieldInvalid: it is longer than `MOST_TEXT_BYTES`.
    """
    if len(text.encode()) > MOST_TEXT_BYTES:
        raise FieldInvalid(field, f"it must be at most {MOST_TEXT_BYTES} bytes of UTF-8.")
    return context_of_text(text)
