"""Use case: switch a credential off, so that it proves nothing from then on, and on again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hsmkms.core.errors import FieldInvalid
from hsmkms.core.events import EventTag
from hsmkms.service.rows import ACCESS_ID, credential_event, existing_credential

if TYPE_CHECKING:
    from hsmkms.core.ids import AccessId
    from hsmkms.core.ports import Clock, Store, Writing


async def switch_credential(store: Store, clock: Clock, access_id: AccessId, *, on: bool) -> bool:
    """Switch a credential on or off; one that already is as wanted stays untouched.

    Returns:
        Whether it was otherwise before.

    Raises:
        FieldInvalid: there is no such credential; or it is to be switched on, and its time is over.
    """
    now = clock.now()

    def switch(writing: Writing) -> bool:
        found = existing_credential(writing, access_id)
        if on and found.valid_to is not None and found.valid_to <= now:
            raise FieldInvalid(
                ACCESS_ID, "this one has ended and proves nothing any more; 'hsmkms credential create' makes a new one."
            )
        if found.switched_on is on:
            return False
        switched = replace(found, switched_on=on)
        writing.replace_credential(switched)
        tag = EventTag.CREDENTIAL_ENABLED if on else EventTag.CREDENTIAL_DISABLED
        writing.append(credential_event(tag, switched, now))
        return True

    return await store.write(switch)
