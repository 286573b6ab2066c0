"""What binds the database to a token: planned first, proved later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hsmkms.core.errors import StoreUnusable
from hsmkms.store import queries
from hsmkms.store.rows import deployment_of, deployment_values, object_values

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from hsmkms.core.events import Event
    from hsmkms.store.reading import SqlReading
    from hsmkms.store.writing import SqlWriting


def deployment_in(reading: SqlReading) -> Deployment | None:
    """Return the deployment that the database has."""
    rows = reading.rows(queries.DEPLOYMENT_ROW)
    if not rows:
        return None
    return deployment_of(rows[0], reading.rows(queries.OBJECT_ROWS))


def plan_into(writing: SqlWriting, plan: Deployment) -> None:
    """Insert `plan`, not ready and with nothing proved, unless there is a deployment."""
    if deployment_in(writing) is not None:
        return
    writing.run(queries.ADD_DEPLOYMENT, deployment_values(replace(plan, ready=False)))
    planned = [object_values(replace(each, challenge=b"", answer=b"")) for each in plan.objects]
    if planned:
        writing.run(queries.ADD_OBJECTS, planned)


class SqlInitialising:
    """`core.ports.Initialising` over the transaction that holds the exclusive lock; only `mark_ready` writes in it."""

    def __init__(self, writing: SqlWriting, deployment: Deployment) -> None:
        """Initialise `deployment` in the transaction `writing`."""
        self._writing = writing
        self._deployment = deployment

    @property
    def deployment(self) -> Deployment:
        """The deployment as the database has it, with its planned object ids."""
        return self._deployment

    async def mark_ready(self, deployment: Deployment, event: Event) -> None:
        """Record the proved objects and that the deployment is ready.

        Raises:
            StoreUnusable: `deployment` has another id or other objects than the database.
        """
        if _identity(deployment) != _identity(self._deployment):
            raise StoreUnusable("Other token objects were proved than the database names; run 'hsmkms init' again.")
        self._writing.run(queries.MAKE_READY)
        for each in deployment.objects:
            values = object_values(each)
            self._writing.run(
                queries.PROVE_OBJECT,
                {"this": values["role"], "challenge": values["challenge"], "answer": values["answer"]},
            )
        self._writing.append(event)
        self._deployment = replace(deployment, ready=True)


def _identity(deployment: Deployment) -> tuple[object, ...]:
    return (deployment.deployment_id, *sorted((each.role, each.object_id) for each in deployment.objects))
