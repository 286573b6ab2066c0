"""Every state that a key can be in, by every way that leads there; and the steps that take a key along each way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hsmkms.core.ids import later
from hsmkms.core.keys import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.ids import KeyId
    from hsmkms.service.commands import ImportParameters
    from tests.service.house import House

LIFETIME_SECONDS: Final = 60
"""How long material lasts that expires: shorter than import parameters, which must outlive it."""


class Step(StrEnum):
    """What happens to a key."""

    IMPORT = "material is imported"
    IMPORT_FOR_A_WHILE = "material is imported with an expiry"
    EXPIRE = "its time comes"
    DELETE_MATERIAL = "the material is deleted"
    DISABLE = "the key is disabled"
    ARCHIVE = "the key is archived"
    SCHEDULE_DELETION = "the key is scheduled for deletion"


WAYS: Final[Mapping[str, tuple[Origin, tuple[Step, ...]]]] = {
    "enabled": (Origin.EXTERNAL, (Step.IMPORT,)),
    "disabled": (Origin.EXTERNAL, (Step.IMPORT, Step.DISABLE)),
    "never-imported": (Origin.EXTERNAL, ()),
    "material-deleted": (Origin.EXTERNAL, (Step.IMPORT, Step.DELETE_MATERIAL)),
    "material-expired": (Origin.EXTERNAL, (Step.IMPORT_FOR_A_WHILE, Step.EXPIRE)),
    "disabled-material-deleted": (Origin.EXTERNAL, (Step.IMPORT, Step.DISABLE, Step.DELETE_MATERIAL)),
    "disabled-material-expired": (Origin.EXTERNAL, (Step.IMPORT_FOR_A_WHILE, Step.DISABLE, Step.EXPIRE)),
    "pending-delete": (Origin.EXTERNAL, (Step.IMPORT, Step.DISABLE, Step.SCHEDULE_DELETION)),
    "pending-delete-empty": (Origin.EXTERNAL, (Step.SCHEDULE_DELETION,)),
    "archived": (Origin.EXTERNAL, (Step.IMPORT, Step.ARCHIVE)),
    "archived-empty": (Origin.EXTERNAL, (Step.ARCHIVE,)),
    "generated-enabled": (Origin.GENERATED, ()),
    "generated-disabled": (Origin.GENERATED, (Step.DISABLE,)),
    "generated-pending-delete": (Origin.GENERATED, (Step.DISABLE, Step.SCHEDULE_DELETION)),
    "generated-archived": (Origin.GENERATED, (Step.ARCHIVE,)),
}
"""Generated material can be neither deleted nor expire, so that no generated key waits for an import."""


@dataclass(frozen=True)
class Subject:
    """A key in the wanted situation, and import parameters that nobody has used."""

    key_id: KeyId
    unused: ImportParameters
    """The key's own, from before; a generated key, which has none, comes with another key's."""


async def brought_into(house: House, situation: str) -> Subject:
    """Make a key and take it along its way; the clock may have moved."""
    origin, steps = WAYS[situation]
    key_id = await house.key(origin=origin)
    unused = await house.parameters(key_id if origin is Origin.EXTERNAL else await house.key())
    for step in steps:
        await _take(house, key_id, step)
    return Subject(key_id, unused)


async def _take(house: House, key_id: KeyId, step: Step) -> None:
    now = house.clock.now()
    match step:
        case Step.IMPORT:
            await house.imported(key_id)
        case Step.IMPORT_FOR_A_WHILE:
            await house.imported(key_id, valid_to=later(now, seconds=LIFETIME_SECONDS))
        case Step.EXPIRE:
            house.clock.advance(LIFETIME_SECONDS)
        case Step.DELETE_MATERIAL:
            await house.delete(key_id)
        case Step.DISABLE:
            await house.switch(key_id, on=False)
        case Step.ARCHIVE:
            await house.edit_key(key_id, archived=True)
        case Step.SCHEDULE_DELETION:
            await house.edit_key(key_id, deletion_due=later(now, seconds=7 * 86_400))
