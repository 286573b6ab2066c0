"""The encryption context: a string that holds a JSON object of strings.

Laws:

- what two parsers could read differently is no context (see `strict_json`): who decrypts must mean what who encrypted
  meant;
- white space and the order of the pairs do not matter; `{}` and the empty string are no context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.core.ciphertexts import NO_CONTEXT, context_of_pairs
from hsmkms.core.errors import BodyMalformed, FieldInvalid
from hsmkms.dialects import strict_json
from hsmkms.dialects.wire_models import bounded_context

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CHARACTERS: Final = 1024


def read(field: str, text: str) -> bytes:
    """Return the canonical context that the value `text` of `field` is.

    Raises:
        FieldInvalid: it is longer than `MOST_CHARACTERS` or a context may be, or no JSON object of strings, named once.
    """
    if not text:
        return NO_CONTEXT
    if len(text) > MOST_CHARACTERS:
        raise FieldInvalid(field, f"it must be at most {MOST_CHARACTERS} characters.")
    return bounded_context(field, context_of_pairs(_pairs(field, text)))


def _pairs(field: str, text: str) -> Mapping[str, str]:
    try:
        members = strict_json.read_object(text.encode())
    except BodyMalformed:
        # `from None`, and a sentence of its own: that one speaks of the request's body.
        raise _not_pairs(field) from None
    pairs = {name: value for name, value in members.items() if isinstance(value, str)}
    if len(pairs) != len(members):
        raise _not_pairs(field)
    return pairs


def _not_pairs(field: str) -> FieldInvalid:
    return FieldInvalid(field, "send a JSON object whose values are strings, with no name twice, as one string.")
