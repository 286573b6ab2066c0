"""The requests as the wire spells them: names, types and documented bounds of every field, and nothing of meaning.

Sources: Huawei Cloud DEW API reference, "Managing the Lifecycle of a CMK", "Managing DEKs", "Encrypting and Decrypting
Small-Size Data" and "Importing Key Material"; the models of the official Python SDK (`huaweicloudsdkkms.v2`).

Laws:

- field names are the documented ones, letter by letter;
- a number may be a string, as the documents have it, or an integer, as the SDK has some; so may a state's number;
- every operation takes a sequence of 36 characters;
- a field that is documented and not offered is refused by name unless it is empty or the documented default.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from hsmkms.core.ciphertexts import MOST_DATA_KEY_BYTES
from hsmkms.dialects.wire_models import (
    LARGEST_INTEGER,
    AnyInteger,
    Integer,
    Text,
    Time,
    WireRequest,
    canonical_base64,
    not_offered_unless,
)

SEQUENCE_CHARACTERS: Final = 36
MOST_DESCRIPTION_CHARACTERS: Final = 255
DEFAULT_LIMIT: Final = 100
LEAST_MATERIAL_CHARACTERS: Final = 344
MOST_MATERIAL_CHARACTERS: Final = 360
BITS_PER_BYTE: Final = 8

_IMPORT_TOKEN: Final = re.compile(r"[0-9a-zA-Z+/=]{200,6144}", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)
_ENCRYPTED_MATERIAL: Final = re.compile(
    rf"[0-9a-zA-Z+/=]{{{LEAST_MATERIAL_CHARACTERS},{MOST_MATERIAL_CHARACTERS}}}", re.ASCII
)


def _sequence(text: str) -> str:
    if len(text) != SEQUENCE_CHARACTERS:
        raise PydanticCustomError("sequence", f"it must be of {SEQUENCE_CHARACTERS} characters")
    return text


def _description(text: str) -> str:
    if len(text) > MOST_DESCRIPTION_CHARACTERS:
        raise PydanticCustomError("description", f"it must be of at most {MOST_DESCRIPTION_CHARACTERS} characters")
    return text


def _import_token(text: str) -> str:
    if not _IMPORT_TOKEN.fullmatch(text):
        raise PydanticCustomError("import_token", "send it exactly as get-parameters-for-import returned it")
    return text


def _encrypted_material(text: str) -> str:
    if not _ENCRYPTED_MATERIAL.fullmatch(text):
        raise PydanticCustomError(
            "encrypted_material",
            f"it must be of {LEAST_MATERIAL_CHARACTERS} to {MOST_MATERIAL_CHARACTERS} characters of base64",
        )
    return text


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def is_hexadecimal(text: str) -> bool:
    """Tell whether `text` is bytes in hexadecimal; base64 of a ciphertext never is, as it begins with 'SEtN'."""
    return bool(_HEXADECIMAL.fullmatch(text))


def _hexadecimal(text: str) -> str:
    if not is_hexadecimal(text):
        raise PydanticCustomError("hexadecimal", "it must be hexadecimal, two digits for each byte")
    return text


def _whole_bytes(bits: int) -> int:
    if bits % BITS_PER_BYTE:
        raise PydanticCustomError("whole_bytes", f"it must be a multiple of {BITS_PER_BYTE}")
    return bits


def _empty_is_absent(value: object) -> object:
    return None if value == "" else value


Bits = Annotated[
    AnyInteger, Field(ge=BITS_PER_BYTE, le=MOST_DATA_KEY_BYTES * BITS_PER_BYTE), AfterValidator(_whole_bytes)
]
DataKeyBytes = Annotated[AnyInteger, Field(ge=1, le=MOST_DATA_KEY_BYTES)]
Hexadecimal = Annotated[str, AfterValidator(_hexadecimal)]
Description = Annotated[Text, AfterValidator(_description)]


class Request(WireRequest):
    """What all operations take."""

    sequence: Annotated[str, AfterValidator(_sequence)] | None = None


class CreateKey(Request):
    """Make a key."""

    key_alias: str
    key_spec: str | None = None
    key_usage: str = "ENCRYPT_DECRYPT"
    key_description: Description = ""
    origin: str = "kms"
    enterprise_project_id: Annotated[str, not_offered_unless("0")] = ""
    keystore_id: Annotated[str, not_offered_unless("0")] = ""
    vm_id: Annotated[str, not_offered_unless()] = ""
    realm: Annotated[str, not_offered_unless()] = ""


class OperateKey(Request):
    """Do something with a key that needs no more than its id."""

    key_id: str


class ListKeys(Request):
    """List keys with all that is known of them."""

    limit: Annotated[AnyInteger, Field(ge=1, le=LARGEST_INTEGER)] = DEFAULT_LIMIT
    marker: Integer = 0
    key_state: Annotated[str, BeforeValidator(_number_as_text)] | None = None
    key_spec: str | None = None
    enterprise_project_id: Annotated[str, not_offered_unless("0", "all")] = ""


class GetParametersForImport(OperateKey):
    """Get a wrapping key and an import token."""

    wrapping_algorithm: str


class ImportKeyMaterial(OperateKey):
    """Import wrapped material."""

    import_token: Annotated[str, AfterValidator(_import_token)] = Field(repr=False)
    encrypted_key_material: Annotated[str, AfterValidator(_encrypted_material), AfterValidator(canonical_base64)] = (
        Field(repr=False)
    )
    encrypted_privatekey: Annotated[str, not_offered_unless()] = Field(default="", repr=False)
    expiration_time: Time = 0


class UpdateKeyAlias(OperateKey):
    """Give a key another alias."""

    key_alias: str


class UpdateKeyDescription(OperateKey):
    """Give a key another description."""

    key_description: Description


class ScheduleKeyDeletion(OperateKey):
    """Delete a key in some days."""

    pending_days: Annotated[AnyInteger, Field(ge=7, le=1096)]


class Authenticated(Request):
    """What all operations take that encrypt or decrypt, but for re-encrypt."""

    additional_authenticated_data: str = ""
    encryption_context: dict[str, JsonValue] = Field(default_factory=dict)


class EncryptData(OperateKey, Authenticated):
    """Encrypt a text."""

    plain_text: str = Field(repr=False)
    encryption_algorithm: str = ""


class DecryptData(Authenticated):
    """Decrypt what encrypt-data encrypted."""

    cipher_text: str
    key_id: str = ""
    encryption_algorithm: str = ""


class ReEncrypt(Request):
    """Decrypt, and encrypt with another key or other authenticated data."""

    cipher_text: str
    destination_key_id: str
    source_key_id: str = ""
    source_additional_authenticated_data: str = ""
    source_encryption_algorithm: str = ""
    destination_additional_authenticated_data: str = ""
    destination_encryption_algorithm: str = ""
    datakey_cipher_length: Annotated[str, not_offered_unless()] = ""


class CreateDatakey(OperateKey, Authenticated):
    """Make a data key."""

    key_spec: str = ""
    datakey_length: Annotated[Bits | None, BeforeValidator(_empty_is_absent)] = None
    pin: Annotated[str, not_offered_unless()] = Field(default="", repr=False)
    pin_type: Annotated[str, not_offered_unless("CipherText")] = ""


class EncryptDatakey(OperateKey, Authenticated):
    """Encrypt a data key that comes with its digest behind it."""

    plain_text: Hexadecimal = Field(repr=False)
    datakey_plain_length: DataKeyBytes
    key_spec: Annotated[str, not_offered_unless()] = ""
    pin: Annotated[str, not_offered_unless()] = Field(default="", repr=False)
    pin_type: Annotated[str, not_offered_unless("CipherText")] = ""


class DecryptDatakey(OperateKey, Authenticated):
    """Decrypt a data key."""

    cipher_text: Hexadecimal
    datakey_cipher_length: DataKeyBytes


class GenRandom(Request):
    """Return random bits."""

    random_data_length: Bits


class Nothing(WireRequest):
    """A GET that says all in its path."""


class ListProjects(WireRequest):
    """Ask for the id of the project of a region's name."""

    name: str = ""
