"""OpenBao under the same load: import of a wrapped key, encryption, data keys, by its transit engine.

Sources: OpenBao's "Transit secrets engine (API)", and its "Key wrapping for transit key import": the ciphertext of an
import is an ephemeral AES-256 key under RSA-4096 OAEP, followed by the key itself under that, AES-KWP (RFC 5649).
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from scripts.benchmark.ciphering import PLAINTEXT_BYTES, Encryption, Ivs
from scripts.benchmark.customer import MATERIAL_BYTES, CustomerKey
from scripts.benchmark.load import Answered, Asked, connected
from scripts.benchmark.measurements import OPENBAO_DATA_KEY, OPENBAO_ENCRYPT, OPENBAO_IMPORT
from scripts.benchmark.openbao import TRANSIT, OpenBao, ask
from scripts.benchmark.trouble import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptography.hazmat.primitives.asymmetric import rsa

    from scripts.benchmark.measurements import Measurement
    from scripts.benchmark.plan import Plan
    from scripts.benchmark.stand import Stand

_IV_BYTES: Final = 12
_DIFFERENT_REQUESTS: Final = 1024
_HEADROOM: Final = 1.6
_FIRST_IMPORTS: Final = 100
_CHECKING_CONNECTIONS: Final = 8


def steps(plan: Plan) -> int:
    """Return how many steps `measure` takes."""
    return 3 * len(plan.concurrencies)


async def measure(stand: Stand, server: OpenBao) -> list[Measurement]:
    """Measure all of it.

    Raises:
        WrongAnswerError: an answer is not what it must be.
    """
    customer = _Customer(server, await _wrapping_key(server))
    found = await _imports(stand, customer)
    (key,) = customer.fresh_keys(1)
    await ask(server.port, customer.import_of(key).request)
    for concurrency in stand.plan.concurrencies:
        encrypted, point = await stand.point(OPENBAO_ENCRYPT, concurrency, customer.encryptions(key))
        check_encryptions(encrypted)
        found.append(point)
    for concurrency in stand.plan.concurrencies:
        made, point = await stand.point(OPENBAO_DATA_KEY, concurrency, customer.data_keys(key))
        check_data_keys(made)
        found.append(point)
    return found


async def _imports(stand: Stand, customer: _Customer) -> list[Measurement]:
    plan, rate = stand.plan, await _first_rate(customer)
    found = []
    for concurrency in plan.concurrencies:
        number = max(_FIRST_IMPORTS, round(rate * (plan.warm_up_seconds + plan.seconds) * _HEADROOM))
        stock = [customer.import_of(key) for key in customer.fresh_keys(number)]
        answers, point = await stand.point(OPENBAO_IMPORT, concurrency, stock)
        await _check_imports(customer, answers)
        found.append(point)
        rate = max(rate, point.rate)
    return found


async def _first_rate(customer: _Customer) -> float:
    """Return how many keys a second are imported by as many connections as are used to prepare."""
    stock = [customer.import_of(key) for key in customer.fresh_keys(_FIRST_IMPORTS)]
    async with connected(customer.server.port, _CHECKING_CONNECTIONS) as load:
        answers, window = await load.whole(stock)
    return len(answers) / window.seconds


async def _check_imports(customer: _Customer, answers: Iterable[Answered[CustomerKey]]) -> None:
    """Encrypt with every key that was imported: it holds what its owner imported."""
    stock = [next(customer.encryptions(each.subject, 1)) for each in answers]
    async with connected(customer.server.port, _CHECKING_CONNECTIONS) as load:
        check_encryptions(await load.all(stock))


async def _wrapping_key(server: OpenBao) -> rsa.RSAPublicKey:
    said = await ask(server.port, server.request(f"{TRANSIT}/wrapping_key"))
    return cast("rsa.RSAPublicKey", serialization.load_pem_public_key(said["data"]["public_key"].encode()))


@dataclass(slots=True)
class _Customer:
    """Whoever asks: requests that are computed before they are sent."""

    server: OpenBao
    wrapping_key: rsa.RSAPublicKey
    _named: int = field(default=0)

    def fresh_keys(self, number: int) -> list[CustomerKey]:
        """Return names that no key has yet, and material for them."""
        first, self._named = self._named, self._named + number
        return [CustomerKey(f"bench-{each}", secrets.token_bytes(MATERIAL_BYTES)) for each in range(first, self._named)]

    def import_of(self, key: CustomerKey) -> Asked[CustomerKey]:
        """Return the import of a key under a name of its own."""
        ephemeral = secrets.token_bytes(MATERIAL_BYTES)
        sha256 = hashes.SHA256()
        wrapped = self.wrapping_key.encrypt(ephemeral, padding.OAEP(padding.MGF1(sha256), sha256, label=None))
        wrapped += aes_key_wrap_with_padding(ephemeral, key.material)
        request = self.server.request(
            f"{TRANSIT}/keys/{key.key_id}/import",
            ciphertext=base64.b64encode(wrapped).decode("ascii"),
            hash_function="SHA256",
            type="aes256-gcm96",
        )
        return Asked(request, key)

    def encryptions(self, key: CustomerKey, different: int = _DIFFERENT_REQUESTS) -> Iterator[Asked[Encryption]]:
        """Return requests without end to encrypt 32 bytes."""
        ready = []
        for _ in range(different):
            plaintext = secrets.token_bytes(PLAINTEXT_BYTES)
            text = base64.b64encode(plaintext).decode("ascii")
            request = self.server.request(f"{TRANSIT}/encrypt/{key.key_id}", plaintext=text)
            ready.append(Asked(request, Encryption(key, plaintext)))
        return cycle(ready)

    def data_keys(self, key: CustomerKey) -> Iterator[Asked[CustomerKey]]:
        """Return requests without end for a data key of 256 bits, in plaintext and encrypted."""
        return cycle([Asked(self.server.request(f"{TRANSIT}/datakey/plaintext/{key.key_id}", bits=256), key)])


def check_encryptions(answers: Iterable[Answered[Encryption]]) -> None:
    """Open every ciphertext with the key's material.

    Raises:
        WrongAnswerError: one is not what was asked for, or two have the same IV.
    """
    ivs = Ivs()
    for answer in answers:
        if _plaintext(answer.subject.key, _data(answer.body), ivs) != answer.subject.plaintext:
            raise WrongAnswerError("OpenBao: a ciphertext holds something else than was asked for")


def check_data_keys(answers: Iterable[Answered[CustomerKey]]) -> None:
    """Open the ciphertext of every data key with the key's material.

    Raises:
        WrongAnswerError: it does not hold the data key, or two have the same IV.
    """
    ivs = Ivs()
    for answer in answers:
        data = _data(answer.body)
        if base64.b64encode(_plaintext(answer.subject, data, ivs)).decode("ascii") != data["plaintext"]:
            raise WrongAnswerError("OpenBao: the ciphertext of a data key holds something else than the data key")


def _data(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body)["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise WrongAnswerError("OpenBao gave an answer that is not of this API") from error


def _plaintext(key: CustomerKey, data: dict[str, Any], ivs: Ivs) -> bytes:
    """Return what a ciphertext of the form `vault:v1:` and base64 of IV, ciphertext and tag holds."""
    try:
        sealed = base64.b64decode(str(data["ciphertext"]).removeprefix("vault:v1:"), validate=True)
        found = AESGCM(key.material).decrypt(sealed[:_IV_BYTES], sealed[_IV_BYTES:], None)
    except (KeyError, ValueError, InvalidTag) as error:
        raise WrongAnswerError("OpenBao: a ciphertext does not open with the imported material") from error
    ivs.take(key.key_id, sealed[:_IV_BYTES])
    return found
