"""What binds the database to a token: planned first, proved later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hsmkms.core.custody import SEALING_ROLES
from hsmkms.core.errors import StoreUnusable
from hsmkms.store import queries
from hsmkms.store.rows import deployment_of, deployment_values, object_values
from hsmkms.store.sealing_keys import require_nothing_under

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.custody import CustodyObject, Deployment
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
    """`core.ports.Initialising` over the transaction that holds the exclusive lock."""

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
            found_out = {name: values[name] for name in ("challenge", "answer", "transferable")}
            self._writing.run(queries.PROVE_OBJECT, {"this": values["role"], **found_out})
        self._writing.append(event)
        self._deployment = replace(deployment, ready=True)

    async def add_sealing_keys(self, made: Sequence[CustodyObject], event: Event) -> None:
        """Record the proved sealing keys of the next version: from the instant of `event` on they seal.

        Raises:
            StoreUnusable: the deployment is not ready, or has this version or a later one, or `made` is not one proved
                key for each role.
        """
        (version, *others) = {each.version for each in made} or {0}
        whole = not others and sorted(each.role for each in made) == sorted(SEALING_ROLES)
        if not whole or not all(each.proved for each in made):
            raise StoreUnusable("Other sealing keys were made than a version has; run 'hsmkms sealing rotate' again.")
        if not self._deployment.ready or version <= self._deployment.sealing_version:
            raise StoreUnusable(f"The deployment is not ready for sealing keys of version {version}.")
        added = [replace(each, made_at=event.at) for each in made]
        self._writing.run(queries.ADD_OBJECTS, [object_values(each) for each in added])
        self._writing.append(event)
        self._deployment = replace(self._deployment, objects=_ordered(*self._deployment.objects, *added))

    async def remove_sealing_keys(self, version: int, event: Event) -> None:
        """Forget the sealing keys of a version.

        Raises:
            StoreUnusable: it is the newest, there is none, or something is sealed under it still, as far as is known.
        """
        left = [each for each in self._deployment.objects if each.role not in SEALING_ROLES or each.version != version]
        if len(left) == len(self._deployment.objects):
            raise StoreUnusable(f"There are no sealing keys of version {version}.")
        if version == self._deployment.sealing_version:
            raise StoreUnusable(f"Version {version} is the newest: what is sealed now is sealed under it.")
        require_nothing_under(self._writing, version)
        self._writing.run(queries.REMOVE_SEALING_KEYS, {"this": version})
        self._writing.append(event)
        self._deployment = replace(self._deployment, objects=tuple(left))

    async def require_nothing_under(self, version: int) -> None:
        """Return if nothing is sealed under a version, whether the database has its keys or not.

        Raises:
            StoreUnusable: something is, or the database contradicts itself about it.
        """
        require_nothing_under(self._writing, version)


def _identity(deployment: Deployment) -> tuple[object, ...]:
    return (deployment.deployment_id, *sorted((each.role, each.version, each.object_id) for each in deployment.objects))


def _ordered(*objects: CustodyObject) -> tuple[CustodyObject, ...]:
    return tuple(sorted(objects, key=lambda each: (each.role, each.version)))
