"""The requests as the wire spells them: names, types and documented bounds of every field, and nothing of meaning.

Sources: Tencent Cloud KMS API 2019-01-18, as in the models of the official Python SDK; the ImportKeyMaterial page;
Tencent Cloud Tag, "Use Limits".

Laws:

- field names are the documented ones, letter by letter;
- an integer may come as a string of digits: the ImportKeyMaterial page's own example does;
- a field that is documented and not offered is refused unless it is empty.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from hsmkms.core.ciphertexts import MOST_DATA_KEY_BYTES
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
MOST_TAGS: Final = 50
MOST_TAG_KEY_CHARACTERS: Final = 127
MOST_TAG_VALUE_CHARACTERS: Final = 255

NOT_OFFERED: Final = (
    "HsmClusterId",
    "MemberAccount",
    "MemberAccounts",
    "EncryptionPublicKey",
    "EncryptionAlgorithm",
    "IsHostedByKms",
    "DataKeyName",
)
"""Documented fields whose features this service does not have: who asks for them hears that, whatever the action."""
_NO_VALUE: Final[tuple[object, ...]] = (None, "", 0, "0", [], {})

_IMPORT_TOKEN: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_RESERVED_TAG_KEYS: Final = ("qcs:", "project")


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
RandomSize = Annotated[AnyInteger, Field(ge=1, le=MOST_DATA_KEY_BYTES)]


def _tag_text(most: int) -> AfterValidator:
    """Let a text pass that a tag's key or value of at most `most` characters may be."""
    form = re.compile(rf"(?! )[\w +\-=.:/@()\[\],;<>【】：（）]{{1,{most}}}(?<! )")  # noqa: RUF001  # as documented

    def require_form(text: str) -> str:
        if not form.fullmatch(text):
            what = f"send 1 to {most} letters, digits, characters of +-=._:/@()[],;<> and inner spaces"
            raise PydanticCustomError("tag_text", what)
        return text

    return AfterValidator(require_form)


def _free_tag_key(text: str) -> str:
    if text.startswith(_RESERVED_TAG_KEYS):
        raise PydanticCustomError("tag_key", "keys that start with 'qcs:' or 'project' are the cloud's own")
    return text


KeyOfTag = Annotated[str, _tag_text(MOST_TAG_KEY_CHARACTERS)]
ValueOfTag = Annotated[str, _tag_text(MOST_TAG_VALUE_CHARACTERS)]


class Tag(WireRequest):
    """A tag to give to a key."""

    TagKey: Annotated[KeyOfTag, AfterValidator(_free_tag_key)]
    TagValue: ValueOfTag


class TagFilter(WireRequest):
    """A tag that a key must have, with one of several values; with none of them, any value."""

    TagKey: KeyOfTag
    TagValue: Annotated[list[ValueOfTag], Field(max_length=MOST_TAGS)] | None = None


class CreateKey(WireRequest):
    """Make a key."""

    Alias: Text
    Description: Annotated[Text, AfterValidator(_description)] = ""
    KeyUsage: str = ""
    Type: Integer = 1
    Tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = Field(default_factory=list)
    HsmClusterId: str = ""


class OneKey(WireRequest):
    """What many actions ask for: one key, and nothing else."""

    KeyId: str
    MemberAccount: dict[str, JsonValue] = Field(default_factory=dict)


class SeveralKeys(WireRequest):
    """What the actions on several keys ask for."""

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
    TagFilters: Annotated[list[TagFilter], Field(max_length=MOST_TAGS)] = Field(default_factory=list)
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


class UpdateAlias(OneKey):
    """Give a key another alias."""

    Alias: Text


class UpdateKeyDescription(OneKey):
    """Give a key another description."""

    Description: Annotated[Text, AfterValidator(_description)]


class ScheduleKeyDeletion(OneKey):
    """Delete a key in some days."""

    PendingWindowInDays: Annotated[AnyInteger, Field(ge=7, le=30)]


class EnableKeyRotation(OneKey):
    """Give a key new material from time to time."""

    RotateDays: Annotated[AnyInteger, Field(ge=7, le=365)] = 365


class Encrypt(WireRequest):
    """Encrypt with a key."""

    KeyId: str
    Plaintext: Annotated[str, AfterValidator(canonical_base64)] = Field(repr=False)
    EncryptionContext: str = ""


class Decrypt(WireRequest):
    """Decrypt with the key that the ciphertext names."""

    CiphertextBlob: str
    EncryptionContext: str = ""
    EncryptionPublicKey: str = ""
    EncryptionAlgorithm: str = ""


class ReEncrypt(WireRequest):
    """Decrypt, and encrypt with another key or context."""

    CiphertextBlob: str
    DestinationKeyId: str = ""
    SourceEncryptionContext: str = ""
    DestinationEncryptionContext: str = ""


class GenerateDataKey(WireRequest):
    """Make a data key."""

    KeyId: str
    KeySpec: str = ""
    NumberOfBytes: RandomSize | None = None
    EncryptionContext: str = ""
    EncryptionPublicKey: str = ""
    EncryptionAlgorithm: str = ""
    IsHostedByKms: Flag = 0
    DataKeyName: str = ""
    Description: str = ""
    HsmClusterId: str = ""
    Tags: list[JsonValue] = Field(default_factory=list)


class GenerateRandom(WireRequest):
    """Return random bytes."""

    NumberOfBytes: RandomSize


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
    foreign, own = _not_offered(model)
    for name in foreign:
        if members.get(name) not in _NO_VALUE:
            raise NotOffered(name)
    request = wire_models.read(model, members)
    for name in own:
        if getattr(request, name):
            raise NotOffered(name)
    return request


@cache  # asked of every request, and slow: a model looks its fields, and what it lacks, up in its metaclass
def _not_offered(model: type[WireRequest]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of `NOT_OFFERED` that are no fields of the model, and those that are."""
    own = tuple(name for name in NOT_OFFERED if name in model.model_fields)
    return tuple(name for name in NOT_OFFERED if name not in own), own
