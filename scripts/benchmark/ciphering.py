"""Requests that use a customer's keys, and what the answers to them must be."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsmkms.core import ciphertexts, records
from hsmkms.core.errors import CiphertextInvalid
from hsmkms.core.ids import AccountName, KeyId
from hsmkms.core.material import Edition
from scripts.benchmark.load import Answered, Asked
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scripts.benchmark.customer import Customer, CustomerKey
    from scripts.benchmark.wire import Signer

PLAINTEXT_BYTES: Final = 32
_DIFFERENT_REQUESTS: Final = 1024
"""Requests that are signed before the clock starts; then they come round again."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """What an Encrypt request asked for."""

    key: CustomerKey
    plaintext: bytes = field(repr=False)


@dataclass(slots=True)
class Ivs:
    """Which IVs were seen with which key."""

    seen: set[tuple[str, bytes]] = field(default_factory=set)

    def take(self, key: str, iv: bytes) -> None:
        """Take one more.

        Raises:
            WrongAnswerError: it was seen with this key before.
        """
        if (key, iv) in self.seen:
            raise WrongAnswerError("two ciphertexts of a key have the same IV")
        self.seen.add((key, iv))


def encryptions(
    signer: Signer, keys: Sequence[CustomerKey], different: int = _DIFFERENT_REQUESTS
) -> Iterator[Asked[Encryption]]:
    """Return Encrypt requests without end, of 32 bytes each, with these keys in turn."""
    ready = []
    for key in islice(cycle(keys), different):
        plaintext = secrets.token_bytes(PLAINTEXT_BYTES)
        text = base64.b64encode(plaintext).decode("ascii")
        ready.append(Asked(signer.request("Encrypt", KeyId=key.key_id, Plaintext=text), Encryption(key, plaintext)))
    return cycle(ready)


def data_keys(signer: Signer, keys: Sequence[CustomerKey]) -> Iterator[Asked[CustomerKey]]:
    """Return GenerateDataKey requests without end, for 256 bits each, with these keys in turn."""
    return cycle([Asked(signer.request("GenerateDataKey", KeyId=key.key_id, KeySpec="AES_256"), key) for key in keys])


def check_encryptions(account: str, answers: Iterable[Answered[Encryption]]) -> None:
    """Open every ciphertext with the key's material, as only its owner can, outside of any token.

    Raises:
        WrongAnswerError: one is not what was asked for, or two have the same IV.
    """
    ivs = Ivs()
    for answer in answers:
        response = opened(answer.body)
        if _plaintext(account, answer.subject.key, response, ivs) != answer.subject.plaintext:
            raise WrongAnswerError("a ciphertext holds something else than was asked for")


def check_data_keys(account: str, answers: Iterable[Answered[CustomerKey]]) -> None:
    """Open the ciphertext of every data key with the key's material, outside of any token.

    Raises:
        WrongAnswerError: it does not hold the data key, two have the same IV, or two data keys are the same.
    """
    ivs, seen = Ivs(), set[bytes]()
    for answer in answers:
        response = opened(answer.body)
        made = _plaintext(account, answer.subject, response, ivs)
        if len(made) != PLAINTEXT_BYTES or base64.b64encode(made).decode("ascii") != response["Plaintext"]:
            raise WrongAnswerError("the ciphertext of a data key holds something else than the data key")
        if made in seen:
            raise WrongAnswerError("a data key was given out twice")
        seen.add(made)


async def check_by_decrypting(customer: Customer, answers: Sequence[Answered[Encryption]], most: int) -> None:
    """Have the service decrypt ciphertexts whose material nobody knows outside of the token, `most` of them.

    Raises:
        WrongAnswerError: two have the same IV, or one that was tried holds something else than was asked for.
    """
    ivs = Ivs()
    asked = []
    for answer in answers:
        blob = opened(answer.body)["CiphertextBlob"]
        ivs.take(answer.subject.key.key_id, ciphertexts.parse(base64.b64decode(blob, validate=True)).iv)
        asked.append((blob, answer.subject.plaintext))
    stock = [Asked(customer.signer.request("Decrypt", CiphertextBlob=blob), wanted) for blob, wanted in asked[:most]]
    for decrypted in await customer.all(stock):
        if base64.b64decode(opened(decrypted.body)["Plaintext"]) != decrypted.subject:
            raise WrongAnswerError("a ciphertext holds something else than was asked for")


def _plaintext(account: str, key: CustomerKey, response: dict[str, Any], ivs: Ivs) -> bytes:
    try:
        ciphertext = ciphertexts.parse(base64.b64decode(str(response["CiphertextBlob"]), validate=True))
        found = _opened(account, key, ciphertext)
    except (KeyError, ValueError, CiphertextInvalid, InvalidTag) as error:
        raise WrongAnswerError("a ciphertext does not open with the imported material") from error
    if response["KeyId"] != key.key_id:
        raise WrongAnswerError("the service answered for another key")
    ivs.take(key.key_id, ciphertext.iv)
    return found


def _opened(account: str, key: CustomerKey, ciphertext: ciphertexts.Ciphertext) -> bytes:
    head = ciphertext.head
    owner = records.of_material(AccountName(account), KeyId(key.key_id), Edition.FIPS, head.generation)
    authenticated = ciphertexts.authenticated(owner, head, ciphertexts.NO_CONTEXT)
    padded = AESGCM(key.material).decrypt(ciphertext.iv, ciphertext.sealed, authenticated)
    return ciphertexts.unpadded(padded).reveal()
