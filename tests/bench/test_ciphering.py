"""What the bench takes for a right answer to Encrypt and GenerateDataKey, of ours and of the peer."""

from __future__ import annotations

import base64
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
from scripts.benchmark import openbao_points
from scripts.benchmark.ciphering import Encryption, check_data_keys, check_encryptions, encryptions
from scripts.benchmark.customer import CustomerKey
from scripts.benchmark.load import Answered
from scripts.benchmark.trouble import WrongAnswerError
from scripts.benchmark.wire import Signer, opened

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT: Final = "acme"
KEY: Final = CustomerKey("6d3f0e5c-93a7-4d35-8d1c-0a9f6f2b7e11", bytes(range(32)))
OTHER: Final = CustomerKey("0b8f4c52-7c0e-4f0e-9a55-3f1d2c4b5a69", bytes(32))
ASKED: Final = Encryption(KEY, b"p" * 32)


SIGNER: Final = Signer("127.0.0.1:1", ClientCredential(AccessId("id"), SecretKey(b"made up")))


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
    check_encryptions(ACCOUNT, [answered(CiphertextBlob=blob(iv=iv)) for iv in ivs])


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"CiphertextBlob": blob(plaintext=b"q" * 32)}, "something else"),
        ({"CiphertextBlob": blob(), "KeyId": OTHER.key_id}, "another key"),
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
        check_encryptions(ACCOUNT, [answered(**members)])


def test_an_iv_that_comes_twice_is_wrong() -> None:
    with pytest.raises(WrongAnswerError, match="same IV"):
        check_encryptions(ACCOUNT, [answered(CiphertextBlob=blob())] * 2)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"Response": []}', b'{"Response": {}}', b'{"Response": {"RequestId": "r", "Error": {}}}']
)
def test_what_is_not_of_the_api_is_no_answer(body: bytes) -> None:
    with pytest.raises(WrongAnswerError, match="not of this API"):
        opened(body)


def test_encryptions_go_round_the_keys_with_different_plaintexts() -> None:
    found = [each.subject for each in islice(encryptions(SIGNER, [KEY, OTHER]), 6)]
    assert [each.key for each in found] == [KEY, OTHER] * 3
    assert len({each.plaintext for each in found}) == 6


def made(data_key: bytes, shown: bytes, iv: bytes = b"i" * 12) -> Answered[CustomerKey]:
    members = {"CiphertextBlob": blob(plaintext=data_key, iv=iv), "Plaintext": base64.b64encode(shown).decode()}
    response = {"RequestId": "r", "KeyId": KEY.key_id, **members}
    return Answered(KEY, json.dumps({"Response": response}).encode(), 0.0, 0.0)


def test_data_keys_that_are_in_their_ciphertexts_are_right() -> None:
    check_data_keys(ACCOUNT, [made(b"1" * 32, b"1" * 32, iv=b"a" * 12), made(b"2" * 32, b"2" * 32)])


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([made(b"1" * 32, b"2" * 32)], "something else"),
        ([made(b"1" * 16, b"1" * 16)], "something else"),
        ([made(b"1" * 32, b"1" * 32), made(b"1" * 32, b"1" * 32, iv=b"a" * 12)], "given out twice"),
        ([made(b"1" * 32, b"1" * 32), made(b"2" * 32, b"2" * 32)], "same IV"),
    ],
)
def test_any_other_data_key_is_wrong(answers: list[Answered[CustomerKey]], why: str) -> None:
    with pytest.raises(WrongAnswerError, match=why):
        check_data_keys(ACCOUNT, answers)


def peers(sealed: bytes = ASKED.plaintext, key: CustomerKey = KEY, shown: bytes = b"") -> bytes:
    """Return what the peer answers, made without it."""
    iv = b"i" * 12
    text = base64.b64encode(iv + AESGCM(key.material).encrypt(iv, sealed, None)).decode()
    data = {"ciphertext": f"vault:v1:{text}", "plaintext": base64.b64encode(shown).decode()}
    return json.dumps({"data": data}).encode()


def test_the_peers_ciphertexts_are_opened_too() -> None:
    openbao_points.check_encryptions([Answered(ASKED, peers(), 0.0, 0.0)])
    openbao_points.check_data_keys([Answered(KEY, peers(b"made", shown=b"made"), 0.0, 0.0)])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (peers(b"q" * 32), "something else"),
        (peers(key=OTHER), "does not open"),
        (b'{"data": {}}', "does not open"),
        (b'{"errors": []}', "not of this API"),
        (b"", "not of this API"),
    ],
)
def test_a_wrong_answer_of_the_peer_is_no_figure_either(body: bytes, why: str) -> None:
    with pytest.raises(WrongAnswerError, match=why):
        openbao_points.check_encryptions([Answered(ASKED, body, 0.0, 0.0)])


def test_a_wrong_data_key_of_the_peer_is_no_figure() -> None:
    with pytest.raises(WrongAnswerError, match="something else"):
        openbao_points.check_data_keys([Answered(KEY, peers(b"made", shown=b"another"), 0.0, 0.0)])


def test_nothing_shows_a_customers_material() -> None:
    shown = repr((KEY, ASKED))
    assert repr(KEY.material)[2:-1] not in shown
    assert "pppp" not in shown
