"""Making and destroying the long-lived objects of a deployment: what a host started for `init` does.

Laws:

- no other host does any of it: their sessions are read-only, so that the token refuses it, too;
- what could not be made whole is destroyed again; what a kill left is removed by the next one who makes it;
- what is made is proved, and on the disk, before anybody is told of it;
- only objects with the very labels of what is to be made or to go are ever removed, whatever ids the database names,
  and husks: files that SoftHSM left when it was killed in the middle of making an object;
- nothing is destroyed for a deployment that has not proved, on this token, what it keeps.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pkcs11
from pkcs11 import Attribute

from hsmkms.core.custody import SEALING_ROLES, CustodyObject, CustodyRole
from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm import softhsm
from hsmkms.hsm.host import custody, durability, faults, templates, transferability, unknown
from hsmkms.hsm.host.attaching import require_ours, unusable_if_it_fails
from hsmkms.hsm.host.profiles import profile_of
from hsmkms.hsm.host.session import MAC_KEY_BITS
from hsmkms.hsm.settings import HostPurpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.material import Edition
    from hsmkms.hsm.host.profiles import Profile
    from hsmkms.hsm.host.session import TokenObject, TokenSession
    from hsmkms.hsm.messages import DestroySealingKeys, MakeSealingKeys
    from hsmkms.hsm.parts import Place
    from hsmkms.hsm.report import TokenDescription


def initialise(
    session: TokenSession, place: Place, edition: Edition, token: TokenDescription
) -> tuple[CustodyObject, ...]:
    """Make the deployment's objects, and return them with their known answers once they are on the disk.

    Raises:
        TokenUnusable: the token does not make them.
    """
    require_ours(place, edition, token, HostPurpose.INIT)
    profile = profile_of(token.manufacturer)
    planned = [item.core() for item in place.objects]
    with unusable_if_it_fails(token, "made"):
        made = _create(session, place.deployment_id, planned, profile)
        custody.open_custody(session, place.deployment_id, made, profile)
    _flush(profile)
    return made


def make_sealing_keys(
    session: TokenSession, verb: MakeSealingKeys, edition: Edition, token: TokenDescription
) -> tuple[CustodyObject, ...]:
    """Make the next version's sealing keys, and return them with their known answers once they are on the disk.

    Raises:
        TokenUnusable: the deployment's own are not what they were, something has a name of the new ones, or the token
            does not make them.
    """
    place = verb.place
    require_ours(place, edition, token, HostPurpose.SERVE)
    profile = profile_of(token.manufacturer)
    present = [item.core() for item in place.objects]
    planned = [item.core() for item in verb.planned]
    with unusable_if_it_fails(token, "made"):
        custody.open_custody(session, place.deployment_id, present, profile)
        if not verb.replace_unknown:
            unknown.require_none(session, place.deployment_id, present, planned)
        made = _create(session, place.deployment_id, planned, profile)
        custody.open_custody(session, place.deployment_id, [*present, *made], profile)
    _flush(profile)
    return made


def destroy_sealing_keys(
    session: TokenSession, verb: DestroySealingKeys, edition: Edition, token: TokenDescription
) -> int:
    """Destroy the retired sealing keys, and return how many objects that were, once it is on the disk.

    Raises:
        TokenUnusable: one of them is still to be used or is another object, the deployment's own are not what they
            were, or the token does not destroy it.
    """
    place = verb.place
    require_ours(place, edition, token, HostPurpose.SERVE)
    profile = profile_of(token.manufacturer)
    retired = [item.core() for item in verb.retired]
    kept = [item for item in (each.core() for each in place.objects) if item not in retired]
    labels = [_retired_label(item, place.deployment_id, kept) for item in retired]
    with unusable_if_it_fails(token, "destroyed"):
        custody.open_custody(session, place.deployment_id, kept, profile)
        going = [_own(session, item, label) for item, label in zip(retired, labels, strict=True)]
        for each in going:
            for found in each:
                found.destroy()
        for label in labels:
            if session.find(templates.find_by_label(label)):
                raise TokenUnusable(f"The token did not destroy the object '{label}': see its own log.")
    _flush(profile)
    return sum(map(len, going))


def _retired_label(item: CustodyObject, deployment_id: str, kept: Sequence[CustodyObject]) -> str:
    """Return the label of what is to go, if it is a sealing key with a successor."""
    label = item.label(deployment_id)
    if item.role not in SEALING_ROLES or not any(
        each.role is item.role and each.version > item.version for each in kept
    ):
        raise TokenUnusable(f"The object '{label}' has no successor: make the next version's sealing keys first.")
    return label


def _own(session: TokenSession, item: CustodyObject, label: str) -> list[TokenObject]:
    """Return every object with the item's label.

    Raises:
        TokenUnusable: an object with another label has the item's id; the label is what says whose an object is.
    """
    for found in session.find(templates.find_by_id(item.object_id)):
        other = session.read(found, Attribute.LABEL)
        if other != label:
            raise TokenUnusable(
                f"The database has for '{label}' the id of another object of the token, '{other}', which is left as it "
                "is: the database is damaged; restore it."
            )
    return session.find(templates.find_by_label(label))


def _flush(profile: Profile) -> None:
    if profile.writes_softhsm_directory:
        durability.flush(softhsm.token_directory(os.environ))


# --- making --------------------------------------------------------------------------------------------


def _husks(session: TokenSession) -> dict[int, TokenObject]:
    """Return the objects that say they belong to a session, by handle.

    Called before this process has made any, and SoftHSM keeps those of other processes to them: whatever is found is a
    file in the token's directory, whose making was interrupted or is under way elsewhere.
    """
    return {each.handle: each for each in session.find(templates.find_session_objects())}


def _create(
    session: TokenSession, deployment_id: str, planned: Sequence[CustodyObject], profile: Profile
) -> tuple[CustodyObject, ...]:
    """Make the planned objects in place of whatever an interrupted attempt left of them.

    Returns:
        The objects, each with a challenge and its answer.

    Raises:
        TokenUnusable: the token does not make them as asked; nothing is left of them.
    """
    husks = _husks(session) if profile.writes_softhsm_directory else {}
    keys: list[TokenObject] = []
    try:
        made = tuple(_made(session, item, item.label(deployment_id), profile, keys) for item in planned)
    except BaseException:
        for key in keys:
            with contextlib.suppress(pkcs11.PKCS11Error):  # why it was not made is what counts
                key.destroy()
        raise
    # Meanwhile an RSA pair was generated: what another process was making when we began is made by now.
    for handle in husks.keys() & _husks(session).keys():
        husks[handle].destroy()
    return made


def _made(
    session: TokenSession, item: CustodyObject, label: str, profile: Profile, keys: list[TokenObject]
) -> CustodyObject:
    """Make one object, which is added to `keys`, and return it with a challenge and its answer."""
    for half_made in _own(session, item, label):
        half_made.destroy()
    bits = MAC_KEY_BITS if item.role is CustodyRole.MAC else custody.KEY_BITS
    template = templates.custody(item, label, allowed_mechanisms=profile.stores_allowed_mechanisms)
    try:
        key = session.generate_secret(bits, template)
        keys.append(key)
        challenged = replace(item, challenge=custody.challenge(session, item.role, key))
        answered = replace(challenged, answer=custody.answer(session, challenged, key))
    except pkcs11.PKCS11Error as error:
        raise TokenUnusable(
            f"The token does not make the object '{label}' ({faults.word(error)}): "
            "it lacks what this service needs; use another one."
        ) from error
    custody.require_as_made(session, key, item, label, profile)
    if item.role is CustodyRole.MATERIAL_SEALING and item.transferable:
        transferability.require(session, key, label)
    return answered
