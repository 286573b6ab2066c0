"""The start-up probe of ciphers: what the token makes of known material, beside what is computed outside.

Laws:

- a cipher is offered if the token encrypts as the standard says, decrypts what was encrypted outside, and refuses
  whatever was changed;
- it is the edition's cipher or none: AES is no stand-in for SM4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import pkcs11

from hsmkms.core.ciphertexts import IV_BYTES, LEAST_PADDED_BYTES, MOST_PLAINTEXT_BYTES, OF_EDITION, CipherAlgorithm
from hsmkms.hsm.host import behaviour, faults, outside
from hsmkms.hsm.host.ciphering import MECHANISMS, unsealed
from hsmkms.hsm.host.faults import ErrorClass, TokenSick
from hsmkms.hsm.report import CheckFinding, CipherFinding

if TYPE_CHECKING:
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import HeldMaterial
    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench

Ciphers: TypeAlias = tuple[tuple[CipherFinding, ...], tuple[CheckFinding, ...]]
"""What is found of each cipher, and of the object that encrypts."""

_SIZES: Final = (1, LEAST_PADDED_BYTES, MOST_PLAINTEXT_BYTES + 2)
"""In bytes; the last two are the shortest and the longest that is ever encrypted."""
_AUTHENTICATED_BYTES: Final = 300


def untried(edition: Edition, why_not: str) -> Ciphers:
    """Return the findings of a token on which the edition's cipher could not be tried."""
    return _findings(edition, why_not), ()


def tried(bench: Workbench, material: HeldMaterial, known: bytes) -> Ciphers:
    """Try the edition's cipher with material whose value is `known`.

    Raises:
        TokenSick: the token failed meanwhile.
    """
    algorithm = OF_EDITION[bench.edition]
    if algorithm not in MECHANISMS:
        return untried(bench.edition, f"this token has no {algorithm} that we know of, and AES is no stand-in")
    try:
        key = unsealed(bench, material)
    except pkcs11.PKCS11Error as error:
        return untried(bench.edition, f"material is not unsealed for encryption ({_word(error)})")
    with bench.session.temporary(key):
        checks = behaviour.of_ciphering(bench, key)
        return _findings(bench.edition, _shortcoming(bench, key, known)), checks


def _findings(edition: Edition, why_not: str) -> tuple[CipherFinding, ...]:
    algorithm = OF_EDITION[edition]
    other = f"keys of the edition {edition} encrypt with {algorithm}"
    return tuple(
        CipherFinding(algorithm=each, works=False, why_not=other)
        if each is not algorithm
        else CipherFinding(algorithm=each, works=not why_not, why_not=why_not)
        for each in CipherAlgorithm
    )


def _word(error: pkcs11.PKCS11Error) -> str:
    word = faults.word(error)
    if faults.classify(error) is ErrorClass.TOKEN:
        raise TokenSick(word) from error
    return word


def _shortcoming(bench: Workbench, key: TokenObject, known: bytes) -> str:
    """Return what is wrong with AES-GCM under `key`, of the value `known`; an empty string if nothing is."""
    session = bench.session
    iv, authenticated = session.random(IV_BYTES), outside.throw_away(_AUTHENTICATED_BYTES)
    expected = b""
    for size in _SIZES:
        data = outside.throw_away(size)
        expected = outside.seal_gcm(known, data, iv, authenticated)
        try:
            sealed = session.seal_gcm_as_announced(key, data, iv, authenticated)
        except pkcs11.PKCS11Error as error:
            return f"encryption is refused ({_word(error)})"
        if sealed != expected:
            return "what it encrypts to is not what NIST SP 800-38D says"
        try:
            opened = session.open_gcm(key, expected, iv, authenticated)
        except pkcs11.PKCS11Error as error:
            return f"decryption of what was encrypted outside is refused ({_word(error)})"
        if opened != data:
            return "what it decrypts to is not what was encrypted outside"
    return _acceptance(bench, key, expected, iv, authenticated)


def _acceptance(bench: Workbench, key: TokenObject, sealed: bytes, iv: bytes, authenticated: bytes) -> str:
    """Return which change to a ciphertext `key` does not mind; an empty string if there is none."""
    changes = {
        "a damaged tag": (outside.damage(sealed), iv, authenticated),
        "a damaged ciphertext": (outside.damage(sealed[:1]) + sealed[1:], iv, authenticated),
        "a ciphertext cut short": (sealed[:-1], iv, authenticated),
        "another IV": (sealed, outside.damage(iv), authenticated),
        "other authenticated data": (sealed, iv, outside.damage(authenticated)),
        "no authenticated data": (sealed, iv, b""),
    }
    for change, arguments in changes.items():
        try:
            bench.session.open_gcm(key, *arguments)
        except pkcs11.PKCS11Error as error:
            _word(error)  # it must not be of the token itself
        else:
            return f"it accepts {change}"
    return ""
