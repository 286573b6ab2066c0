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

from hsmkms.core.custody import CustodyObject, CustodyRole, Deployment
from hsmkms.core.events import Event, EventTag

if TYPE_CHECKING:
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock, Custodian, DeploymentStore

OBJECT_ID_BYTES: Final = 16


async def initialise(store: DeploymentStore, custodian: Custodian, clock: Clock, edition: Edition) -> bool:
    """Make the deployment's objects if they were never made; tell whether they were made now.

    Raises:
        TokenUnusable: the database belongs to another edition or token, or an object in this one is not what it was.
        StoreUnavailable: another `init` held the lock for too long.
    """
    plan = Deployment(
        deployment_id=str(uuid.uuid4()),
        edition=edition,
        ready=False,
        created_at=clock.now(),
        token_serial=custodian.token_serial,
        objects=tuple(CustodyObject(role, secrets.token_bytes(OBJECT_ID_BYTES)) for role in CustodyRole),
    )
    async with store.initialising(plan) as initialising:
        deployment = initialising.deployment
        deployment.require_fits(edition, custodian.token_serial)
        if deployment.ready:
            await custodian.prove_objects(deployment)
            return False
        objects = await custodian.make_objects(deployment)
        event = Event(
            EventTag.DEPLOYMENT_INITIALISED,
            clock.now(),
            None,
            "operator",
            detail={"deployment": deployment.deployment_id, "token_serial": deployment.token_serial},
        )
        await initialising.mark_ready(replace(deployment, ready=True, objects=objects), event)
        return True
