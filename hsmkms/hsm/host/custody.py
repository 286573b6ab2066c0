"""The long-lived objects of a deployment: made once, found and proved at every start.

Laws:

- nothing is created but by `create`, which only `hsmkms init` reaches, in a host of its own;
- an object that is absent, doubled, of other attributes than it was made with, or that does not give its known answer,
  stops whoever needs it, with a sentence;
- whoever asks names the deployment, not which key does what: an object's CKA_LABEL says its role, and must agree;
- only objects with the deployment's own labels or planned ids are ever removed, and husks: files that SoftHSM left
  when it was killed in the middle of making an object.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11 import Attribute, Mechanism

from hsmkms.core.custody import CustodyRole
from hsmkms.core.errors import TokenUnusable
from hsmkms.core.wrapping import WRAPPING_KEY_BITS
from hsmkms.hsm.host import evidence, faults, profiles, templates
from hsmkms.hsm.host.faults import ErrorClass
from hsmkms.hsm.host.session import AES_BLOCK_BYTES, MAC_KEY_BITS
from hsmkms.hsm.host.workbench import Custody

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hsmkms.core.custody import CustodyObject
    from hsmkms.hsm.host.profiles import Profile
    from hsmkms.hsm.host.session import TokenObject, TokenSession
    from hsmkms.hsm.host.templates import Template

_KEY_BITS: Final = 256
_CHALLENGE_BYTES: Final = 32
_PROOF_DOMAIN: Final = b"hsmkms proof v1"


# --- known answers -------------------------------------------------------------------------------------


def _challenge(session: TokenSession, role: CustodyRole, key: TokenObject) -> bytes:
    """Return what only the token with this very key can answer as it will."""
    match role:
        case CustodyRole.RECORD | CustodyRole.CREDENTIAL:
            iv = session.random(AES_BLOCK_BYTES)
            return iv + session.encrypt(key, session.random(_CHALLENGE_BYTES), iv)
        case CustodyRole.MAC:
            return session.random(_CHALLENGE_BYTES)
        case CustodyRole.MATERIAL_SEALING:
            template = templates.material(extractable=True)
            with session.temporary(session.generate_secret(_KEY_BITS, template)) as throw_away:
                return session.wrap(key, throw_away, templates.MATERIAL_SEALING_MECHANISM)
        case CustodyRole.PAIR_SEALING:
            public, private = session.generate_pair(WRAPPING_KEY_BITS)
            with session.temporary(public), session.temporary(private):
                return session.wrap(key, private, templates.PAIR_SEALING_MECHANISM)


def _answer(session: TokenSession, role: CustodyRole, key: TokenObject, challenge: bytes) -> bytes:
    """Return the answer of the object of `role` to `challenge`."""
    match role:
        case CustodyRole.RECORD | CustodyRole.CREDENTIAL:
            return session.decrypt(key, challenge[AES_BLOCK_BYTES:], challenge[:AES_BLOCK_BYTES])
        case CustodyRole.MAC:
            return session.mac(key, _PROOF_DOMAIN + challenge, Mechanism.SHA256_HMAC)
        case CustodyRole.MATERIAL_SEALING:
            unsealed = session.unwrap(key, challenge, templates.material(), templates.MATERIAL_SEALING_MECHANISM)
            with session.temporary(unsealed):
                return session.mac(unsealed, _PROOF_DOMAIN, Mechanism.AES_CMAC)
        case CustodyRole.PAIR_SEALING:
            unsealed = session.unwrap(key, challenge, templates.pair_private(), templates.PAIR_SEALING_MECHANISM)
            with session.temporary(unsealed):
                return hashlib.sha256(session.read(unsealed, Attribute.MODULUS)).digest()


# --- at every start ------------------------------------------------------------------------------------


def find(session: TokenSession, item: CustodyObject, label: str) -> list[TokenObject]:
    """Return every token object with the item's id or label, each once."""
    found = session.find(templates.find_by_id(item.object_id)) + session.find(templates.find_by_label(label))
    return list({each.handle: each for each in found}.values())


def _require_one(found: list[TokenObject], item: CustodyObject, label: str) -> TokenObject:
    if not found:
        raise TokenUnusable(
            f"The token has no object '{label}': it is not the token this database was initialised with, or it was "
            "emptied. Restore the token, or point hsm.token_label and [hsm.env] at the right one."
        )
    if len(found) > 1:
        raise TokenUnusable(
            f"The token has {len(found)} objects with the label '{label}' or the id {item.object_id.hex()}: "
            "restore the token from its backup, or remove the one that does not belong there."
        )
    return found[0]


