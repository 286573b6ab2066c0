"""The key to import into: what the service says of it, and how it is found or made by its alias.

Law: no key is made for material that it could not take, if the service shows its edition without that key; if it does
not, the refusal names the key that was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.client.api import Refusal, member
from hsmkms.client.material import require_length
from hsmkms.client.telling import repeated
from hsmkms.core.errors import HsmkmsError, InputUnusable, ServiceRefused, ServiceUnreachable
from hsmkms.core.ids import KeyId, key_id
from hsmkms.core.keys import Origin
from hsmkms.dialects.tencent.fields import CIPHERS, ORIGINS, STANDARDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hsmkms.client.api import Api
    from hsmkms.client.material import KeyMaterial
    from hsmkms.core.material import Edition
    from hsmkms.dialects.strict_json import JsonObject, JsonValue

_EXTERNAL_TYPE: Final = 2
_PAGE: Final = 200
_OF_STANDARDS: Final[Mapping[JsonValue, Edition]] = {standard: edition for edition, standard in STANDARDS.items()}
_OF_CIPHERS: Final[Mapping[JsonValue, Edition]] = {cipher: edition for edition, cipher in CIPHERS.items()}
_ALIAS_TAKEN: Final = "InvalidParameterValue.AliasAlreadyExists"


@dataclass(frozen=True, slots=True)
class Key:
    """What the service says of a key."""

    key_id: KeyId
    state: str
    valid_to: int
    edition: Edition


def described(service: Api, wanted: KeyId) -> Key:
    """Return an EXTERNAL key as it is now.

    Raises:
        ServiceRefused: there is none of this id, or it is not EXTERNAL.
        ServiceUnreachable: no answer came, or none of this API.
    """
    shown: JsonObject = member(service.call("DescribeKey", KeyId=wanted), "KeyMetadata", dict)
    if member(shown, "Origin", str) != ORIGINS[Origin.EXTERNAL]:
        raise ServiceRefused(
            f"The key {wanted} is not EXTERNAL: its material was generated in the token, and it takes no other. "
            "Nothing of the material was sent."
        )
    edition = _OF_STANDARDS.get(member(shown, "Type", int))
    if edition is None:
        raise ServiceUnreachable("The service does not say which length it imports: Type of the key is unknown.")
    return Key(wanted, repeated(member(shown, "KeyState", str)), member(shown, "ValidTo", int), edition)


def external_key(service: Api, alias: str, material: KeyMaterial) -> KeyId:
    """Return the account's EXTERNAL key with this alias, made if there is none, for material of the right length.

    Raises:
        InputUnusable: the material is not of the length that this service imports; no key was made, or the message
            names it.
        ServiceRefused: the service will not make it.
        ServiceUnreachable: no answer came, or none of this API.
    """
    edition = _edition(service)
    if edition is not None:
        require_length(material, edition.material_bits)
        return _found_or_made(service, alias)
    made = _found_or_made(service, alias)  # found: the answer that made it was lost, for there was no key before
    try:
        require_length(material, described(service, made).edition.material_bits)
    except InputUnusable as error:
        raise InputUnusable(
            f"{error.message} The service shows by a key alone which length it imports: the key {made} ({alias}) was "
            "made, and is without material."
        ) from error
    return made


def _edition(service: Api) -> Edition | None:
    """Return the edition as the service shows it by the token's ciphers, or by a key, or None if it shows neither."""
    ciphers = (each.get("Algorithm") for each in _listed(service.ask("ListAlgorithms"), "SymmetricAlgorithms"))
    by_cipher = _only(_OF_CIPHERS, ciphers)
    if by_cipher is not None:
        return by_cipher
    keys = _listed(service.ask("ListKeyDetail", Offset=0, Limit=1), "KeyMetadatas")
    return _only(_OF_STANDARDS, (each.get("Type") for each in keys))


def _only(editions: Mapping[JsonValue, Edition], names: Iterable[JsonValue]) -> Edition | None:
    found = {editions[each] for each in names if isinstance(each, str | int) and each in editions}
    return found.pop() if len(found) == 1 else None


def _found_or_made(service: Api, alias: str) -> KeyId:
    answer = service.ask("CreateKey", Alias=alias, Type=_EXTERNAL_TYPE)
    if not isinstance(answer, Refusal):
        made = _key_id(answer)
        service.tell.step("key made", f"{made} ({alias})")
        return made
    if answer.code != _ALIAS_TAKEN:
        raise answer.fault()
    # Made before, perhaps by a request of this very run whose answer was lost.
    offset = 0
    while found := _page(service, alias, offset):
        for each in found:
            if each.get("Alias") == alias:
                service.tell.step("key found", f"{_key_id(each)} ({alias})")
                return _key_id(each)
        offset += len(found)
    raise answer.fault()


def _page(service: Api, alias: str, offset: int) -> list[JsonObject]:
    answer = service.call(
        "ListKeyDetail", SearchKeyAlias=alias, Origin=ORIGINS[Origin.EXTERNAL], Offset=offset, Limit=_PAGE
    )
    return _listed(answer, "KeyMetadatas")


def _listed(answer: JsonObject | Refusal, name: str) -> list[JsonObject]:
    """Return the objects of a list in an answer: none if the answer is a refusal, or the list is not there."""
    listed = None if isinstance(answer, Refusal) else answer.get(name)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _key_id(answer: JsonObject) -> KeyId:
    try:
        return key_id(member(answer, "KeyId", str))
    except HsmkmsError as error:
        raise ServiceUnreachable("The answer is not one of this API: KeyId is no key id.") from error
