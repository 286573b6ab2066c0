"""Ciphertexts that no import takes, by what is wrong with them, and how their imports are answered."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.e2e import raw
from tests.e2e.cloud_client import wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.e2e.cloud_client import ImportParameters

OAEP: Final = "RSAES_OAEP_SHA_1"
PKCS1: Final = "RSAES_PKCS1_V1_5"
UNDECRYPTABLE: Final = {
    OAEP: ("a flipped bit", "random", "not below the modulus", "another label", "another hash", "another padding"),
    PKCS1: ("a flipped bit", "random", "not below the modulus", "another padding"),
}
JUDGED: Final = ("too short", "too long", "other material")
"""What a token has to unwrap to refuse."""
_FIELDS: Final = {
    "tencent": ("KeyId", "ImportToken", "EncryptedKeyMaterial"),
    "huawei": ("key_id", "import_token", "encrypted_key_material"),
}
_OF_THE_REQUEST: Final = frozenset({"date", "x-request-id"})


def ciphertext(kind: str, public_key: str, algorithm: str, material: bytes) -> bytes:
    """Return a ciphertext with this wrong; `material` is what the key takes."""
    made: dict[str, Callable[[], bytes]] = {
        "a flipped bit": lambda: _flipped(wrap(public_key, material, algorithm)),
        "random": lambda: b"\1" + secrets.token_bytes(255),
        "not below the modulus": lambda: b"\xff" * 256,
        "another label": lambda: _oaep(public_key, material, hashes.SHA1(), b"label"),  # noqa: S303 - OAEP's hash
        "another hash": lambda: _oaep(public_key, material, hashes.SHA256(), None),
        "another padding": lambda: wrap(public_key, material, PKCS1 if algorithm == OAEP else OAEP),
        "too short": lambda: wrap(public_key, material[:-1], algorithm),
        "too long": lambda: wrap(public_key, material + b"\0", algorithm),
        "other material": lambda: wrap(public_key, secrets.token_bytes(len(material)), algorithm),
    }
    return made[kind]()


def _flipped(whole: bytes) -> bytes:
    place = secrets.randbelow(len(whole) - 1) + 1  # not in the first byte: it stays below the modulus
    return whole[:place] + bytes([whole[place] ^ 1 << secrets.randbelow(8)]) + whole[place + 1 :]


def _oaep(public_key: str, material: bytes, digest: hashes.HashAlgorithm, label: bytes | None) -> bytes:
    key = serialization.load_der_public_key(base64.b64decode(public_key))
    assert isinstance(key, rsa.RSAPublicKey)
    return key.encrypt(material, padding.OAEP(padding.MGF1(digest), digest, label))


@dataclass(frozen=True)
class Told:
    """How an import was answered, without what is different in every answer."""

    seconds: float
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def said(self) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        """All but the time that it took."""
        return self.status, self.headers, self.body


def told(
    cloud: str, endpoint: str, keys: Mapping[str, str], key_id: str, parameters: ImportParameters, sent: bytes
) -> Told:
    """Import by hand, and return the answer."""
    values = key_id, parameters.import_token, base64.b64encode(sent).decode()
    members = dict(zip(_FIELDS[cloud], values, strict=True))
    started = time.monotonic()
    if cloud == "tencent":
        answer = raw.signed(endpoint, keys, "ImportKeyMaterial", members)
        request_id = answer.response["RequestId"]
    else:
        answer = raw.signed_as_huawei(endpoint, keys, "import-key-material", members)
        (request_id,) = answer.values("x-request-id")
    seconds = time.monotonic() - started
    headers = tuple(each for each in answer.headers if each[0].lower() not in _OF_THE_REQUEST)
    return Told(seconds, answer.status, headers, answer.body.replace(request_id.encode(), b""))
