"""What the bench's customer prepares, what it takes for right parameters, and what a whole ceremony is."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hsmkms.client.credential import ClientCredential
from hsmkms.core.ids import AccessId
from hsmkms.core.secrets import SecretKey
from scripts.benchmark.customer import Customer, CustomerKey, check_parameters
from scripts.benchmark.load import Answered
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import Connection, Signer
from tests.bench.answering import answer, answering, well

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY: Final = CustomerKey("6d3f0e5c-93a7-4d35-8d1c-0a9f6f2b7e11", bytes(range(32)))
PAIR: Final = rsa.generate_private_key(65537, 2048)
PUBLIC_KEY: Final = base64.b64encode(
    PAIR.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()


def customer(port: int = 1) -> Customer:
    signer = Signer(f"127.0.0.1:{port}", ClientCredential(AccessId("id"), SecretKey(b"made up")))
    return Customer("acme", signer, port)


def parameters(token: str = "token", public_key: str = PUBLIC_KEY, key_id: str = KEY.key_id) -> bytes:
    response = {"RequestId": "r", "KeyId": key_id, "ImportToken": token, "PublicKey": public_key}
    return json.dumps({"Response": response}).encode()


def test_no_key_needs_more_tokens_than_it_may_have() -> None:
    assert [Customer.keys_for(imports) for imports in (1, 3, 4, 300)] == [1, 1, 2, 100]


async def test_a_ceremony_brings_the_material_under_the_token_it_was_given() -> None:
    asked: list[bytes] = []

    def serve(body: bytes) -> Sequence[bytes]:
        asked.append(body)
        return [answer(parameters() if len(asked) == 1 else well())]

    async with answering(serve) as port:
        connection = await Connection.open("127.0.0.1", port)
        try:
            done = await next(customer(port).ceremonies([KEY])).on(connection)
        finally:
            connection.close()
    imported = json.loads(asked[1])
    assert (imported["KeyId"], imported["ImportToken"]) == (KEY.key_id, "token")
    sha1 = hashes.SHA1()  # noqa: S303 - as the service asks for
    wrapped = base64.b64decode(imported["EncryptedKeyMaterial"])
    assert PAIR.decrypt(wrapped, padding.OAEP(padding.MGF1(sha1), sha1, label=None)) == KEY.material
    assert (done.subject, done.body) == (KEY, well())
    assert done.seconds > 0, "from the first request on"


@pytest.mark.parametrize(
    "bodies",
    [
        [parameters(key_id="0b8f4c52-7c0e-4f0e-9a55-3f1d2c4b5a69")],
        [parameters("one", "first"), parameters("one", "second")],
        [parameters("one", "first"), parameters("two", "first")],
    ],
)
def test_parameters_of_another_or_given_out_before_are_wrong(bodies: list[bytes]) -> None:
    with pytest.raises(WrongAnswerError, match="given out before"):
        check_parameters([Answered(KEY, body, 0.0, 0.0) for body in bodies])


def test_parameters_that_differ_are_right() -> None:
    bodies = [parameters("one", "first"), parameters("two", "second")]
    check_parameters([Answered(KEY, body, 0.0, 0.0) for body in bodies])


def test_nothing_shows_a_customers_material() -> None:
    assert repr(KEY.material)[2:-1] not in repr((KEY, customer()))
