from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from hsmkms.client import wrapping
from hsmkms.client.material import KeyMaterial
from hsmkms.core.errors import InputUnusable
from hsmkms.core.wrapping import WrappingAlgorithm

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

PRIVATE: Final = rsa.generate_private_key(65537, 2048)
MATERIAL: Final = bytes(range(100, 132))


def spelled(key: PublicKeyTypes, encoding: serialization.Encoding) -> bytes:
    return key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


DER: Final = spelled(PRIVATE.public_key(), serialization.Encoding.DER)
PEM: Final = spelled(PRIVATE.public_key(), serialization.Encoding.PEM)
BASE64: Final = base64.b64encode(DER)


@pytest.mark.parametrize("text", [DER, PEM, b"\n" + PEM, BASE64, BASE64 + b"\r\n", base64.encodebytes(DER)])
def test_a_public_key_is_known_in_every_form(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "public"
    path.write_bytes(text)
    assert wrapping.read_public_key(path).public_numbers() == PRIVATE.public_key().public_numbers()


SMALL: Final = spelled(rsa.generate_private_key(65537, 3072).public_key(), serialization.Encoding.DER)
ELLIPTIC: Final = spelled(ec.generate_private_key(ec.SECP256R1()).public_key(), serialization.Encoding.PEM)
SECRET: Final = PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not one"),
        (b"nonsense", "not one"),
        (DER[:-1], "not one"),
        (BASE64[:-4], "not one"),
        (SECRET, "not one"),
        (SMALL, "must be RSA of 2048 bits; it has 3072"),
        (base64.b64encode(SMALL), "must be RSA of 2048 bits; it has 3072"),
        (ELLIPTIC, "must be RSA of 2048 bits; it is not RSA"),
    ],
)
def test_another_key_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(InputUnusable, match=says):
        wrapping.public_key(text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="cannot be read"):
        wrapping.read_public_key(tmp_path / "none")


PADDINGS: Final[dict[WrappingAlgorithm, AsymmetricPadding]] = {
    WrappingAlgorithm.RSAES_OAEP_SHA_256: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    WrappingAlgorithm.RSAES_OAEP_SHA_1: padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),  # noqa: S303
    WrappingAlgorithm.RSAES_PKCS1_V1_5: padding.PKCS1v15(),
}


@pytest.mark.parametrize("algorithm", WrappingAlgorithm)
@pytest.mark.parametrize("size", [16, 32])
def test_the_holder_of_the_private_key_gets_the_material(algorithm: WrappingAlgorithm, size: int) -> None:
    wrapped = wrapping.wrap(PRIVATE.public_key(), KeyMaterial(bytearray(MATERIAL[:size])), algorithm)
    assert len(wrapped) == 344
    ciphertext = base64.b64decode(wrapped, validate=True)
    assert PRIVATE.decrypt(ciphertext, PADDINGS[algorithm]) == MATERIAL[:size]
