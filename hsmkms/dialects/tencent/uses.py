"""The actions that use a key's material, or the token's random generator: how a request becomes a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.core import errors
from hsmkms.core.ciphertexts import MOST_PLAINTEXT_BYTES
from hsmkms.core.ids import key_id
from hsmkms.core.secrets import Plaintext
from hsmkms.dialects import strict_base64
from hsmkms.dialects.tencent import context
from hsmkms.dialects.tencent.states import POLICY
from hsmkms.service import commands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.dialects.tencent import wire
    from hsmkms.dialects.tencent.fields import View
    from hsmkms.service.commands import Command

_KEY_SPECS: Final[Mapping[str, int]] = {"AES_128": 16, "AES_256": 32}
"""The size in bytes of the data key that KeySpec asks for."""
_OF_HOSTED_DATA_KEYS: Final = ("Tags", "Description")
"""What GenerateDataKey takes for data keys that the cloud keeps; other actions have fields of these names, too."""


def encrypt(_view: View, request: wire.Encrypt) -> Command:
    """Return what Encrypt asks for."""
    plaintext = Plaintext(strict_base64.decode(request.Plaintext))
    if not 1 <= len(plaintext) <= MOST_PLAINTEXT_BYTES:
        raise errors.FieldInvalid("Plaintext", f"send the base64 of 1 to {MOST_PLAINTEXT_BYTES} bytes.")
    encryption_context = context.read("EncryptionContext", request.EncryptionContext)
    return commands.Encrypt(key_id(request.KeyId), plaintext, encryption_context, policy=POLICY)


def decrypt(_view: View, request: wire.Decrypt) -> Command:
    """Return what Decrypt asks for."""
    encryption_context = context.read("EncryptionContext", request.EncryptionContext)
    return commands.Decrypt(strict_base64.decode_ciphertext(request.CiphertextBlob), encryption_context, policy=POLICY)


def re_encrypt(_view: View, request: wire.ReEncrypt) -> Command:
    """Return what ReEncrypt asks for."""
    return commands.ReEncrypt(
        strict_base64.decode_ciphertext(request.CiphertextBlob),
        context.read("SourceEncryptionContext", request.SourceEncryptionContext),
        key_id(request.DestinationKeyId) if request.DestinationKeyId else None,
        context.read("DestinationEncryptionContext", request.DestinationEncryptionContext),
        policy=POLICY,
    )


def generate_data_key(_view: View, request: wire.GenerateDataKey) -> Command:
    """Return what GenerateDataKey asks for; NumberOfBytes decides if it is given beside KeySpec."""
    for name in _OF_HOSTED_DATA_KEYS:
        if getattr(request, name):
            raise errors.NotOffered(name)
    if request.KeySpec not in {"", *_KEY_SPECS}:
        raise errors.FieldInvalid("KeySpec", f"use one of {', '.join(_KEY_SPECS)}.")
    size = request.NumberOfBytes or _KEY_SPECS.get(request.KeySpec)
    if size is None:
        raise errors.FieldMissing("KeySpec or NumberOfBytes")
    encryption_context = context.read("EncryptionContext", request.EncryptionContext)
    return commands.MakeDataKey(key_id(request.KeyId), size, encryption_context, policy=POLICY)


def generate_random(_view: View, request: wire.GenerateRandom) -> Command:
    """Return what GenerateRandom asks for."""
    return commands.MakeRandom(request.NumberOfBytes)
