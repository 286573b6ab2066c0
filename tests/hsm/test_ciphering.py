"""Who is at fault when a token refuses: the judgement alone, on answers that a well token does not give."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pkcs11 import exceptions as ckr

from hsmkms.core import ciphertexts
from hsmkms.core.errors import CiphertextInvalid
from hsmkms.core.material import Edition
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm.host import ciphering, ciphers
from hsmkms.hsm.host.faults import TokenSick
from hsmkms.hsm.host.kept import Kept
from tests.contract.hsm_contract import owner_of
from tests.hsm.test_kept import Handle

if TYPE_CHECKING:
    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench


class PlayedSession:
    """A session whose answers the test chooses; by itself it encrypts and decrypts."""

    def __init__(self, key: bytes | None = None) -> None:
        self.refusal: ckr.PKCS11Error = ckr.GeneralError()
        self.encrypts = self.decrypts = True
        self.asked = 0
        self.given: list[bytes] = []
        self.last_byte = b""
        """In place of a plaintext's own, if any."""
        self._key = AESGCM(key or os.urandom(32))

    def random(self, size: int) -> bytes:
        self.given.append(os.urandom(size))
        return self.given[-1]

    def seal_gcm(self, _key: object, data: bytes, iv: bytes, authenticated: bytes) -> bytes:
        self.asked += 1
        if not self.encrypts:
            raise self.refusal
        return self._key.encrypt(iv, data, authenticated)

    seal_gcm_as_announced = seal_gcm

    def open_gcm(self, _key: object, sealed: bytes, iv: bytes, authenticated: bytes) -> bytes:
        self.asked += 1
        if not self.decrypts:
            raise self.refusal
        try:
            opened = self._key.decrypt(iv, sealed, authenticated)
        except InvalidTag:
            raise self.refusal from None
        return opened[:-1] + self.last_byte if self.last_byte else opened


class Bench:
    """As much of a workbench as ciphering needs once the material is at hand."""

    def __init__(self) -> None:
        self.session = PlayedSession()
        self.handle = Handle()
        self.materials: Kept[Handle] = Kept(2, 60)
        self.material = HeldMaterial(owner_of(Edition.FIPS), b"record")
        self.materials.keep(self.material.owner, self.material.record, self.handle)

    @property
    def workbench(self) -> Workbench:
        return cast("Workbench", self)

    def encrypt(self) -> bytes:
        return ciphering.encrypt(self.workbench, self.material, Plaintext(b"p"), b"")

    def decrypt(self, ciphertext: bytes) -> Plaintext:
        return ciphering.decrypt(self.workbench, self.material, ciphertext, b"")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def damaged(ciphertext: bytes) -> bytes:
    return ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,))


@pytest.mark.parametrize("refusal", [ckr.GeneralError(), ckr.EncryptedDataInvalid(), ckr.FunctionFailed()])
def test_a_refusal_is_the_ciphertext_s_fault_if_the_token_is_seen_to_be_well(
    bench: Bench, refusal: ckr.PKCS11Error
) -> None:
    ciphertext = bench.encrypt()
    bench.session.refusal = refusal
    bench.session.asked = 0
    with pytest.raises(CiphertextInvalid):
        bench.decrypt(damaged(ciphertext))
    assert bench.session.asked == 6  # the ciphertext, and a known value there and back: both twice
    assert bench.decrypt(ciphertext) == Plaintext(b"p")


@pytest.mark.parametrize("refusal", [ckr.GeneralError(), ckr.EncryptedDataInvalid(), ckr.FunctionFailed()])
@pytest.mark.parametrize("encrypts", [True, False])
def test_a_token_that_refuses_a_known_value_too_is_sick(
    bench: Bench, refusal: ckr.PKCS11Error, *, encrypts: bool
) -> None:
    ciphertext = bench.encrypt()
    bench.session.refusal = refusal
    bench.session.encrypts, bench.session.decrypts = encrypts, False
    for each in (ciphertext, damaged(ciphertext)):
        with pytest.raises(TokenSick):
            bench.decrypt(each)


