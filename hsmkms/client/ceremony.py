"""The import as one run: look at the key, check the material, get parameters, wrap, import, look again.

Run again with the same material it changes nothing but the expiry, if another one is asked for: a key takes the
material that it holds as often as it is brought, and never another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.client import wrapping
from hsmkms.client.api import Refusal, member
from hsmkms.client.keys import Key, described
from hsmkms.client.material import require_length
from hsmkms.client.telling import moment
from hsmkms.core.errors import InputUnusable, ServiceRefused, ServiceUnreachable
from hsmkms.core.keys import KeyState
from hsmkms.core.secrets import ImportToken
from hsmkms.core.wrapping import WRAPPING_KEY_SPEC, WrappingAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from hsmkms.client.api import Api
    from hsmkms.client.material import KeyMaterial
    from hsmkms.core.ids import KeyId
    from hsmkms.dialects.strict_json import JsonObject

NEVER: Final = 0
"""As ValidTo says it."""
TRIED: Final = (WrappingAlgorithm.RSAES_OAEP_SHA_256, WrappingAlgorithm.RSAES_OAEP_SHA_1)
"""What is asked for in turn when the user names no algorithm: never PKCS#1 v1.5."""

_NOT_OFFERED: Final = "InvalidParameter"
_OF_IMPORTS: Final[Mapping[str, str]] = {
    "InvalidParameterValue.MaterialNotMatch": (
        "The key was first imported with other material than this, and only ever takes the same again. Bring that, or "
        "create another key for this one."
    ),
    "ResourceUnavailable.TokenExpired": (
        "The import parameters were no longer good when the material came: run the same command again."
    ),
}
"""Refusals of an import that we can say better than the service, which does not know what the user sees."""
_CURES: Final[Mapping[str, str]] = {
    KeyState.DISABLED: "enable it first",
    KeyState.PENDING_DELETE: "cancel its deletion and enable it first",
    KeyState.ARCHIVED: "take it out of the archive first",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asks for."""

    key_id: KeyId
    algorithm: WrappingAlgorithm | None = None
    """None: the first of `TRIED` that the service offers."""
    valid_to: int | None = None
    """Unix seconds, or `NEVER`; None: as the key has it, which is never for one without material."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the service gives to import with."""

    algorithm: WrappingAlgorithm
    public_key: RSAPublicKey
    import_token: ImportToken
    valid_to: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it."""

    key: Key
    algorithm: WrappingAlgorithm
    already_held: bool
    """Whether the key held this material before."""


def import_material(service: Api, order: Order, material: KeyMaterial) -> Imported:
    """Import material into a key; the material is overwritten as soon as it is wrapped.

    Raises:
        InputUnusable: the material is not of the length that this service imports; nothing of it was sent.
        ServiceRefused: the service will not, or the key cannot take material now.
        ServiceUnreachable: no answer came, or none of this API.
    """
    before = _key_to_import_into(service, order.key_id)
    bits = before.edition.material_bits
    require_length(material, bits)
    service.tell.step("key", f"{before.key_id}: {before.state}; takes exactly {bits} bits")
    parameters = _parameters(service, order)
    service.tell.step("parameters", f"{parameters.algorithm}, good until {moment(parameters.valid_to)}")
    with material:
        encrypted = wrapping.wrap(parameters.public_key, material, parameters.algorithm)
    service.tell.step("wrapped", f"{bits} bits of material into {len(encrypted)} characters of ciphertext, here")
    valid_to = before.valid_to if order.valid_to is None else order.valid_to
    _import(service, before.key_id, parameters.import_token, encrypted, valid_to)
    after = described(service, before.key_id)
    if after.state != KeyState.ENABLED:
        raise ServiceRefused(f"The material was imported, but the key is {after.state} now: somebody changed it since.")
    held = before.state == KeyState.ENABLED
    service.tell.step("imported", "the key already held this material" if held else "the key holds the material now")
    if held and after.valid_to != before.valid_to:
        service.tell.step("expiry", f"{moment(before.valid_to)} before, {moment(after.valid_to)} now")
    return Imported(after, parameters.algorithm, held)


def _key_to_import_into(service: Api, wanted: KeyId) -> Key:
    key = described(service, wanted)
    if key.state not in {KeyState.ENABLED, KeyState.PENDING_IMPORT}:
        cure = _CURES.get(key.state, "that is no state to import in")
        raise ServiceRefused(f"The key {key.key_id} is {key.state}: {cure}. Nothing of the material was sent.")
    return key


def _parameters(service: Api, order: Order) -> Parameters:
    """Get import parameters, by the first algorithm that is offered."""
    *others, last = TRIED if order.algorithm is None else (order.algorithm,)
    for algorithm in others:
        answer = _ask_for_parameters(service, order.key_id, algorithm)
        if not isinstance(answer, Refusal):
            return _read_parameters(answer, algorithm)
        if answer.code != _NOT_OFFERED:  # the key was just described: this can be about the algorithm only
            raise answer.fault()
        service.tell.step("not offered", algorithm)
    answer = _ask_for_parameters(service, order.key_id, last)
    if isinstance(answer, Refusal):
        raise answer.fault()
    return _read_parameters(answer, last)


def _ask_for_parameters(service: Api, wanted: KeyId, algorithm: WrappingAlgorithm) -> JsonObject | Refusal:
    return service.ask(
        "GetParametersForImport", KeyId=wanted, WrappingAlgorithm=algorithm, WrappingKeySpec=WRAPPING_KEY_SPEC
    )


def _read_parameters(answer: JsonObject, algorithm: WrappingAlgorithm) -> Parameters:
    try:
        public_key = wrapping.public_key(member(answer, "PublicKey", str).encode())
    except InputUnusable as error:
        raise ServiceUnreachable(f"The service's answer cannot be used. {error.message}") from error
    import_token = ImportToken(member(answer, "ImportToken", str).encode())
    return Parameters(algorithm, public_key, import_token, member(answer, "ParametersValidTo", int))


def _import(service: Api, wanted: KeyId, import_token: ImportToken, encrypted: str, valid_to: int) -> None:
    answer = service.ask(
        "ImportKeyMaterial",
        KeyId=wanted,
        ImportToken=import_token.reveal().decode(),
        EncryptedKeyMaterial=encrypted,
        ValidTo=valid_to,
    )
    if isinstance(answer, Refusal):
        raise answer.fault(_OF_IMPORTS.get(answer.code))
