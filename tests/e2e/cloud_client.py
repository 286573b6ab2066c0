"""What the clients of all clouds do alike: the ceremony of bringing material, over calls that each cloud names itself.

A call that a service refuses is told as a `Failure`, whatever the SDK raises.
"""

from __future__ import annotations

import base64
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")

LEAST_PENDING_DAYS: Final = 7


class Failure(NamedTuple):
    """What a refused request was told."""

    code: str
    message: str
    status: int = 200
    """Of the HTTP answer."""


@dataclass(frozen=True)
class ImportParameters:
    """What a client is given to bring material with."""

    import_token: str
    public_key: str
    """SubjectPublicKeyInfo (DER) in base64."""
    valid_to: int
    """Seconds since 1970."""


class DataKey(NamedTuple):
    """A data key, and what decrypts to it."""

    plaintext: bytes
    ciphertext: bytes


class CloudClient(ABC):
    """An official SDK, and the client's part of the ceremony."""

    def __init__(self, endpoint: str, keys: dict[str, str], algorithm: str) -> None:
        """Keep what every client has; nothing here goes through a proxy."""
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            os.environ.pop(name, None)
            os.environ.pop(name.upper(), None)
        self.endpoint = endpoint
        self.keys = keys
        self.algorithm = algorithm

    @abstractmethod
    def failure(self, method: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Failure:
        """Return what a call of this client was told, which must be refused."""

    @abstractmethod
    def external_key(self) -> str:
        """Create an EXTERNAL key and return its id."""

    @abstractmethod
    def generated_key(self) -> str:
        """Create a key whose material the token generates, and return its id."""

    @abstractmethod
    def parameters(self, key_id: str, algorithm: str | None = None) -> ImportParameters:
        """Get import parameters."""

    @abstractmethod
    def import_(self, key_id: str, parameters: ImportParameters, encrypted: str, valid_to: Any = None) -> Any:
        """Import."""

    @abstractmethod
    def delete_material(self, key_id: str) -> Any:
        """Delete what was imported."""

    @abstractmethod
    def enable(self, key_id: str) -> Any:
        """Switch a key on."""

    @abstractmethod
    def disable(self, key_id: str) -> Any:
        """Switch a key off."""

    @abstractmethod
    def schedule_deletion(self, key_id: str, days: int = LEAST_PENDING_DAYS) -> Any:
        """Let a key be deleted after some days."""

    @abstractmethod
    def cancel_deletion(self, key_id: str) -> Any:
        """Keep a key that was to be deleted."""

    @abstractmethod
    def is_rotated(self, key_id: str) -> bool:
        """Tell whether a key gets new material from time to time."""

    @abstractmethod
    def encrypt(self, key_id: str, plaintext: bytes, context: Mapping[str, str] | None = None) -> bytes:
        """Encrypt; the plaintext is UTF-8 where the cloud encrypts texts only."""

    @abstractmethod
    def decrypt(self, ciphertext: bytes, context: Mapping[str, str] | None = None) -> bytes:
        """Decrypt."""

    @abstractmethod
    def re_encrypt(self, ciphertext: bytes, key_id: str) -> bytes:
        """Decrypt, and encrypt with a key."""

    @abstractmethod
    def data_key(self, key_id: str) -> DataKey:
        """Make a data key of 256 bits."""

    @abstractmethod
    def random(self, size: int) -> bytes:
        """Return so many random bytes."""

    @abstractmethod
    def describe(self, key_id: str) -> Any:
        """Return the SDK's model of all that is known of a key."""

    @abstractmethod
    def state(self, key_id: str) -> str:
        """Return the key's state, as the cloud writes it."""

    @abstractmethod
    def shown(self, key_id: str | None) -> object:
        """Return how many keys there are, and all that is known of one, in a form to compare."""

    def wrapped(self, parameters: ImportParameters, material: bytes, algorithm: str | None = None) -> str:
        """Wrap material as a client does, and return it in base64."""
        return base64.b64encode(wrap(parameters.public_key, material, algorithm or self.algorithm)).decode()

    def bring(self, key_id: str, material: bytes, valid_to: Any = None) -> ImportParameters:
        """Do the whole ceremony for a key; return the parameters used."""
        parameters = self.parameters(key_id)
        self.import_(key_id, parameters, self.wrapped(parameters, material), valid_to)
        return parameters

    def import_code(self, key_id: str, parameters: ImportParameters, encrypted: str, valid_to: Any = None) -> str:
        """Return the error code of an import that must fail."""
        return self.failure(self.import_, key_id, parameters, encrypted, valid_to).code


def wrap(public_key: str, material: bytes, algorithm: str) -> bytes:
    """Encrypt `material` under a base64 SubjectPublicKeyInfo with the algorithm of this name."""
    key = serialization.load_der_public_key(base64.b64decode(public_key, validate=True))
    assert isinstance(key, rsa.RSAPublicKey)
    if algorithm == "RSAES_PKCS1_V1_5":
        return key.encrypt(material, padding.PKCS1v15())
    digest = hashes.SHA256() if algorithm.endswith("256") else hashes.SHA1()  # noqa: S303 - OAEP's hash
    return key.encrypt(material, padding.OAEP(padding.MGF1(digest), digest, label=None))