def test_an_error_of_the_token_needs_no_second_look(bench: Bench) -> None:
    ciphertext = bench.encrypt()
    bench.session.refusal = ckr.DeviceRemoved()
    bench.session.asked = 0
    with pytest.raises(TokenSick):
        bench.decrypt(damaged(ciphertext))
    assert bench.session.asked == 1


def test_a_token_that_gives_something_else_back_is_sick(bench: Bench) -> None:
    ciphertext = bench.encrypt()
    bench.session.last_byte = b"x"
    with pytest.raises(TokenSick):
        bench.decrypt(damaged(ciphertext))


def test_what_was_not_made_by_us_is_no_plaintext(bench: Bench) -> None:
    owner = bench.material.owner
    head, iv = ciphertexts.head_of(owner), os.urandom(12)
    authenticated = ciphertexts.authenticated(owner, head, b"")
    for content in (bytes(63) + b"x", b"\xff\xff" + bytes(62), bytes(65)):
        sealed = bench.session.seal_gcm(None, content, iv, authenticated)
        with pytest.raises(CiphertextInvalid):
            bench.decrypt(ciphertexts.Ciphertext(head, iv, sealed).packed())


def test_a_ciphertext_of_another_head_never_reaches_the_token(bench: Bench) -> None:
    ciphertext = bench.encrypt()
    bench.session.asked = 0
    for at in (0, 4, 5, 6, 21, 22, 25):
        with pytest.raises(CiphertextInvalid):
            bench.decrypt(ciphertext[:at] + bytes((ciphertext[at] ^ 3,)) + ciphertext[at + 1 :])
    assert bench.session.asked == 0


def test_an_object_that_does_not_encrypt_is_not_kept(bench: Bench) -> None:
    bench.session.encrypts = False
    with pytest.raises(TokenSick):
        bench.encrypt()
    assert bench.handle.destroyed
    assert len(bench.materials) == 0


def test_each_ciphertext_has_an_iv_of_the_session_s_generator(bench: Bench) -> None:
    ivs = [ciphertexts.parse(bench.encrypt()).iv for _ in range(3)]
    assert ivs == bench.session.given
    assert len(set(ivs)) == 3


# --- the probe of a cipher -------------------------------------------------------------------------------


KNOWN = bytes(range(32))


class Lenient(PlayedSession):
    """Decrypts whatever it is given, as a token would that does not look at the tag."""

    def open_gcm(self, _key: object, sealed: bytes, iv: bytes, authenticated: bytes) -> bytes:
        del authenticated
        keystream = self._key.encrypt(iv, bytes(len(sealed) - 16), b"")
        return bytes(left ^ right for left, right in zip(keystream, sealed[:-16], strict=False))


def shortcoming(session: PlayedSession) -> str:
    bench = Bench()
    bench.session = session
    return ciphers._shortcoming(bench.workbench, cast("TokenObject", bench.handle), KNOWN)


def test_the_probe_finds_nothing_wrong_with_a_session_that_does_as_the_standard_says() -> None:
    assert not shortcoming(PlayedSession(KNOWN))


def test_the_probe_finds_what_is_wrong() -> None:
    refusing, one_way = PlayedSession(KNOWN), PlayedSession(KNOWN)
    refusing.encrypts = False
    one_way.decrypts = False
    other = PlayedSession(KNOWN)
    other.last_byte = b"\0"  # which no plaintext of the probe ends in
    assert shortcoming(refusing) == "encryption is refused (GeneralError)"
    assert shortcoming(one_way) == "decryption of what was encrypted outside is refused (GeneralError)"
    assert shortcoming(other) == "what it decrypts to is not what was encrypted outside"
    assert shortcoming(PlayedSession(bytes(32))) == "what it encrypts to is not what NIST SP 800-38D says"
    assert shortcoming(Lenient(KNOWN)) == "it accepts a damaged tag"


def test_a_token_that_fails_while_it_is_probed_is_sick() -> None:
    session = PlayedSession(KNOWN)
    session.refusal = ckr.DeviceRemoved()
    with pytest.raises(TokenSick):
        shortcoming(session)
