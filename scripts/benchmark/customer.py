"""A customer of the service: keys of his own, requests that are ready to be sent, and what the answers must be.

Each key has material of its own. The first import of each is not measured; every measured one brings the same material
again, with an import token and a ciphertext of its own, which costs the service the same steps.
"""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsmkms.core import ciphertexts, records
from hsmkms.core.errors import CiphertextInvalid
from hsmkms.core.ids import AccountName, KeyId
from hsmkms.core.material import Edition
from hsmkms.core.tickets import MOST_LIVE_TICKETS
from hsmkms.core.wrapping import WRAPPING_KEY_SPEC, WrappingAlgorithm
from scripts.benchmark.load import Answered, Asked, SubjectT
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from scripts.benchmark.load import Load
    from scripts.benchmark.wire import Signer

MATERIAL_BYTES: Final = 32
PLAINTEXT_BYTES: Final = 32
_EXTERNAL: Final = 2
_DIFFERENT_REQUESTS: Final = 1024
"""Encrypt requests that are signed before the clock starts; then they come round again."""


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A key, and the material that the customer imports into it."""

    key_id: str
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Encryption:
    """What an Encrypt request asked for."""

    key: CustomerKey
    plaintext: bytes = field(repr=False)


@dataclass(slots=True)
class Customer:
    """One account, which prepares its requests over connections of its own."""

    account: str
    signer: Signer
    connected: Callable[[], AbstractAsyncContextManager[Load]]
    """New connections each time: the service closes those that are idle for long."""
    keys: list[CustomerKey] = field(default_factory=list)
    _public_keys: dict[str, rsa.RSAPublicKey] = field(default_factory=dict)

    async def all(self, stock: Iterable[Asked[SubjectT]]) -> list[Answered[SubjectT]]:
        """Send the whole stock and return the answers."""
        async with self.connected() as load:
            return await load.all(stock)

    async def have_keys(self, number: int) -> float:
        """Create keys and import their material until there are `number` of them.

        Returns:
            How many imports a second that took; 0 if there were enough already.
        """
        name = secrets.token_hex(4)
        asked = (  # signed when it is sent: a signature lives 300 s
            Asked(self.signer.request("CreateKey", Alias=f"bench-{name}-{each}", Type=_EXTERNAL), None)
            for each in range(number - len(self.keys))
        )
        made = [str(opened(each.body)["KeyId"]) for each in await self.all(asked)]
        fresh = [CustomerKey(key_id, secrets.token_bytes(MATERIAL_BYTES)) for key_id in made]
        stock = await self._imports(fresh)
        begin = time.perf_counter()
        answers = await self.all(stock)
        check_imports(answers)
        self.keys += fresh
        return len(answers) / (time.perf_counter() - begin)

    @staticmethod
    def keys_for(imports: int) -> int:
        """Return how many keys so many import tokens need at a time."""
        return -(-imports // MOST_LIVE_TICKETS)

    async def imports(self, number: int) -> list[Asked[CustomerKey]]:
        """Return so many import requests, each with a token of its own and the requests of one key far apart."""
        return await self._imports(list(islice(cycle(self.keys), number)))

    async def _imports(self, keys: Sequence[CustomerKey]) -> list[Asked[CustomerKey]]:
        wish = {"WrappingAlgorithm": WrappingAlgorithm.RSAES_OAEP_SHA_1.value, "WrappingKeySpec": WRAPPING_KEY_SPEC}
        asked = (Asked(self.signer.request("GetParametersForImport", KeyId=key.key_id, **wish), key) for key in keys)
        return [self._import(each) for each in await self.all(asked)]

    def _import(self, issued: Answered[CustomerKey]) -> Asked[CustomerKey]:
        parameters = opened(issued.body)
        wrapped = self._public_key(parameters["PublicKey"]).encrypt(issued.subject.material, _oaep())
        request = self.signer.request(
            "ImportKeyMaterial",
            KeyId=issued.subject.key_id,
            ImportToken=parameters["ImportToken"],
            EncryptedKeyMaterial=base64.b64encode(wrapped).decode("ascii"),
        )
        return Asked(request, issued.subject)

    def _public_key(self, text: str) -> rsa.RSAPublicKey:
        if text not in self._public_keys:
            key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
            if not isinstance(key, rsa.RSAPublicKey):
                raise WrongAnswerError("the service gave a wrapping key that is not RSA")
            self._public_keys[text] = key
        return self._public_keys[text]

    def encryptions(self, keys: Sequence[CustomerKey]) -> Iterator[Asked[Encryption]]:
        """Return Encrypt requests without end, of 32 bytes each, with these keys in turn."""
        ready = []
        for key in islice(cycle(keys), _DIFFERENT_REQUESTS):
            plaintext = secrets.token_bytes(PLAINTEXT_BYTES)
            text = base64.b64encode(plaintext).decode("ascii")
            request = self.signer.request("Encrypt", KeyId=key.key_id, Plaintext=text)
            ready.append(Asked(request, Encryption(key, plaintext)))
        return cycle(ready)

    def check_encryptions(self, answers: Iterable[Answered[Encryption]]) -> None:
        """Open every ciphertext with the key's material, as only its owner can, outside of any token.

        Raises:
            WrongAnswerError: one is not what was asked for, or two have the same IV.
        """
        ivs: set[tuple[str, bytes]] = set()
        for answer in answers:
            wanted, response = answer.subject, opened(answer.body)
            try:
                ciphertext = ciphertexts.parse(base64.b64decode(str(response["CiphertextBlob"]), validate=True))
                found = self._opened(wanted.key, ciphertext)
            except (KeyError, ValueError, CiphertextInvalid, InvalidTag) as error:
                raise WrongAnswerError("Encrypt: a ciphertext does not open with the imported material") from error
            if found != wanted.plaintext or response["KeyId"] != wanted.key.key_id:
                raise WrongAnswerError("Encrypt: a ciphertext holds something else than was asked for")
            place = (wanted.key.key_id, ciphertext.iv)
            if place in ivs:
                raise WrongAnswerError("Encrypt: two ciphertexts of a key have the same IV")
            ivs.add(place)

    def _opened(self, key: CustomerKey, ciphertext: ciphertexts.Ciphertext) -> bytes:
        head = ciphertext.head
        owner = records.of_material(AccountName(self.account), KeyId(key.key_id), Edition.FIPS, head.generation)
        authenticated = ciphertexts.authenticated(owner, head, ciphertexts.NO_CONTEXT)
        padded = AESGCM(key.material).decrypt(ciphertext.iv, ciphertext.sealed, authenticated)
        return ciphertexts.unpadded(padded).reveal()


def check_imports(answers: Iterable[Answered[CustomerKey]]) -> None:
    """Look at every answer to an import.

    Raises:
        WrongAnswerError: one does not say that the material was imported.
    """
    for answer in answers:
        opened(answer.body)


def _oaep() -> padding.OAEP:
    sha1 = hashes.SHA1()  # noqa: S303 - OAEP does not rest on SHA-1's collision resistance (NIST SP 800-131A r2)
    return padding.OAEP(padding.MGF1(sha1), sha1, label=None)