def _template(item: CustodyObject, label: str, profile: Profile) -> Template:
    return templates.custody(item.role, item.object_id, label, allowed_mechanisms=profile.stores_allowed_mechanisms)


def _require_as_made(
    session: TokenSession, key: TokenObject, item: CustodyObject, label: str, profile: Profile
) -> None:
    asked = _template(item, label, profile)
    unexcused = [
        finding
        for finding in evidence.findings(session, key, asked, generated=True)
        if not profile.excuse(f"{profiles.CUSTODY}: {finding}")
    ]
    if unexcused:
        raise TokenUnusable(
            f"The token's object '{label}' is not as it was made ({', '.join(unexcused)}): "
            "restore the token from its backup."
        )


def _require_answer(session: TokenSession, key: TokenObject, item: CustodyObject, label: str) -> None:
    try:
        answer = _answer(session, item.role, key, item.challenge)
    except pkcs11.PKCS11Error as error:
        if faults.classify(error) is ErrorClass.TOKEN:
            raise
        raise TokenUnusable(
            f"The token's object '{label}' does not give its known answer ({faults.word(error)}): it is not the key "
            "this database was initialised with. Restore token and database from the same backup."
        ) from error
    if not item.proved or not hmac.compare_digest(answer, item.answer):
        raise TokenUnusable(
            f"The token's object '{label}' does not give its known answer: it is not the key this database was "
            "initialised with. Restore token and database from the same backup."
        )


def _require_each_role_once(objects: Sequence[CustodyObject]) -> None:
    named = Counter(item.role for item in objects)
    missing = sorted(role for role in CustodyRole if not named[role])
    if missing:
        raise TokenUnusable(
            f"The database names no long-lived object for {', '.join(missing)}: it is damaged; restore it."
        )
    for role, count in named.items():
        if count > 1:
            raise TokenUnusable(f"The database names {count} long-lived objects for {role}: it is damaged; restore it.")
    if len({item.object_id for item in objects}) < len(objects):
        raise TokenUnusable("The database has the same id for two long-lived objects: it is damaged; restore it.")


def open_custody(
    session: TokenSession, deployment_id: str, objects: Iterable[CustodyObject], profile: Profile
) -> Custody:
    """Find every object, compare its names and attributes and have it give its known answer.

    Raises:
        TokenUnusable: one of them is not there, or is not what it was.
    """
    objects = tuple(objects)
    _require_each_role_once(objects)
    opened: dict[CustodyRole, TokenObject] = {}
    for item in objects:
        label = item.label(deployment_id)
        key = _require_one(find(session, item, label), item, label)
        _require_as_made(session, key, item, label, profile)
        _require_answer(session, key, item, label)
        opened[item.role] = key
    return Custody(opened)


# --- init ----------------------------------------------------------------------------------------------


def _husks(session: TokenSession) -> dict[int, TokenObject]:
    """Return the objects that say they belong to a session, by handle.

    Called before this process has made any, and SoftHSM keeps those of other processes to them: whatever is found is a
    file in the token's directory, whose making was interrupted or is under way elsewhere.
    """
    return {each.handle: each for each in session.find(templates.find_session_objects())}


def create(
    session: TokenSession, deployment_id: str, planned: Iterable[CustodyObject], profile: Profile
) -> tuple[CustodyObject, ...]:
    """Make the planned objects in place of whatever an interrupted `init` left of them.

    Returns:
        The objects, each with a challenge and its answer.

    Raises:
        TokenUnusable: the token does not make them as asked.
    """
    husks = _husks(session) if profile.writes_softhsm_directory else {}
    made = []
    for item in planned:
        label = item.label(deployment_id)
        for half_made in find(session, item, label):
            half_made.destroy()
        bits = MAC_KEY_BITS if item.role is CustodyRole.MAC else _KEY_BITS
        try:
            key = session.generate_secret(bits, _template(item, label, profile))
            challenge = _challenge(session, item.role, key)
            answer = _answer(session, item.role, key, challenge)
        except pkcs11.PKCS11Error as error:
            raise TokenUnusable(
                f"The token does not make the object '{label}' ({faults.word(error)}): "
                "it lacks what this service needs; use another one."
            ) from error
        _require_as_made(session, key, item, label, profile)
        made.append(replace(item, challenge=challenge, answer=answer))
    # Meanwhile an RSA pair was generated: what another process was making when we began is made by now.
    for handle in husks.keys() & _husks(session).keys():
        husks[handle].destroy()
    return tuple(made)
