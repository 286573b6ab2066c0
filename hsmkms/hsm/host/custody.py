"""The long-lived objects of a deployment: found and proved at every start.

Laws:

- nothing is made here (`making` does that);
- an object that is absent, doubled, of other attributes than it was made with, or that does not give its known answer,
  stops whoever needs it, with a sentence;
- whether a sealing key is transferable is the token's to say, not the database's;
- whoever asks names the deployment, not which key does what: an object's CKA_LABEL says its role and version, and must
  agree.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11 import Attribute, Mechanism

from hsmkms.core.custody import FIRST_VERSION, SEALING_ROLES, CustodyRole
from hsmkms.core.errors import TokenUnusable
from hsmkms.core.wrapping import WRAPPING_KEY_BITS
from hsmkms.hsm.host import evidence, faults, profiles, templates, transferability
from hsmkms.hsm.host.faults import ErrorClass
from hsmkms.hsm.host.session import AES_BLOCK_BYTES
from hsmkms.hsm.host.workbench import Custody

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hsmkms.core.custody import CustodyObject
    from hsmkms.hsm.host.profiles import Profile
    from hsmkms.hsm.host.session import TokenObject, TokenSession

KEY_BITS: Final = 256
_CHALLENGE_BYTES: Final = 32
_PROOF_DOMAIN: Final = b"hsmkms proof v1"


# --- known answers -------------------------------------------------------------------------------------


def challenge(session: TokenSession, role: CustodyRole, key: TokenObject) -> bytes:
    """Return what only the token with this very key can answer as it will."""
    match role:
        case CustodyRole.RECORD | CustodyRole.CREDENTIAL:
            iv = session.random(AES_BLOCK_BYTES)
            return iv + session.encrypt(key, session.random(_CHALLENGE_BYTES), iv)
        case CustodyRole.MAC:
            return session.random(_CHALLENGE_BYTES)
        case CustodyRole.MATERIAL_SEALING:
            template = templates.material(extractable=True)
            with session.temporary(session.generate_secret(KEY_BITS, template)) as throw_away:
                return session.wrap(key, throw_away, templates.MATERIAL_SEALING_MECHANISM)
        case CustodyRole.PAIR_SEALING:
            public, private = session.generate_pair(WRAPPING_KEY_BITS)
            with session.temporary(public), session.temporary(private):
                return session.wrap(key, private, templates.PAIR_SEALING_MECHANISM)


def answer(session: TokenSession, item: CustodyObject, key: TokenObject) -> bytes:
    """Return what `key` answers to the challenge of `item`."""
    match item.role:
        case CustodyRole.RECORD | CustodyRole.CREDENTIAL:
            return session.decrypt(key, item.challenge[AES_BLOCK_BYTES:], item.challenge[:AES_BLOCK_BYTES])
        case CustodyRole.MAC:
            return session.mac(key, _PROOF_DOMAIN + item.challenge, Mechanism.SHA256_HMAC)
        case CustodyRole.MATERIAL_SEALING:
            template = templates.material(transferable=item.transferable)
            unsealed = session.unwrap(key, item.challenge, template, templates.MATERIAL_SEALING_MECHANISM)
            with session.temporary(unsealed):
                return session.mac(unsealed, _PROOF_DOMAIN, Mechanism.AES_CMAC)
        case CustodyRole.PAIR_SEALING:
            unsealed = session.unwrap(key, item.challenge, templates.pair_private(), templates.PAIR_SEALING_MECHANISM)
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


def differences(
    session: TokenSession, key: TokenObject, item: CustodyObject, label: str, profile: Profile
) -> list[str]:
    """Return in which names and attributes `key` is not as such an object is made; the profile's are left out."""
    asked = templates.custody(item, label, allowed_mechanisms=profile.stores_allowed_mechanisms)
    return [
        finding
        for finding in evidence.findings(session, key, asked, generated=True)
        if not profile.excuse(f"{profiles.CUSTODY}: {finding}")
    ]


