"""The operations that use a key's material, or the token's random generator: how a request becomes a command.

Law: data keys and their ciphertexts are spelled in hexadecimal, ciphertexts of data in base64; a ciphertext that is
re-encrypted comes back spelled as it came, so that a data key stays one.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from hsmkms.core import errors
from hsmkms.core.ciphertexts import MOST_PLAINTEXT_BYTES
from hsmkms.core.secrets import Plaintext
from hsmkms.dialects import strict_base64
from hsmkms.dialects.huawei import context, fields, key_ids, wire
from hsmkms.dialects.huawei.states import POLICY
from hsmkms.service import commands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import KeyId
    from hsmkms.dialects.huawei.fields import View
    from hsmkms.service.commands import Command

_KEY_SPECS: Final[Mapping[str, int]] = {"AES_256": 256, "AES_128": 128}
"""The size in bits of the data key that key_spec asks for."""
_DEFAULT_BITS: Final = 256


def encrypt_data(_view: View, request: wire.EncryptData) -> Command:
    """Return what encrypt-data asks for."""
    _require_symmetric("encryption_algorithm", request.encryption_algorithm)
    plaintext = Plaintext(request.plain_text.encode())
    if not 1 <= len(plaintext) <= MOST_PLAINTEXT_BYTES:
        raise errors.FieldInvalid("plain_text", f"send a text of 1 to {MOST_PLAINTEXT_BYTES} bytes of UTF-8.")
    return commands.Encrypt(key_ids.read(request.key_id), plaintext, context.of_request(request), POLICY)


def decrypt_data(_view: View, request: wire.DecryptData) -> Command:
    """Return what decrypt-data asks for."""
    _require_symmetric("encryption_algorithm", request.encryption_algorithm)
    authenticated = context.of_request(request)
    named = _of_ciphertext(request.key_id) if request.key_id else None
    return commands.Decrypt(strict_base64.decode_ciphertext(request.cipher_text), authenticated, named, POLICY)


def re_encrypt(_view: View, request: wire.ReEncrypt) -> Command:
    """Return what re-encrypt asks for, of data or of a data key."""
    _require_symmetric("source_encryption_algorithm", request.source_encryption_algorithm)
    _require_symmetric("destination_encryption_algorithm", request.destination_encryption_algorithm)
    before, after = (
        context.of_text(field, getattr(request, field))
        for field in ("source_additional_authenticated_data", "destination_additional_authenticated_data")
    )
    source = _of_ciphertext(request.source_key_id, "source_key_id") if request.source_key_id else None
    read = bytes.fromhex if wire.is_hexadecimal(request.cipher_text) else strict_base64.decode_ciphertext
    ciphertext = read(request.cipher_text)
    target = key_ids.read(request.destination_key_id, "destination_key_id")
    return commands.ReEncrypt(ciphertext, before, target, after, source, POLICY)


def create_datakey(_view: View, request: wire.CreateDatakey) -> Command:
    """Return what create-datakey asks for."""
    return _make_data_key(request, shown=True)


def create_datakey_without_plaintext(_view: View, request: wire.CreateDatakey) -> Command:
    """Return what create-datakey-without-plaintext asks for."""
    return _make_data_key(request, shown=False)


def encrypt_datakey(view: View, request: wire.EncryptDatakey) -> Command:
    """Return what encrypt-datakey asks for: the data key without the digest that came behind it."""
    joined, size = bytes.fromhex(request.plain_text), request.datakey_plain_length
    data_key, digest = Plaintext(joined[:size]), joined[size:]
    expected = fields.digest_of(view, data_key)
    if len(joined) != size + len(expected):
        what = f"it must be the length in bytes of the data key, which is plain_text less a digest of {len(expected)}."
        raise errors.FieldInvalid("datakey_plain_length", what)
    if not hmac.compare_digest(digest, expected):
        raise errors.DataKeyDigestWrong
    return commands.Encrypt(key_ids.read(request.key_id), data_key, context.of_request(request), POLICY)


def decrypt_datakey(_view: View, request: wire.DecryptDatakey) -> Command:
    """Return what decrypt-datakey asks for; whether the length is right is known with the outcome."""
    ciphertext, authenticated = bytes.fromhex(request.cipher_text), context.of_request(request)
    return commands.Decrypt(ciphertext, authenticated, _of_ciphertext(request.key_id), POLICY)


def gen_random(_view: View, request: wire.GenRandom) -> Command:
    """Return what gen-random asks for."""
    return commands.MakeRandom(request.random_data_length // wire.BITS_PER_BYTE)


def _make_data_key(request: wire.CreateDatakey, *, shown: bool) -> Command:
    """Return the command; datakey_length decides if it is given beside key_spec."""
    if request.key_spec not in {"", *_KEY_SPECS}:
        raise errors.NotOffered("key_spec", _KEY_SPECS)
    bits = request.datakey_length or _KEY_SPECS.get(request.key_spec, _DEFAULT_BITS)
    key_id, size = key_ids.read(request.key_id), bits // wire.BITS_PER_BYTE
    return commands.MakeDataKey(key_id, size, context.of_request(request), shown, POLICY)


def _require_symmetric(field: str, algorithm: str) -> None:
    if algorithm not in {"", fields.ALGORITHM}:
        raise errors.NotOffered(field, (fields.ALGORITHM,))


def _of_ciphertext(key_id: str, field: str = "key_id") -> KeyId:
    """Return the key that a ciphertext is said to be of.

    Raises:
        KeyIdMalformed: the id breaks the documented rule.
        CiphertextInvalid: nobody has such an id, so that the ciphertext, whatever it is, is of another key.
    """
    try:
        return key_ids.read(key_id, field)
    except errors.KeyNotFound:
        raise errors.CiphertextInvalid from None
