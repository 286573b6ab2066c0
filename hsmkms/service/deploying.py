"""Use case: bind a database to a token.

Laws:

- the plan, with its object ids, is committed before the token is touched, and the deployment is ready only after its
  objects were made, proved and flushed;
- two at once: the second waits, and finds what the first one made;
- a deployment that is ready is proved, and nothing is ever made for it again.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hsmkms.core.custody import FIRST_VERSION, CustodyObject, CustodyRole, Deployment
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.events import Event, EventTag

if TYPE_CHECKING:
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock, Custodian, DeploymentStore

_OBJECT_ID_BYTES: Final = 16


async def ready_deployment(store: DeploymentStore) -> Deployment:
    """Return the deployment of the database.

    Raises:
        StoreUnusable: `init` was never run to its end.
    """
    deployment = await store.deployment()
    if deployment is None or not deployment.ready:
        raise StoreUnusable("The database does not belong to an initialised deployment; run 'hsmkms init'.")
    return deployment


async def initialise(
    store: DeploymentStore, custodian: Custodian, clock: Clock, edition: Edition, *, transferable: bool = False
) -> bool:
    """Make the deployment's objects if they were never made; tell whether they were made now.

    Args:
        store: the database.
        custodian: a host of the token.
        clock: the present.
        edition: of the deployment.
        transferable: whether what the sealing keys seal can be sealed anew under a later version.

    Raises:
        StoreUnusable: it is to be transferable, and was made otherwise.
        TokenUnusable: the database belongs to another edition or token, or an object in this one is not what it was.
        StoreUnavailable: another `init` held the lock for too long.
    """
    plan = Deployment(
        deployment_id=str(uuid.uuid4()),
        edition=edition,
        ready=False,
        created_at=clock.now(),
        token_serial=custodian.token_serial,
        objects=tuple(planned_object(role, transferable=transferable) for role in CustodyRole),
    )
    async with store.initialising(plan) as initialising:
        deployment = initialising.deployment
        deployment.require_fits(edition, custodian.token_serial)
        if deployment.ready:
            if transferable:
                _require_transferable(deployment)
            await custodian.prove_objects(deployment)
            return False
        objects = await custodian.make_objects(_as_asked(deployment, transferable=transferable))
        event = Event(
            EventTag.DEPLOYMENT_INITIALISED,
            clock.now(),
            None,
            "operator",
            detail={"deployment": deployment.deployment_id, "token_serial": deployment.token_serial},
        )
        await initialising.mark_ready(replace(deployment, ready=True, objects=objects), event)
        return True


def planned_object(role: CustodyRole, version: int = FIRST_VERSION, *, transferable: bool) -> CustodyObject:
    """Return an object as it is to be made, with an id that no other has; only one for material is transferable."""
    object_id = secrets.token_bytes(_OBJECT_ID_BYTES)
    lets_go = transferable and role is CustodyRole.MATERIAL_SEALING
    return CustodyObject(role, object_id, version=version, transferable=lets_go)


def _as_asked(deployment: Deployment, *, transferable: bool) -> Deployment:
    """Return a plan as this run wants it: one that was interrupted, or that the token refused, was begun otherwise."""
    objects = (
        replace(each, transferable=transferable and each.role is CustodyRole.MATERIAL_SEALING)
        for each in deployment.objects
    )
    return replace(deployment, objects=tuple(objects))


def _require_transferable(deployment: Deployment) -> None:
    newest = deployment.sealing_version
    if not any(each.transferable for each in deployment.objects if each.version == newest):
        raise StoreUnusable(
            "The newest sealing keys of this deployment are not transferable; 'hsmkms sealing rotate --transferable' "
            "makes some that are."
        )
