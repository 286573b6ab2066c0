"""Key ids: this cloud's documents allow more than the UUIDs that keys here have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hsmkms.core import errors
from hsmkms.core.ids import key_id

if TYPE_CHECKING:
    from hsmkms.core.ids import KeyId

_FORM: Final = re.compile(r"[0-9a-z]{8}(?:-[0-9a-z]{4}){3}-[0-9a-z]{12}", re.ASCII)
_RULE: Final = (
    "{field} must be of 36 characters: digits and lower-case letters in groups of 8-4-4-4-12, with '-' between them."
)


def read(text: str, field: str = "key_id") -> KeyId:
    """Return the id that `text`, the value of `field`, is.

    Raises:
        KeyIdMalformed: it breaks the documented rule.
        KeyNotFound: it fits that rule, which is wider than a UUID, and so is well-formed and nobody's.
    """
    if not _FORM.fullmatch(text):
        raise errors.KeyIdMalformed(_RULE.format(field=field))
    try:
        return key_id(text)
    except errors.KeyIdMalformed:
        raise errors.KeyNotFound from None
