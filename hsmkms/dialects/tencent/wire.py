"""The requests as the wire spells them: names, types and documented bounds of every field, and nothing of meaning.

Sources: Tencent Cloud KMS API 2019-01-18, as in the models of the official Python SDK; the ImportKeyMaterial page.

Laws:

- field names are the documented ones, letter by letter;
- an integer may come as a string of digits (the ImportKeyMaterial page's own example does), never as a boolean, a
  float or a negative;
- null is absence; an unknown field is refused by name; a field that is documented and not offered is refused unless
  it is empty.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import PydanticCustomError

from hsmkms.core.errors import FieldFault, FieldInvalid, FieldMissing, FieldUnknown, NotOffered
from hsmkms.dialects import strict_base64

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.dialects.strict_json import JsonObject

LARGEST_INTEGER: Final = 2**31 - 1
MOST_DESCRIPTION_BYTES: Final = 1024
MOST_KEY_IDS: Final = 100
DEFAULT_LIMIT: Final = 10
MOST_LIMIT: Final = 200
MOST_IMPORT_TOKEN_CHARACTERS: Final = 6144

NOT_OFFERED: Final = ("HsmClusterId", "MemberAccount", "MemberAccounts", "Tags", "TagFilters")
"""Documented fields whose features this service does not have."""

NOT_OFFERED_ANYWHERE: Final = frozenset((*NOT_OFFERED, "IsHostedByKms"))
"""Those, and one of an action that is not offered: a caller who asks for them hears that, whatever the action."""
_NO_VALUE: Final[tuple[object, ...]] = (None, "", 0, "0", [], {})

_WHAT_TO_SEND: Final[Mapping[str, str]] = {
    "int_type": "send an integer of at least 0",
    "string_type": "send a string",
    "list_type": "send a list",
    "dict_type": "send an object",
    "greater_than_equal": "send at least {ge}",
    "less_than_equal": "send at most {le}",
    "too_short": "the list must have at least {min_length} member",
    "too_long": "the list must have at most {max_length} members",
}
"""What to do about a wrong value, by pydantic's name of the fault; our own faults bring their sentence."""

_DIGITS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_IMPORT_TOKEN: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_NAME_CHARACTERS: Final = 64


def _from_digits(value: object) -> object:
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


def _empty_is_zero(value: object) -> object:
    return 0 if value == "" else value


def _storable(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("storable", "it must not contain the character U+0000")
    return text


def _description(text: str) -> str:
    if len(text.encode()) > MOST_DESCRIPTION_BYTES:
        raise PydanticCustomError("description", "it must be at most 1024 bytes of UTF-8")
    return text


def _base64(text: str) -> str:
    try:
        strict_base64.decode(text)
    except ValueError:
        raise PydanticCustomError("base64", "it must be canonical base64 with padding") from None
    return text


def _import_token(text: str) -> str:
    if len(text) > MOST_IMPORT_TOKEN_CHARACTERS or not _IMPORT_TOKEN.fullmatch(text):
        raise PydanticCustomError("import_token", "send it exactly as GetParametersForImport returned it")
    return text


Integer = Annotated[int, BeforeValidator(_from_digits), Field(ge=0, le=LARGEST_INTEGER)]
Text = Annotated[str, AfterValidator(_storable)]


class Request(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class CreateKey(Request):
    """Make a key."""

    Alias: Text
    Description: Annotated[Text, AfterValidator(_description)] = ""
    KeyUsage: str = ""
    Type: Integer = 1
    Tags: list[JsonValue] = Field(default_factory=list)
    HsmClusterId: str = ""


class DescribeKey(Request):
    """Show a key."""

    KeyId: str
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class DescribeKeys(Request):
    """Show several keys."""

    KeyIds: Annotated[list[str], Field(min_length=1, max_length=MOST_KEY_IDS)]
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class ListKeys(Request):
    """List key ids."""

    Offset: Integer = 0
    Limit: Annotated[Integer, Field(ge=1, le=MOST_LIMIT)] = DEFAULT_LIMIT
    Role: Annotated[Integer, Field(le=1)] = 0
    HsmClusterId: str = ""


class ListKeyDetail(Request):
    """List keys with all that is known of them."""

    Offset: Integer = 0
    Limit: Annotated[Integer, Field(ge=1, le=MOST_LIMIT)] = DEFAULT_LIMIT
    Role: Annotated[Integer, Field(le=1)] = 0
    OrderType: Annotated[Integer, Field(le=1)] = 0
    KeyState: Annotated[Integer, Field(le=5)] = 0
    SearchKeyAlias: Text = ""
    Origin: str = ""
    KeyUsage: str = ""
    TagFilters: list[JsonValue] = Field(default_factory=list)
    HsmClusterId: str = ""
    MemberAccounts: list[JsonValue] = Field(default_factory=list)


class GetParametersForImport(Request):
    """Get a wrapping key and an import token."""

    KeyId: str
    WrappingAlgorithm: str
    WrappingKeySpec: str


class ImportKeyMaterial(Request):
    """Import wrapped material."""

    EncryptedKeyMaterial: Annotated[str, AfterValidator(_base64)] = Field(repr=False)
    ImportToken: Annotated[str, AfterValidator(_import_token)] = Field(repr=False)
    KeyId: str
    ValidTo: Annotated[Integer, BeforeValidator(_empty_is_zero)] = 0


class DeleteImportedKeyMaterial(Request):
    """Remove imported material."""

    KeyId: str


class EnableKey(Request):
    """Switch a key on."""

    KeyId: str
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class DisableKey(Request):
    """Switch a key off."""

    KeyId: str
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class GetServiceStatus(Request):
    """Show the state of the service."""


class GetRegions(Request):
    """List the regions."""


class ListAlgorithms(Request):
    """List the algorithms of keys."""


AnyRequest = TypeVar("AnyRequest", bound=Request)


def read(model: type[AnyRequest], members: JsonObject) -> AnyRequest:
    """Return the request that the body's `members` are.

    Raises:
        FieldMissing: a required field is absent or null.
        FieldUnknown: the action has no such field.
        FieldInvalid: a value is of the wrong type or out of its documented bounds.
        NotOffered: a documented field that this service does not offer has a value.
    """
    for name in NOT_OFFERED_ANYWHERE.intersection(members) - set(model.model_fields):
        if members[name] not in _NO_VALUE:
            raise NotOffered(name)
    try:
        request = model.model_validate({name: value for name, value in members.items() if value is not None})
    except ValidationError as error:
        # `from None`: pydantic's error holds the input.
        raise _fault(error) from None
    for name in NOT_OFFERED:
        if getattr(request, name, None):
            raise NotOffered(name)
    return request


def _fault(error: ValidationError) -> FieldFault:
    first = error.errors(include_url=False, include_input=False)[0]
    field = _shown(".".join(str(part) for part in first["loc"]))
    match first["type"]:
        case "missing":
            return FieldMissing(field)
        case "extra_forbidden":
            return FieldUnknown(field)
        case _:
            what = _WHAT_TO_SEND.get(first["type"])
            return FieldInvalid(field, f"{what.format(**first.get('ctx', {})) if what else first['msg']}.")


def _shown(name: str) -> str:
    """Return `name` fit for a message: the caller chose it freely."""
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in name[:_NAME_CHARACTERS])
