"""Requests as the wire spells them: what the models of every dialect have in common.

Laws:

- an integer may come as a string of digits, never as a boolean or a float;
- null is absence; an unknown field is refused by name;
- nothing of a value that was refused is in the refusal: the caller hears the field, and what to send.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from hsmkms.core.ciphertexts import MOST_CONTEXT_BYTES
from hsmkms.core.errors import FieldFault, FieldInvalid, FieldMissing, FieldUnknown, NotOffered
from hsmkms.dialects import strict_base64
from hsmkms.dialects.strict_json import MOST_DIGITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.dialects.strict_json import JsonObject

LARGEST_INTEGER: Final = 2**31 - 1

_WHAT_TO_SEND: Final[Mapping[str, str]] = {
    "int_type": "send an integer",
    "string_type": "send a string",
    "list_type": "send a list",
    "dict_type": "send an object",
    "model_type": "send an object",
    "greater_than_equal": "send at least {ge}",
    "less_than_equal": "send at most {le}",
    "too_short": "the list must have at least {min_length} member",
    "too_long": "the list must have at most {max_length} members",
}
"""What to do about a wrong value, by pydantic's name of the fault; our own faults bring their sentence."""

_NOT_OFFERED: Final = "not_offered"
_DIGITS: Final = re.compile(rf"[0-9]{{1,{MOST_DIGITS}}}|-[1-9][0-9]{{0,{MOST_DIGITS - 1}}}", re.ASCII)
"""More than any bound allows, so that it is the bound that answers, and not the type."""
_NAME_CHARACTERS: Final = 64


def _from_digits(value: object) -> object:
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


def _storable(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("storable", "it must not contain the character U+0000")
    return text


def empty_is_zero(value: object) -> object:
    """Read an empty string as 0: for an integer that may be left empty."""
    return 0 if value == "" else value


def canonical_base64(text: str) -> str:
    """Let `text` pass if it is base64 with exactly one reading."""
    try:
        strict_base64.decode(text)
    except ValueError:
        raise PydanticCustomError("base64", "it must be canonical base64 with padding") from None
    return text


def not_offered_unless(*neutral: str) -> AfterValidator:
    """Refuse by name a documented field that this service does not offer, unless it is empty or `neutral`."""

    def require_neutral(text: str) -> str:
        if text not in {"", *neutral}:
            raise PydanticCustomError(_NOT_OFFERED, "it is not offered")
        return text

    return AfterValidator(require_neutral)


AnyInteger = Annotated[int, BeforeValidator(_from_digits)]
"""For a field with bounds of its own: pydantic keeps every bound, and the first one broken answers."""
Integer = Annotated[AnyInteger, Field(ge=0, le=LARGEST_INTEGER)]
Time = Annotated[AnyInteger, BeforeValidator(empty_is_zero), Field(ge=0)]
"""Unix seconds, 0 or "" for none. How late is too late is a rule of the core."""
Text = Annotated[str, AfterValidator(_storable)]


class WireRequest(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


AnyRequest = TypeVar("AnyRequest", bound=WireRequest)


def read(model: type[AnyRequest], members: JsonObject) -> AnyRequest:
    """Return the request that the body's `members` are.

    Raises:
        FieldMissing: a required field is absent or null.
        FieldUnknown: the request has no such field.
        FieldInvalid: a value is of the wrong type or out of its documented bounds.
        NotOffered: a documented field that this service does not offer has a value.
    """
    try:
        return model.model_validate({name: value for name, value in members.items() if value is not None})
    except ValidationError as error:
        # `from None`: pydantic's error holds the input.
        raise _fault(error) from None


def _fault(error: ValidationError) -> FieldFault:
    first = error.errors(include_url=False, include_input=False)[0]
    field = _shown(".".join(str(part) for part in first["loc"]))
    match first["type"]:
        case "missing":
            return FieldMissing(field)
        case "extra_forbidden":
            return FieldUnknown(field)
        case "not_offered":
            return NotOffered(field)
        case _:
            what = _WHAT_TO_SEND.get(first["type"])
            return FieldInvalid(field, f"{what.format(**first.get('ctx', {})) if what else first['msg']}.")


def _shown(name: str) -> str:
    """Return `name` fit for a message: the caller chose it freely."""
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in name[:_NAME_CHARACTERS])


def bounded_context(field: str, context: bytes) -> bytes:
    """Return `context`, the canonical form of what is the value of `field`.

    Raises:
        FieldInvalid: it is longer than `MOST_CONTEXT_BYTES`, which is this service's bound and no cloud's.
    """
    if len(context) > MOST_CONTEXT_BYTES:
        what = f"it must be at most {MOST_CONTEXT_BYTES} bytes: 9, and for each name and value its UTF-8 and 4 more."
        raise FieldInvalid(field, what)
    return context
