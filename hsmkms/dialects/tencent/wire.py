"""The requests as the wire spells them: names, types and documented bounds of every field, and nothing of meaning.

Sources: Tencent Cloud KMS API 2019-01-18, as in the models of the official Python SDK; the ImportKeyMaterial page.

Laws:

- field names are the documented ones, letter by letter;
- an integer may come as a string of digits: the ImportKeyMaterial page's own example does;
- a field that is documented and not offered is refused unless it is empty.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from hsmkms.core.errors import NotOffered
from hsmkms.dialects import wire_models
from hsmkms.dialects.wire_models import AnyInteger, AnyRequest, Integer, Text, Time, WireRequest, canonical_base64

if TYPE_CHECKING:
    from hsmkms.dialects.strict_json import JsonObject

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

_IMPORT_TOKEN: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)


def _description(text: str) -> str:
    if len(text.encode()) > MOST_DESCRIPTION_BYTES:
        raise PydanticCustomError("description", f"it must be at most {MOST_DESCRIPTION_BYTES} bytes of UTF-8")
    return text


def _import_token(text: str) -> str:
    if len(text) > MOST_IMPORT_TOKEN_CHARACTERS or not _IMPORT_TOKEN.fullmatch(text):
        raise PydanticCustomError("import_token", "send it exactly as GetParametersForImport returned it")
    return text


PageSize = Annotated[AnyInteger, Field(ge=1, le=MOST_LIMIT)]
Flag = Annotated[AnyInteger, Field(ge=0, le=1)]


class CreateKey(WireRequest):
    """Make a key."""

    Alias: Text
    Description: Annotated[Text, AfterValidator(_description)] = ""
    KeyUsage: str = ""
    Type: Integer = 1
    Tags: list[JsonValue] = Field(default_factory=list)
    HsmClusterId: str = ""


class DescribeKey(WireRequest):
    """Show a key."""

    KeyId: str
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class DescribeKeys(WireRequest):
    """Show several keys."""

    KeyIds: Annotated[list[str], Field(min_length=1, max_length=MOST_KEY_IDS)]
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class ListKeys(WireRequest):
    """List key ids."""

    Offset: Integer = 0
    Limit: PageSize = DEFAULT_LIMIT
    Role: Flag = 0
    HsmClusterId: str = ""


class ListKeyDetail(WireRequest):
    """List keys with all that is known of them."""

    Offset: Integer = 0
    Limit: PageSize = DEFAULT_LIMIT
    Role: Flag = 0
    OrderType: Flag = 0
    KeyState: Annotated[AnyInteger, Field(ge=0, le=5)] = 0
    SearchKeyAlias: Text = ""
    Origin: str = ""
    KeyUsage: str = ""
    TagFilters: list[JsonValue] = Field(default_factory=list)
    HsmClusterId: str = ""
    MemberAccounts: list[JsonValue] = Field(default_factory=list)


class GetParametersForImport(WireRequest):
    """Get a wrapping key and an import token."""

    KeyId: str
    WrappingAlgorithm: str
    WrappingKeySpec: str


class ImportKeyMaterial(WireRequest):
    """Import wrapped material."""

    EncryptedKeyMaterial: Annotated[str, AfterValidator(canonical_base64)] = Field(repr=False)
    ImportToken: Annotated[str, AfterValidator(_import_token)] = Field(repr=False)
    KeyId: str
    ValidTo: Time = 0


class DeleteImportedKeyMaterial(WireRequest):
    """Remove imported material."""

    KeyId: str


class EnableKey(WireRequest):
    """Switch a key on."""

    KeyId: str
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class DisableKey(WireRequest):
    """Switch a key off."""

    KeyId: str
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class GetServiceStatus(WireRequest):
    """Show the state of the service."""


class GetRegions(WireRequest):
    """List the regions."""


class ListAlgorithms(WireRequest):
    """List the algorithms of keys."""


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
    request = wire_models.read(model, members)
    for name in NOT_OFFERED:
        if getattr(request, name, None):
            raise NotOffered(name)
    return request
