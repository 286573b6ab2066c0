"""Making the workbenches of a host: once, before any other verb.

Law: every session finds and proves the deployment's objects for itself; the canary is made once and shared, sealed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pkcs11

from hsmkms.core.custody import require_fits
from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm import softhsm
from hsmkms.hsm.host import custody, durability, faults
from hsmkms.hsm.host.canary import hatch
from hsmkms.hsm.host.faults import ErrorClass, TokenSick
from hsmkms.hsm.host.profiles import profile_of
from hsmkms.hsm.host.workbench import Workbench
from hsmkms.hsm.settings import HostPurpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.custody import CustodyObject
    from hsmkms.core.material import Edition
    from hsmkms.hsm.host.session import TokenSession
    from hsmkms.hsm.parts import Place
    from hsmkms.hsm.report import TokenDescription


def _require_ours(place: Place, edition: Edition, token: TokenDescription, purpose: HostPurpose) -> None:
    if not place.token_serial and purpose is not HostPurpose.INIT:
        raise TokenUnusable(
            "The database does not name the serial number of its token: it is damaged; restore it from its backup."
        )
    # A plan that was interrupted before its token was known names none.
    require_fits((place.edition, place.token_serial or token.serial), (edition, token.serial))


def attach(
    sessions: Sequence[TokenSession], place: Place, edition: Edition, token: TokenDescription, purpose: HostPurpose
) -> list[Workbench]:
    """Return a workbench for each session.

    Raises:
        TokenUnusable: the token is not, or not any more, the deployment's.
        TokenSick: it says that it cannot be relied on.
    """
    _require_ours(place, edition, token, purpose)
    profile = profile_of(token.manufacturer)
    objects = [item.core() for item in place.objects]
    benches = []
    try:
        for session in sessions:
            opened = custody.open_custody(session, place.deployment_id, objects, profile)
            benches.append(Workbench(session, opened, edition, profile))
        shared = hatch(benches[0])
    except pkcs11.PKCS11Error as error:
        if faults.classify(error) is ErrorClass.TOKEN:
            raise TokenSick(faults.word(error)) from error
        raise TokenUnusable(
            f"The token '{token.label}' failed while its objects were being proved ({faults.word(error)}): "
            "see its own log."
        ) from error
    for bench in benches:
        bench.canary = shared
        bench.destroy_unknown()
    return benches


def initialise(
    session: TokenSession, place: Place, edition: Edition, token: TokenDescription
) -> tuple[CustodyObject, ...]:
    """Make the deployment's objects, and return them with their known answers once they are on the disk.

    Raises:
        TokenUnusable: the token does not make them.
    """
    _require_ours(place, edition, token, HostPurpose.INIT)
    profile = profile_of(token.manufacturer)
    planned = [item.core() for item in place.objects]
    try:
        made = custody.create(session, place.deployment_id, planned, profile)
        custody.open_custody(session, place.deployment_id, made, profile)
    except pkcs11.PKCS11Error as error:
        raise TokenUnusable(
            f"The token '{token.label}' failed while its objects were being made ({faults.word(error)}): "
            "see its own log."
        ) from error
    if profile.writes_softhsm_directory:
        durability.flush(softhsm.token_directory(os.environ))
    return made
