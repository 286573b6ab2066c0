"""What the bench takes for a right answer to Encrypt."""

from __future__ import annotations

import base64
import contextlib
import json
from itertools import islice
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsmkms.client.credential import ClientCredential
from hsmkms.core import ciphertexts, records
from hsmkms.core.ciphertexts import CipherAlgorithm, Ciphertext, Head
from hsmkms.core.ids import AccessId, AccountName, KeyId
from hsmkms.core.material import Edition
from hsmkms.core.secrets import Plaintext, SecretKey
from scripts.benchmark.customer import Customer, CustomerKey, Encryption
from scripts.benchmark.load import Answered, Load
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import Signer, opened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

ACCOUNT: Final = "acme"
KEY: Final = CustomerKey("6d3f0e5c-93a7-4d35-8d1c-0a9f6f2b7e11", bytes(range(32)))
OTHER: Final = CustomerKey("0b8f4c52-7c0e-4f0e-9a55-3f1d2c4b5a69", bytes(32))
ASKED: Final = Encryption(KEY, b"p" * 32)


def unconnected() -> AbstractAsyncContextManager[Load]:
    return contextlib.nullcontext(Load(()))


def customer() -> Customer:
    credential = ClientCredential(AccessId("id"), SecretKey(b"made up"))
    return Customer(ACCOUNT, Signer("127.0.0.1:1", credential), unconnected, [KEY, OTHER])


def blob(
    key: CustomerKey = KEY, plaintext: bytes = ASKED.plaintext, account: str = ACCOUNT, iv: bytes = b"i" * 12
) -> str:
    """Return what the service answers, made outside of any token."""
    head = Head(CipherAlgorithm.AES_256_GCM, KeyId(key.key_id), 1)
    owner = records.of_material(AccountName(account), KeyId(key.key_id), Edition.FIPS, 1)
    authenticated = ciphertexts.authenticated(owner, head, ciphertexts.NO_CONTEXT)
    sealed = AESGCM(key.material).encrypt(iv, ciphertexts.padded(Plaintext(plaintext)), authenticated)
    return base64.b64encode(Ciphertext(head, iv, sealed).packed()).decode()


def answered(**members: str) -> Answered[Encryption]:
    response = {"RequestId": "r", "KeyId": KEY.key_id, **members}
    return Answered(ASKED, json.dumps({"Response": response}).encode(), 0.0, 0.0)


def test_ciphertexts_that_open_are_right() -> None:
    ivs = (b"a" * 12, b"b" * 12)
    customer().check_encryptions([answered(CiphertextBlob=blob(iv=iv)) for iv in ivs])


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"CiphertextBlob": blob(plaintext=b"q" * 32)}, "something else"),
        ({"CiphertextBlob": blob(), "KeyId": OTHER.key_id}, "something else"),
        ({"CiphertextBlob": blob(key=OTHER)}, "does not open"),
        ({"CiphertextBlob": blob(account="other")}, "does not open"),
        ({"CiphertextBlob": blob()[:-4] + "AAAA"}, "does not open"),
        ({"CiphertextBlob": "AAAA"}, "does not open"),
        ({"CiphertextBlob": "no base64"}, "does not open"),
        ({}, "does not open"),
    ],
)
def test_any_other_ciphertext_is_wrong(members: Mapping[str, str], why: str) -> None:
    with pytest.raises(WrongAnswerError, match=why):
        customer().check_encryptions([answered(**members)])


def test_an_iv_that_comes_twice_is_wrong() -> None:
    with pytest.raises(WrongAnswerError, match="same IV"):
        customer().check_encryptions([answered(CiphertextBlob=blob())] * 2)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"Response": []}', b'{"Response": {}}', b'{"Response": {"RequestId": "r", "Error": {}}}']
)
def test_what_is_not_of_the_api_is_no_answer(body: bytes) -> None:
    with pytest.raises(WrongAnswerError, match="not of this API"):
        opened(body)


def test_encryptions_go_round_the_keys_with_different_plaintexts() -> None:
    found = [each.subject for each in islice(customer().encryptions([KEY, OTHER]), 6)]
    assert [each.key for each in found] == [KEY, OTHER] * 3
    assert len({each.plaintext for each in found}) == 6


def test_no_key_needs_more_tokens_than_it_may_have() -> None:
    assert [Customer.keys_for(imports) for imports in (1, 3, 4, 300)] == [1, 1, 2, 100]


def test_nothing_shows_a_customers_material() -> None:
    shown = repr((KEY, ASKED, customer()))
    assert repr(KEY.material)[2:-1] not in shown
    assert "pppp" not in shown
