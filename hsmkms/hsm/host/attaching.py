"""Making the workbenches of a host: once, before any other verb.

Law: every session finds and proves the deployment's objects for itself; the canary is made once and shared, sealed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pkcs11

from hsmkms.core.custody import require_fits
from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm.host import custody, faults
from hsmkms.hsm.host.canary import hatch
from hsmkms.hsm.host.faults import ErrorClass, TokenSick
from hsmkms.hsm.host.profiles import profile_of
from hsmkms.hsm.host.workbench import Workbench
from hsmkms.hsm.settings import HostPurpose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hsmkms.core.material import Edition
    from hsmkms.hsm.host.session import TokenSession
    from hsmkms.hsm.parts import Place
    from hsmkms.hsm.report import TokenDescription


def require_ours(place: Place, edition: Edition, token: TokenDescription, purpose: HostPurpose) -> None:
    """Return if the deployment is one of this edition and on this token.

    Raises:
        TokenUnusable: it is another one's.
    """
    if not place.token_serial and purpose is not HostPurpose.INIT:
        raise TokenUnusable(
            "The database does not name the serial number of its token: it is damaged; restore it from its backup."
        )
    # A plan that was interrupted before its token was known names none.
    require_fits((place.edition, place.token_serial or token.serial), (edition, token.serial))


@contextmanager
def unusable_if_it_fails(token: TokenDescription, done: str) -> Iterator[None]:
    """Raise TokenUnusable for a PKCS#11 error in the block, in which the token's objects are to be `done`."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        raise TokenUnusable(
            f"The token '{token.label}' failed while its objects were being {done} ({faults.word(error)}): "
            "see its own log."
        ) from error


@contextmanager
def sick_or_unusable_if_it_fails(token: TokenDescription) -> Iterator[None]:
    """As `unusable_if_it_fails` while objects are proved; TokenSick if the error says that it is the token's."""
    with unusable_if_it_fails(token, "proved"):
        try:
            yield
        except pkcs11.PKCS11Error as error:
            if faults.classify(error) is ErrorClass.TOKEN:
                raise TokenSick(faults.word(error)) from error
            raise


def attach(
    sessions: Sequence[TokenSession], place: Place, edition: Edition, token: TokenDescription, purpose: HostPurpose
) -> list[Workbench]:
    """Return a workbench for each session.

    Raises:
        TokenUnusable: the token is not, or not any more, the deployment's.
        TokenSick: it says that it cannot be relied on.
    """
    require_ours(place, edition, token, purpose)
    profile = profile_of(token.manufacturer)
    objects = [item.core() for item in place.objects]
    benches = []
    with sick_or_unusable_if_it_fails(token):
        for session in sessions:
            opened = custody.open_custody(session, place.deployment_id, objects, profile)
            benches.append(Workbench(session, opened, edition, profile))
        shared = hatch(benches[0])
    for bench in benches:
        bench.canary = shared
        bench.destroy_unknown()
    return benches
