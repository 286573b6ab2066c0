"""Going on with other sealing keys, without an end: what `Attach` is at the beginning.

Laws:

- the session that is asked proves what is new, and makes the canary that the others share; each of the others proves
  what is new for itself before the next verb that it obeys, so that no verb under way loses its keys;
- so whatever is asked of a host after it answered is sealed under the newest version;
- a deployment that differs in more than its sealing keys is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pkcs11

from hsmkms.core.custody import SEALING_ROLES
from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm.host import custody, faults
from hsmkms.hsm.host.attaching import require_ours, sick_or_unusable_if_it_fails
from hsmkms.hsm.host.canary import hatch
from hsmkms.hsm.host.faults import TokenSick
from hsmkms.hsm.settings import HostPurpose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsmkms.core.custody import CustodyObject
    from hsmkms.hsm.host.canary import Canary
    from hsmkms.hsm.host.workbench import Workbench
    from hsmkms.hsm.parts import Place
    from hsmkms.hsm.report import TokenDescription


@dataclass(frozen=True, slots=True)
class Standing:
    """What every session of a host is to work with."""

    objects: tuple[CustodyObject, ...]
    canary: Canary


def adopt(bench: Workbench, place: Place, token: TokenDescription) -> Standing:
    """Take the deployment's sealing keys as they are now, and return what the other sessions are to follow.

    Raises:
        TokenUnusable: a new one is not there as it was made, or it is another deployment; nothing has changed.
        TokenSick: the token says that it cannot be relied on.
    """
    require_ours(place, bench.edition, token, HostPurpose.SERVE)
    objects = tuple(item.core() for item in place.objects)
    _require_the_same_but_for_sealing_keys(bench, place.deployment_id, objects)
    previous = bench.custody
    with sick_or_unusable_if_it_fails(token):
        _take(bench, objects)
        canary = bench.canary
        if bench.custody.material_sealing.version != previous.material_sealing.version:
            try:
                canary = hatch(bench)  # that of the older version would one day not open any more
            except BaseException:
                bench.custody = previous
                raise
    bench.canary = canary
    bench.standing = Standing(objects, canary)
    bench.destroy_unknown()
    return bench.standing


def follow(bench: Workbench, standing: Standing | None) -> None:
    """Take over in this session what another one has adopted, if it has.

    Raises:
        TokenSick: it cannot be; the sessions of a host must not be of two minds.
    """
    if standing is None or bench.standing is standing:
        return
    try:
        _take(bench, standing.objects)
    except TokenUnusable as unusable:
        raise TokenSick(unusable.message) from unusable
    except pkcs11.PKCS11Error as error:
        raise TokenSick(faults.word(error)) from error
    bench.canary = standing.canary
    bench.standing = standing


def _take(bench: Workbench, objects: tuple[CustodyObject, ...]) -> None:
    known = bench.custody.objects
    deployment_id = bench.custody.deployment_id
    bench.custody = custody.open_custody(bench.session, deployment_id, objects, bench.profile, known)


def _require_the_same_but_for_sealing_keys(
    bench: Workbench, deployment_id: str, objects: Iterable[CustodyObject]
) -> None:
    if deployment_id != bench.custody.deployment_id or _others(objects) != _others(bench.custody.objects):
        raise TokenUnusable(
            "The database names another deployment than the one this service was started with: restart it."
        )


def _others(objects: Iterable[CustodyObject]) -> frozenset[CustodyObject]:
    return frozenset(item for item in objects if item.role not in SEALING_ROLES)
