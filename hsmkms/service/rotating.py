"""Use case: sealing keys of a next version, and the end of an older one.

Laws:

- under the exclusive lock: of two at once the second waits, and makes the version after that of the first, or finds
  nothing left to retire. It does not wait for ever, because an operator does;
- new keys are made, proved and flushed before the database names them, and nothing is sealed under them before that;
- a version is forgotten first and destroyed then, so that no service is told of a key that is gone; whoever was killed
  in between does it again;
- no version goes that anything is under, whether the database has its keys or not; and once they are forgotten, the
  store commits nothing under them any more, however late it comes;
- nor does one that was superseded just now. That is for comfort, not for safety: an import that is under way, or a node
  that the news has not reached, would be refused and tried again. So it does no harm that it is measured by two clocks,
  this one and that of the machine that rotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from hsmkms.core.custody import FIRST_VERSION, SEALING_ROLES, CustodyObject, CustodyRole, Deployment
from hsmkms.core.errors import StoreUnusable
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import MILLISECONDS_PER_SECOND, Instant
from hsmkms.core.ports import SealedCount
from hsmkms.service.deploying import planned_object, ready_deployment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock, Custodian, DeploymentStore

GRACE_SECONDS: Final = 600
"""How long a superseded version stays at least."""
LOCK_SECONDS: Final = 30.0
"""How long the lock is waited for."""
_ACTOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Retired:
    """What there was to retire."""

    known: bool
    """Whether the database had the keys; otherwise it had forgotten them before."""
    destroyed: int
    """How many keys the token had."""


@dataclass(frozen=True, slots=True)
class SealingVersion:
    """One version of the sealing keys, and what is under it."""

    version: int
    newest: bool
    """Whether it seals; the others only open."""
    transferable: bool
    made_at: Instant | None
    """None if it is lost."""
    superseded_at: Instant | None
    """When the next version was made; None for the newest."""
    sealed: SealedCount
    lost: bool = False
    """Whether the database has no such keys, and nothing opens what it says is under them."""

    def waits(self, now: Instant) -> int:
        """Return for how many seconds from `now` on it cannot be retired yet, whatever is under it."""
        if self.superseded_at is None:
            return 0
        passed = max(0, now - self.superseded_at) // MILLISECONDS_PER_SECOND
        return max(0, GRACE_SECONDS - passed)


def versions(deployment: Deployment, counts: Mapping[int, SealedCount]) -> Sequence[SealingVersion]:
    """Return the deployment's versions, and those that something is under and that it does not have; oldest first."""
    sealing = (each for each in deployment.objects if each.role is CustodyRole.MATERIAL_SEALING)
    keys = sorted(sealing, key=lambda each: each.version)
    present = [
        SealingVersion(
            version=each.version,
            newest=each.version == deployment.sealing_version,
            transferable=each.transferable,
            made_at=_made_at(deployment, each),
            superseded_at=None if successor is None else _made_at(deployment, successor),
            sealed=counts.get(each.version, SealedCount()),
        )
        for each, successor in zip_longest(keys, keys[1:])
    ]
    lost = [
        SealingVersion(
            version, newest=False, transferable=False, made_at=None, superseded_at=None, sealed=under, lost=True
        )
        for version, under in counts.items()
        if version not in {each.version for each in keys}
    ]
    return sorted([*present, *lost], key=lambda each: each.version)


def _made_at(deployment: Deployment, key: CustodyObject) -> Instant:
    return deployment.created_at if key.made_at is None else key.made_at


def planned_keys(version: int, *, transferable: bool) -> tuple[CustodyObject, ...]:
    """Return the sealing keys of a version as they are to be made."""
    return tuple(planned_object(role, version, transferable=transferable) for role in SEALING_ROLES)


async def rotate(
    store: DeploymentStore, custodian: Custodian, clock: Clock, edition: Edition, *, transferable: bool | None
) -> Deployment:
    """Make the sealing keys of the next version; from now on they seal.

    Args:
        store: of the deployment.
        custodian: a host of its token.
        clock: the present.
        edition: that the configuration says.
        transferable: whether what they seal can be sealed anew under a later version; None: as with the newest one.

    Returns:
        The deployment as it is then.

    Raises:
        StoreUnusable: `init` was never run to its end.
        TokenUnusable: another edition or token, or the token did not make the keys; nothing was recorded.
        StoreUnavailable: somebody else held the lock for too long.
    """
    async with store.initialising(await ready_deployment(store), patience_seconds=LOCK_SECONDS) as initialising:
        deployment = initialising.deployment
        deployment.require_fits(edition, custodian.token_serial)
        newest = versions(deployment, {})[-1]
        kept = newest.transferable if transferable is None else transferable
        made = await custodian.make_sealing_keys(deployment, planned_keys(newest.version + 1, transferable=kept))
        detail = {"version": newest.version + 1, "transferable": kept}
        await initialising.add_sealing_keys(
            made, Event(EventTag.SEALING_KEYS_MADE, clock.now(), None, _ACTOR, detail=detail)
        )
        return initialising.deployment


async def retire(store: DeploymentStore, custodian: Custodian, clock: Clock, edition: Edition, version: int) -> Retired:
    """Forget and destroy the sealing keys of an older version.

    Returns:
        Whether the database had them, and what the token had: where they were forgotten before, some may be left there.

    Raises:
        StoreUnusable: something is under it, it is the newest or was until just now, or there never was one.
        TokenUnusable: another edition or token, or the token did not destroy them: it is to be done again.
        StoreUnavailable: somebody else held the lock for too long.
    """
    async with store.initialising(await ready_deployment(store), patience_seconds=LOCK_SECONDS) as initialising:
        deployment = initialising.deployment
        deployment.require_fits(edition, custodian.token_serial)
        retired = tuple(each for each in deployment.sealing_keys if each.version == version)
        if retired:
            now = clock.now()
            _require_over(deployment, version, now)
            event = Event(EventTag.SEALING_KEYS_RETIRED, now, None, _ACTOR, detail={"version": version})
            await initialising.remove_sealing_keys(version, event)
        elif not FIRST_VERSION <= version < deployment.sealing_version:
            raise StoreUnusable(
                f"There is no version {version} of the sealing keys; 'hsmkms sealing status' shows those there are."
            )
        else:
            await initialising.require_nothing_under(version)
        left = initialising.deployment
    # By their labels, where the database does not know their ids any more.
    destroyed = await custodian.destroy_sealing_keys(left, retired or planned_keys(version, transferable=False))
    return Retired(bool(retired), destroyed)


def _require_over(deployment: Deployment, version: int, now: Instant) -> None:
    """Return if a version was superseded long enough ago; of the newest the store says that it is that."""
    (retiring,) = (each for each in versions(deployment, {}) if each.version == version)
    if seconds := retiring.waits(now):
        raise StoreUnusable(
            f"Version {version} was superseded just now, and what was under way may still be sealed under it; it can "
            f"be retired in {seconds} seconds."
        )
