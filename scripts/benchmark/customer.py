"""A customer of the service: keys of his own, and import requests that are ready to be sent.

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

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hsmkms.core.tickets import MOST_LIVE_TICKETS
from hsmkms.core.wrapping import WRAPPING_KEY_SPEC, WrappingAlgorithm
from scripts.benchmark.child import HOST
from scripts.benchmark.load import Answered, Asked, SubjectT, connected
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import Signer, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scripts.benchmark.load import Step
    from scripts.benchmark.service import Instance
    from scripts.benchmark.wire import Connection

MATERIAL_BYTES: Final = 32
_EXTERNAL: Final = 2
_CONNECTIONS: Final = 16
"""For what is prepared."""


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A key, and the material that the customer imports into it."""

    key_id: str
    material: bytes = field(repr=False)


@dataclass(slots=True)
class Customer:
    """One account, which prepares its requests over connections of its own."""

    account: str
    signer: Signer
    port: int
    keys: list[CustomerKey] = field(default_factory=list)
    _public_keys: dict[str, rsa.RSAPublicKey] = field(default_factory=dict)

    @classmethod
    def of(cls, instance: Instance) -> Customer:
        """Return the account of an instance that was just made."""
        return cls(instance.account, Signer(f"{HOST}:{instance.port}", instance.credential), instance.port)

    async def all(self, stock: Iterable[Step[SubjectT]]) -> list[Answered[SubjectT]]:
        """Send the whole stock and return the answers."""
        # New connections each time: the service closes those that are idle for long.
        async with connected(self.port, _CONNECTIONS) as load:
            return await load.all(stock)

    async def create_keys(self, number: int) -> list[CustomerKey]:
        """Create so many keys, which hold no material yet, and return them with what is to be imported."""
        name = secrets.token_hex(4)
        asked = (  # signed when it is sent: a signature lives 300 s
            Asked(self.signer.request("CreateKey", Alias=f"bench-{name}-{each}", Type=_EXTERNAL), None)
            for each in range(number)
        )
        made = [str(opened(each.body)["KeyId"]) for each in await self.all(asked)]
        return [CustomerKey(key_id, secrets.token_bytes(MATERIAL_BYTES)) for key_id in made]

    async def have_keys(self, number: int) -> float:
        """Create keys and import their material until there are `number` of them.

        Returns:
            How many imports a second that took; 0 if there were enough already.
        """
        fresh = await self.create_keys(number - len(self.keys))
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

    def parameters(self, keys: Sequence[CustomerKey]) -> Iterator[Asked[CustomerKey]]:
        """Return requests for import parameters, one for each of `keys`; each is signed when it is taken."""
        wish = {"WrappingAlgorithm": WrappingAlgorithm.RSAES_OAEP_SHA_1.value, "WrappingKeySpec": WRAPPING_KEY_SPEC}
        for key in keys:
            yield Asked(self.signer.request("GetParametersForImport", KeyId=key.key_id, **wish), key)

    async def imports(self, number: int) -> list[Asked[CustomerKey]]:
        """Return so many import requests, each with a token of its own and the requests of one key far apart."""
        return await self._imports(list(islice(cycle(self.keys), number)))

    async def _imports(self, keys: Sequence[CustomerKey]) -> list[Asked[CustomerKey]]:
        return [self.import_of(each) for each in await self.all(self.parameters(keys))]

    def ceremonies(self, keys: Sequence[CustomerKey]) -> Iterator[Ceremony]:
        """Return whole ceremonies without end, with these keys in turn."""
        return cycle([Ceremony(asked, self) for asked in self.parameters(keys)])

    def import_of(self, issued: Answered[CustomerKey]) -> Asked[CustomerKey]:
        """Wrap the key's material by the parameters of an answer, and return the import request.

        Raises:
            WrongAnswerError: it is no answer with parameters.
        """
        parameters = opened(issued.body)
        wrapped = self._public_key(parameters["PublicKey"]).encrypt(issued.subject.material, _OAEP)
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


@dataclass(frozen=True, slots=True)
class Ceremony:
    """Get parameters, wrap, import: one after the other on one connection."""

    asked: Asked[CustomerKey]
    customer: Customer

    async def on(self, connection: Connection) -> Answered[CustomerKey]:
        """Do all of it, and return the answer to the import, with the time that all of it took."""
        issued = await self.asked.on(connection)
        imported = await self.customer.import_of(issued).on(connection)
        begin = issued.at - issued.seconds
        return Answered(imported.subject, imported.body, imported.at, imported.at - begin)


def check_imports(answers: Iterable[Answered[CustomerKey]]) -> None:
    """Look at every answer to an import.

    Raises:
        WrongAnswerError: one does not say that the material was imported.
    """
    for answer in answers:
        opened(answer.body)


def check_parameters(answers: Iterable[Answered[CustomerKey]]) -> None:
    """Look at every answer to a request for import parameters.

    Raises:
        WrongAnswerError: one is for another key, or two have the same import token or the same wrapping key.
    """
    seen: set[str] = set()
    for answer in answers:
        response = opened(answer.body)
        if response["KeyId"] != answer.subject.key_id or not seen.isdisjoint(
            found := (response["ImportToken"], response["PublicKey"])
        ):
            raise WrongAnswerError("GetParametersForImport: parameters of another key, or given out before")
        seen.update(found)


_SHA1: Final = hashes.SHA1()  # noqa: S303 - OAEP does not rest on SHA-1's collision resistance (NIST SP 800-131A r2)
_OAEP: Final = padding.OAEP(padding.MGF1(_SHA1), _SHA1, label=None)
