"""One process that does one operation with the token, over and over, and nothing else.

`python -m scripts.benchmark.bare_token --parent P`, its order on standard input as one line of JSON. It writes READY,
waits for another line, works, and writes what it did as JSON. The module is loaded, initialised and logged in to as
the service's hosts do it, and the objects are made of the same templates.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import count, cycle
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pkcs11
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pkcs11 import MGF, KeyType, Mechanism, ObjectClass

from hsmkms.core.wrapping import WRAPPING_KEY_BITS
from hsmkms.hsm.host import logging_in, module, outside, templates
from hsmkms.hsm.host.pairs import subject_public_key_info
from hsmkms.hsm.host.session import TokenSession
from hsmkms.hsm.process import die_with
from hsmkms.hsm.settings import HostSettings
from scripts.benchmark.measurements import TOKEN_GCM, TOKEN_KEYGEN, TOKEN_UNWRAP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY: Final = "ready"
MATERIAL_BYTES: Final = 32
_CIPHERTEXTS: Final = 64
_IV_BYTES: Final = 12
_TAG_BITS: Final = 128


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to measure."""

    host: HostSettings
    operation: str
    """`TOKEN_UNWRAP`, `TOKEN_GCM` or `TOKEN_KEYGEN`."""
    warm_up_seconds: float
    seconds: float


class Done(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured."""

    count: int
    seconds: float


def main() -> None:
    """Take the order and carry it out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    die_with(parser.parse_args().parent)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    bare = _Bare(_log_in(order.host))
    operation = {TOKEN_UNWRAP: bare.unwrap, TOKEN_GCM: bare.encrypt, TOKEN_KEYGEN: bare.generate}[order.operation]()
    _say(READY.encode())
    sys.stdin.buffer.readline()
    _repeat(operation, order.warm_up_seconds)
    _say(msgspec.json.encode(_repeat(operation, order.seconds)))


def _log_in(settings: HostSettings) -> Any:  # noqa: ANN401 - python-pkcs11's sessions are Cython classes
    with logging_in.one_at_a_time(settings):
        library = module.Library.load(settings.module, settings.initialize_args)
        (session,) = module.open_sessions(module.find_token(library, settings.token_label), settings)
    return session


def _repeat(operation: Callable[[], None], seconds: float) -> Done:
    begin = time.perf_counter()
    until, done = begin + seconds, 0
    while time.perf_counter() < until:
        operation()
        done += 1
    return Done(count=done, seconds=time.perf_counter() - begin)


class _Bare:
    """A wrapping pair in the token, and material that was wrapped under it outside."""

    def __init__(self, session: pkcs11.Session) -> None:
        self._session = ours = TokenSession(session)
        public, fresh = ours.generate_pair(WRAPPING_KEY_BITS)
        self._private: Any = cast("Any", fresh).copy(templates.narrowing())  # python-pkcs11's own, which unwraps
        self._material = outside.throw_away(MATERIAL_BYTES)
        key = serialization.load_der_public_key(subject_public_key_info(ours, public))
        sha1 = hashes.SHA1()  # noqa: S303 - OAEP does not rest on SHA-1's collision resistance (NIST SP 800-131A r2)
        oaep = padding.OAEP(padding.MGF1(sha1), sha1, label=None)
        self._wrapped = [cast("rsa.RSAPublicKey", key).encrypt(self._material, oaep) for _ in range(_CIPHERTEXTS)]

    def _unwrapped(self, ciphertext: bytes, template: templates.Template) -> Any:  # noqa: ANN401 - as the session
        return self._private.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            ciphertext,
            capabilities=0,
            mechanism=Mechanism.RSA_PKCS_OAEP,
            mechanism_param=(Mechanism.SHA_1, MGF.SHA1, None),
            template=template,
        )

    def unwrap(self) -> Callable[[], None]:
        """Return C_UnwrapKey, RSA-2048 OAEP with SHA-1, to a session object, and C_DestroyObject."""
        self.encrypt()  # proves that what comes out is what went in
        template, ciphertexts = templates.material(extractable=True), cycle(self._wrapped)

        def operation() -> None:
            self._unwrapped(next(ciphertexts), template).destroy()

        return operation

    def encrypt(self) -> Callable[[], None]:
        """Return C_Encrypt, AES-256-GCM of 32 bytes, with an IV that counts up."""
        key = self._unwrapped(self._wrapped[0], templates.ciphering_material())
        data = outside.throw_away(MATERIAL_BYTES)
        ivs: Iterator[int] = count()

        def encrypted(iv: bytes) -> bytes:
            parameter = pkcs11.GCMParams(iv, b"", _TAG_BITS)
            return cast("bytes", key.encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=parameter))

        def operation() -> None:
            encrypted(next(ivs).to_bytes(_IV_BYTES, "big"))

        first = next(ivs).to_bytes(_IV_BYTES, "big")
        if encrypted(first) != AESGCM(self._material).encrypt(first, data, None):
            raise SystemExit("what the token encrypts is not what AES-256-GCM makes of it")
        return operation

    def generate(self) -> Callable[[], None]:
        """Return C_GenerateKeyPair, RSA-2048, to session objects, and C_DestroyObject of both."""

        def operation() -> None:
            for half in self._session.generate_pair(WRAPPING_KEY_BITS):
                half.destroy()

        return operation


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
