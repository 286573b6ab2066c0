"""The length rule through the API: of all lengths `fips` accepts 32 bytes only and `sm` 16 bytes only."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.e2e.cloud_client import wrap
from tests.e2e.running import ALGORITHM_OF, RunningService

if TYPE_CHECKING:
    from tests.e2e.tencent_client import TencentClient

LONGEST: Final = 64
UNDECRYPTABLE: Final = "InvalidParameter.DecryptMaterialError"
OVER: Final = "ResourceUnavailable.TokenExpired"
MODULUS_BYTES: Final = 256


@pytest.fixture(scope="session")
def fips_account(service: RunningService) -> TencentClient:
    """A client of an account of its own, and so with pairs of its own."""
    return service.client(service.instance.another_credential(f"lengths-{secrets.token_hex(3)}"))


@pytest.fixture(params=["fips", "sm"])
def importer(request: pytest.FixtureRequest, service: RunningService) -> Importer:
    """A client of each edition."""
    # Not a fixture of session scope with parameters: with two such, pytest starts services again and again.
    if request.param == "fips":
        return Importer(request.getfixturevalue("fips_account"), service.instance.material_bytes)
    running: RunningService = request.getfixturevalue("sm_service")
    return Importer(running.client(), running.instance.material_bytes)


class Importer:
    """Tries material of any length on keys of its own."""

    def __init__(self, client: TencentClient, needed: int) -> None:
        self.client = client
        self.needed = needed
        self._refusing = client.external_key()
        self._parameters = client.parameters(self._refusing)

    def verdict(self, key_id: str | None, material: bytes) -> str:
        """Return "" if the material is accepted (by a new key if none is given), else message of the refusal."""
        if key_id is None and len(material) == self.needed:
            self.client.bring(self.client.external_key(), material)
            return ""
        key_id = key_id or self._refusing
        if key_id != self._refusing:
            self._refusing, self._parameters = key_id, self.client.parameters(key_id)
        for _ in range(2):
            encrypted = self.client.wrapped(self._parameters, material)
            failure = self.client.failure(self.client.import_, key_id, self._parameters, encrypted)
            if failure.code != OVER:
                break
            self._parameters = self.client.parameters(key_id)  # ten failures end an import token, 100 a pair
        assert failure.code == UNDECRYPTABLE, failure
        return failure.message


def random_material(length: int) -> bytes:
    """Return material that neither begins nor ends with a zero."""
    return bytes(secrets.choice(range(1, 256)) for _ in range(length))


def test_of_all_lengths_only_one_is_accepted(importer: Importer) -> None:
    verdicts = {length: importer.verdict(None, random_material(length)) for length in range(LONGEST + 1)}
    accepted = [length for length, message in verdicts.items() if not message]
    assert accepted == [importer.needed]
    names_it = f"exactly {8 * importer.needed} bits ({importer.needed} bytes)"
    assert all(names_it in message for message in verdicts.values() if message)


def test_zeros_after_the_right_length_do_not_make_it_right(importer: Importer) -> None:
    material = random_material(importer.needed)
    for zeros in range(1, LONGEST - importer.needed + 1):
        assert importer.verdict(None, material + bytes(zeros)), zeros
    for length in (0, 1, importer.needed - 1, importer.needed + 1, LONGEST):
        assert importer.verdict(None, bytes(length)), "zeros alone"


def test_material_without_its_last_zeros_is_another(importer: Importer) -> None:
    # A token that pads with zeros would take K for K followed by zeros, which is of the right length.
    key_id = importer.client.external_key()
    for length in (0, 1, 8, *range(importer.needed - 8, importer.needed)):  # AES-KW pads to 8 bytes
        short = random_material(length)
        assert importer.verdict(key_id, short), length
        assert importer.verdict(None, short + bytes(importer.needed - length)) == "", length
    assert importer.client.state(key_id) == "PendingImport"
    short = random_material(importer.needed - 1)
    importer.client.bring(key_id, short + b"\0")
    assert importer.verdict(key_id, short), "the same but for the zero, on the key that holds it"
    importer.client.bring(key_id, short + b"\0")


# --- ciphertexts that are none -----------------------------------------------------------------------------


def undecryptable(client: TencentClient, ciphertext: bytes) -> None:
    """Try a ciphertext made for nothing, or for other parameters."""
    key_id = client.external_key()
    encrypted = base64.b64encode(ciphertext).decode()
    failure = client.failure(client.import_, key_id, client.parameters(key_id), encrypted)
    assert failure.code == UNDECRYPTABLE
    assert "bits" not in failure.message
    assert client.state(key_id) == "PendingImport"


@pytest.mark.parametrize(
    "ciphertext",
    [b"\xff" * MODULUS_BYTES, bytes(MODULUS_BYTES), bytes(MODULUS_BYTES - 1) + b"\1"],
    ids=["above the modulus", "zero", "one"],
)
def test_numbers_that_no_client_would_send(client: TencentClient, ciphertext: bytes) -> None:
    undecryptable(client, ciphertext)


def test_one_flipped_bit_is_enough(client: TencentClient) -> None:
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    ciphertext = base64.b64decode(client.wrapped(parameters, secrets.token_bytes(32)))
    for place in (1, 128, 255):
        spoilt = bytearray(ciphertext)
        spoilt[place] ^= 1 << secrets.randbelow(8)
        assert client.import_code(key_id, parameters, base64.b64encode(spoilt).decode()) == UNDECRYPTABLE
    client.import_(key_id, parameters, base64.b64encode(ciphertext).decode())


def test_the_modulus_itself_and_what_lies_above(client: TencentClient) -> None:
    # c + n decrypts to the same as c wherever a token reduces its input: it must be refused, and not be a second form.
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    public_key = load_der_public_key(base64.b64decode(parameters.public_key))
    assert isinstance(public_key, RSAPublicKey)
    modulus = public_key.public_numbers().n
    number = 0
    while number + modulus >= 256**MODULUS_BYTES or not number:
        number = int.from_bytes(wrap(parameters.public_key, secrets.token_bytes(32), client.algorithm), "big")
    for above in (modulus, modulus - 1, number + modulus):
        encrypted = base64.b64encode(above.to_bytes(MODULUS_BYTES, "big")).decode()
        assert client.import_code(key_id, parameters, encrypted) == UNDECRYPTABLE
    assert client.state(key_id) == "PendingImport"


def test_another_pairs_public_key(client: TencentClient, stranger: TencentClient) -> None:
    theirs = stranger.parameters(stranger.external_key())
    ours = client.parameters(client.external_key())
    assert theirs.public_key != ours.public_key
    undecryptable(client, wrap(theirs.public_key, secrets.token_bytes(32), client.algorithm))


@pytest.mark.parametrize("algorithm", [*sorted(set(ALGORITHM_OF.values())), "RSAES_PKCS1_V1_5"])
def test_another_algorithm_than_asked_for(client: TencentClient, algorithm: str) -> None:
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, secrets.token_bytes(32), algorithm)
    if algorithm == client.algorithm:
        client.import_(key_id, parameters, encrypted)
        return
    assert client.import_code(key_id, parameters, encrypted) == UNDECRYPTABLE
    assert client.state(key_id) == "PendingImport"