def require_as_made(session: TokenSession, key: TokenObject, item: CustodyObject, label: str, profile: Profile) -> None:
    """Return if `key` has the names and attributes with which such an object is made.

    Raises:
        TokenUnusable: it has others.
    """
    unexcused = differences(session, key, item, label, profile)
    if unexcused:
        raise TokenUnusable(
            f"The token's object '{label}' is not as it was made ({', '.join(unexcused)}): "
            "restore the token from its backup."
        )


def _require_kind(session: TokenSession, key: TokenObject, item: CustodyObject, label: str) -> None:
    """Return if a sealing key lets no more go than the database says; of one that does not, its answer tells.

    Raises:
        TokenUnusable: the database calls transferable what is not.
    """
    if item.role is not CustodyRole.MATERIAL_SEALING or not item.transferable:
        return
    if transferability.unseals_unguarded(session, key, item.challenge):
        raise TokenUnusable(
            f"The token's object '{label}' was made not to be transferable, and the database says that it is: the "
            "database was changed or is damaged; restore it."
        )


def _require_answer(session: TokenSession, key: TokenObject, item: CustodyObject, label: str) -> None:
    try:
        answered = answer(session, item, key)
    except pkcs11.PKCS11Error as error:
        if faults.classify(error) is ErrorClass.TOKEN:
            raise
        raise TokenUnusable(
            f"The token's object '{label}' does not give its known answer ({faults.word(error)}): it is not the key "
            "this database was initialised with. Restore token and database from the same backup."
        ) from error
    if not item.proved or not hmac.compare_digest(answered, item.answer):
        raise TokenUnusable(
            f"The token's object '{label}' does not give its known answer: it is not the key this database was "
            "initialised with. Restore token and database from the same backup."
        )


def _require_each_once(objects: Sequence[CustodyObject]) -> None:
    """Return if there is one object for each role, and of the sealing roles one for each version."""
    versions = {item.version for item in objects if item.role in SEALING_ROLES}
    named = Counter((item.role, item.version) for item in objects)
    needed = {
        *((role, FIRST_VERSION) for role in CustodyRole if role not in SEALING_ROLES),
        *((role, version) for role in SEALING_ROLES for version in versions or {FIRST_VERSION}),
    }
    missing = sorted(role for role, version in needed if not named[role, version])
    if missing:
        raise TokenUnusable(
            f"The database names no long-lived object for {', '.join(missing)}: it is damaged; restore it."
        )
    for (role, version), count in named.items():
        if count > 1 or (role, version) not in needed:
            raise TokenUnusable(
                f"The database names {count} long-lived objects for {role}, version {version}: it is damaged; "
                "restore it."
            )
    if len({item.object_id for item in objects}) < len(objects):
        raise TokenUnusable("The database has the same id for two long-lived objects: it is damaged; restore it.")


def open_custody(
    session: TokenSession,
    deployment_id: str,
    objects: Sequence[CustodyObject],
    profile: Profile,
    known: Mapping[CustodyObject, TokenObject] | None = None,
) -> Custody:
    """Find every object, compare its names and attributes and have it give its known answer.

    Args:
        session: to work in.
        deployment_id: whose objects they are.
        objects: as the database names them.
        profile: of the token.
        known: what this session has proved already; it is taken as it is.

    Raises:
        TokenUnusable: one of them is not there, or is not what it was.
    """
    _require_each_once(objects)
    opened = {item: key for item, key in (known or {}).items() if item in objects}
    for item in objects:
        if item in opened:
            continue
        label = item.label(deployment_id)
        key = _require_one(find(session, item, label), item, label)
        require_as_made(session, key, item, label, profile)
        _require_answer(session, key, item, label)
        _require_kind(session, key, item, label)
        opened[item] = key
    return Custody(deployment_id, opened)
